import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BYPASS_ANNOTATION, MODE_LABEL } from '../../src/api/names.ts';
import { isFailed } from '../../src/api/rollout.ts';
import { deploymentOf, isHeld, manifestOf } from '../support/e2e/deployment.ts';
import { type FluxResult, fluxApply } from '../support/e2e/flux-apply.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { registryDouble } from '../support/e2e/registry-double.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

/** The Deployment `web` as Flux has it in Git, at its first version. */
async function reconciled(shop: Namespace) {
  const apply = (image: string | undefined, ...flags: string[]) =>
    fluxApply(shop, manifestOf('web', image === undefined ? {} : { image }), ...flags);
  assertReady(await apply(undefined, '--wait', '--timeout=60s'), 'created');
  return { web: deploymentOf(shop, 'web'), apply };
}

function assertReady({ code, action, wait, error }: FluxResult, expected: string): void {
  assert.deepEqual({ code, action, wait }, { code: 0, action: expected, wait: 'ready' }, error);
}

describe('a Flux Kustomization in mode pause', { concurrency: true }, () => {
  test('a held Deployment is in progress, nothing is applied again meanwhile, and the wait ends with the rollout', async (t) => {
    const shop = await world.namespace(t);
    const registry = await registryDouble(t, world.lab);
    registry.hang();
    const image = (await shop.push('v2')).replace(world.lab.registry, registry.address);
    const { web, apply } = await reconciled(shop);
    const timed = await apply(image, '--wait', '--timeout=7s');
    assert.equal(timed.action, 'configured');
    assert.equal(timed.wait, 'failed');
    assert.match(timed.error, /^timeout waiting for: \[Deployment\/\S+\/web status: 'InProgress'\]$/);
    const held = await web.read();
    assert.ok(isHeld(held));
    const [preload] = await shop.preloads();

    assert.equal((await apply(image, '--diff')).action, 'unchanged');
    const waiting = apply(image, '--wait', '--timeout=90s');
    const again = await apply(image);
    assert.equal(again.action, 'unchanged');
    assert.equal((await web.read()).resourceVersion, held.resourceVersion);
    assert.deepEqual(
      (await shop.preloads()).map(({ uid }) => uid),
      [preload?.uid],
    );

    registry.serve();
    assertReady(await waiting, 'unchanged');
    await web.rolledOut(0);
    assert.equal((await apply(image, '--diff')).action, 'unchanged');
    assertReady(await apply(image, '--wait', '--timeout=30s'), 'unchanged');
  });

  test('a missing image fails the wait early, and so does each reconciliation until the image is there', async (t) => {
    const shop = await world.namespace(t);
    const { web, apply } = await reconciled(shop);
    const timeline = shop.timeline();
    const image = `${world.lab.registry}/${shop.name}:late`;
    const failed = await apply(image, '--wait', '--timeout=60s');
    assertFailedEarly(failed);
    t.diagnostic(`failed after ${failed.seconds.toFixed(1)} s`);
    assert.match((await told(shop, 'web', 'PreloadFailed')).note, /not found/);
    const next = await apply(image, '--wait', '--timeout=60s');
    assertFailedEarly(next);
    assert.equal(next.action, 'unchanged');
    assert.ok(isHeld(await web.read()));
    assertServesOn(timeline, 1);

    await shop.push('late');
    await web.released(60);
    assertReady(await apply(image, '--wait', '--timeout=60s'), 'unchanged');
  });

  test('a correction in Git is not Failed for long, although the preload before it was, and becomes ready', async (t) => {
    const shop = await world.namespace(t);
    const { web, apply } = await reconciled(shop);
    assertFailedEarly(await apply(`${world.lab.registry}/${shop.name}:typo`, '--wait', '--timeout=60s'));
    const image = await shop.push('v2');
    assert.equal((await apply(image)).action, 'configured');
    // A wait that begins within some tens of milliseconds can still see the old failure.
    await until('it has not failed any more', 5, web.read, (stored) => !isFailed(stored));
    assertReady(await apply(image, '--wait', '--timeout=60s'), 'unchanged');
    await web.rolledOut(0);
  });

  test('a bypass by kubectl ends the hold, and the reconciliation that takes the annotation away does not hold again', async (t) => {
    const shop = await world.namespace(t);
    const { web, apply } = await reconciled(shop);
    const image = `${world.lab.registry}/${shop.name}:missing`;
    await apply(image);
    await shop.kubectl('annotate', 'deployment', 'web', 'pullgate.io/bypass=urgent');
    assert.ok(!isHeld(await web.read()));
    assert.equal((await apply(image)).action, 'configured');
    const after = await web.read();
    assert.equal(after.annotations[BYPASS_ANNOTATION], undefined);
    assert.ok(!isHeld(after) && !after.paused);
  });

  test('a change back to the running version in Git ends the hold', async (t) => {
    const shop = await world.namespace(t);
    const { web, apply } = await reconciled(shop);
    assertFailedEarly(await apply(`${world.lab.registry}/${shop.name}:typo`, '--wait', '--timeout=60s'));
    assertReady(await apply(undefined, '--wait', '--timeout=60s'), 'configured');
    assert.ok(!isHeld(await web.read()));
  });
});

function assertFailedEarly({ code, wait, error }: FluxResult): void {
  assert.deepEqual({ code, wait }, { code: 1, wait: 'failed' }, error);
  assert.match(error, /^failed early due to stalled resources: \[Deployment\/\S+\/web status: 'Failed'\]$/);
}

describe('a Flux Kustomization in mode reject', () => {
  test('the dry run that Flux asks for first is refused each time, and nothing is ever preloaded', async (t) => {
    const shop = await world.namespace(t, { [MODE_LABEL]: 'reject' });
    const { web, apply } = await reconciled(shop);
    const before = await web.read();
    const image = await shop.push('v2');
    for (const _ of ['first', 'next']) {
      const { code, action, error, seconds } = await apply(image, '--wait', '--timeout=60s');
      assert.equal(code, 1);
      assert.equal(action, undefined);
      assert.match(error, /web would wait until its nodes have \S+:v2; a dry run preloads nothing/);
      assert.ok(seconds < 10, `${seconds} s`);
    }
    assert.deepEqual(await shop.preloads(), []);
    assert.equal((await web.read()).generation, before.generation);
  });
});
