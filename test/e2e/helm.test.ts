import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DECIDED_ANNOTATION, HELD_LABEL, HOLD_ANNOTATION, MODE_LABEL } from '../../src/api/names.ts';
import { asArray, asStringMap, at } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { holding, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { type HelmRelease, helmRelease, hookJob } from '../support/e2e/helm-release.ts';
import { isPullerPod, type Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { registryDouble } from '../support/e2e/registry-double.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { imagesOf, type Timeline } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';

const world = gatedLab();
const REJECT = { [MODE_LABEL]: 'reject' };
/** Of which a hook's pod takes some. */
const SOON_SECONDS = 20;

/** An image that is held until somebody pushes it. A registry that hangs would keep each node from all other pulls. */
const missingImage = (shop: Namespace) => `${world.lab.registry}/${shop.name}:missing`;

const MARKS = [
  ['metadata', 'annotations', HOLD_ANNOTATION],
  ['metadata', 'annotations', DECIDED_ANNOTATION],
  ['metadata', 'labels', HELD_LABEL],
  ['spec', 'paused'],
];

/** The managers of this field of the Deployment, as the API server records them. */
async function ownersOf(shop: Namespace, path: readonly string[]): Promise<unknown[]> {
  const object = await world.api.get(`/apis/apps/v1/namespaces/${shop.name}/deployments/web`);
  return asArray(at(object, 'metadata', 'managedFields'))
    .filter((entry) => at(entry, 'fieldsV1', ...path.map((key) => `f:${key}`)) !== undefined)
    .map((entry) => at(entry, 'manager'));
}

/** Helm owns what is in its chart, and nobody owns what Pullgate adds to Helm's requests. */
async function assertOwnersOfHeld(shop: Namespace): Promise<void> {
  assert.deepEqual(await ownersOf(shop, ['spec', 'template']), ['helm']);
  for (const mark of MARKS) assert.deepEqual(await ownersOf(shop, mark), [], mark.join('.'));
}

test('in mode pause helm upgrade --wait reports success while the rollout is held, and kubectl rollout status waits for the rollout', async (t) => {
  const shop = await world.namespace(t);
  const registry = await registryDouble(t, world.lab);
  registry.hang();
  const image = (await shop.push('v2')).replace(world.lab.registry, registry.address);
  const release = await helmRelease(t, shop);
  const timeline = shop.timeline();
  // The legacy way is Helm 3's.
  for (const wait of ['--wait', '--wait=legacy']) {
    await release.upgrade(image, wait);
    assert.ok(isHeld(await release.web.read()));
    assertServesOn(timeline, 1);
    assert.equal((await release.history()).at(-1)?.status, 'deployed');
  }
  const waiting = shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
  registry.serve();
  const { code, stderr } = await waiting;
  assert.equal(code, 0, stderr);
  await release.web.rolledOut(0);
  await assertOnEveryNode(world.lab, image);
});

describe('helm upgrade in mode pause', { concurrency: true }, () => {
  for (const how of ['--server-side=true', '--server-side=false']) {
    test(`${how}: the same version again changes nothing while held, and the next version supersedes without a conflict`, async (t) => {
      const shop = await world.namespace(t);
      const release = await helmRelease(t, shop, [], how);
      await release.upgrade(missingImage(shop), how);
      const held = await release.web.read();
      assert.ok(isHeld(held));
      await assertOwnersOfHeld(shop);

      await release.upgrade(missingImage(shop), how);
      const again = await release.web.read();
      assert.equal(again.generation, held.generation);
      assert.equal(again.annotations[HOLD_ANNOTATION], held.annotations[HOLD_ANNOTATION]);

      const next = await shop.push('v3');
      await release.upgrade(next, how);
      await told(shop, 'web', 'HoldSuperseded');
      await release.web.released(60);
      const { template } = await release.web.rolledOut(60);
      assert.deepEqual(imagesOf({ spec: { template } }), [next]);

      await release.upgrade(await shop.push('v4'), how);
      await release.web.released(60);
      await release.web.rolledOut(60);
      const revisions = (await release.history()).map(({ status }) => status);
      assert.deepEqual(revisions, [...Array(4).fill('superseded'), 'deployed']);
    });
  }

  test('a missing image leaves a release that is deployed and a Deployment that is held, even with --rollback-on-failure', async (t) => {
    const shop = await world.namespace(t);
    const release = await helmRelease(t, shop);
    const timeline = shop.timeline();
    await release.upgrade(missingImage(shop), '--rollback-on-failure');
    assert.deepEqual(
      (await release.history()).map(({ status }) => status),
      ['superseded', 'deployed'],
    );
    const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    assert.equal(status.code, 1, status.stdout);
    assert.match((await told(shop, 'web', 'PreloadFailed')).note, /not found/);
    assert.ok(isHeld(await release.web.read()));
    assertServesOn(timeline, 1);
  });

  test('helm rollback to the running revision ends the hold at once', async (t) => {
    const shop = await world.namespace(t);
    const release = await helmRelease(t, shop);
    const timeline = shop.timeline();
    await release.upgrade(missingImage(shop));
    assert.ok(isHeld(await release.web.read()));
    await release.rollback('1', '--wait');
    const after = await release.web.rolledOut(0);
    assert.ok(!isHeld(after));
    await told(shop, 'web', 'HoldReverted');
    assertServesOn(timeline, 1);
    assert.deepEqual(
      (await release.history()).map(({ status }) => status),
      ['superseded', 'superseded', 'deployed'],
    );
  });

  test('kubectl set image to go back makes the next helm upgrade conflict, and --force-conflicts resolves it', async (t) => {
    const shop = await world.namespace(t);
    const release = await helmRelease(t, shop);
    await release.upgrade(missingImage(shop));
    await release.web.setImage(PAUSE_IMAGE);
    assert.ok(!isHeld(await release.web.read()));

    const image = await shop.push('v3');
    const refused = await release.tryUpgrade(image);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /conflict with "kubectl-set"/);
    await release.upgrade(image, '--force-conflicts');
    await release.web.released(60);
    await release.web.rolledOut(60);
  });

  test('a bypass by kubectl annotate causes no conflict', async (t) => {
    const shop = await world.namespace(t);
    const release = await helmRelease(t, shop);
    await release.upgrade(missingImage(shop));
    await shop.kubectl('annotate', 'deployment', 'web', 'pullgate.io/bypass=urgent');
    assert.ok(!isHeld(await release.web.read()));
    await release.upgrade(await shop.push('v3'));
    await release.web.released(60);
    await release.web.rolledOut(60);
  });

  test('a post-upgrade hook runs during the hold, although Helm was told to wait', async (t) => {
    const shop = await world.namespace(t);
    const release = await helmRelease(t, shop, await bothHooks(shop));
    const timeline = shop.timeline();
    await release.upgrade(missingImage(shop), '--wait');
    assert.ok(isHeld(await release.web.read()));
    const held = timeline.moments.findIndex(holding('web', missingImage(shop), true));
    assert.ok(hookBegan(timeline, 'pre-upgrade') < held);
    assert.ok(held < hookBegan(timeline, 'post-upgrade'));
    assertServesOn(timeline, 1);
  });
});

describe('helm upgrade in mode reject', { concurrency: true }, () => {
  test('--wait takes as long as preload and rollout, with the hooks before and after both', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const image = await shop.pushSlow('v2', 30);
    const release = await helmRelease(t, shop, await bothHooks(shop));
    const timeline = shop.timeline();
    const began = performance.now();
    await release.upgrade(image, '--wait');
    const seconds = (performance.now() - began) / 1000;
    t.diagnostic(`helm upgrade --wait took ${seconds.toFixed(1)} s`);
    assert.ok(seconds > 3, 'the slow registry needs 3 s for this image');
    await release.web.rolledOut(0);
    await assertOnEveryNode(world.lab, image);
    assert.equal((await release.history()).at(-1)?.status, 'deployed');

    assertNeverPaused(timeline);
    const preload = timeline.moments.findIndex(({ kind }) => kind === 'ImagePreload');
    const newPod = timeline.moments.findIndex(({ kind, object }) => isNewPod(kind, object, image));
    assert.ok(hookBegan(timeline, 'pre-upgrade') < preload);
    assert.ok(preload < newPod);
    assert.ok(newPod < hookBegan(timeline, 'post-upgrade'));
  });

  test('a missing image fails the upgrade in seconds with the words of the registry, after the pre-upgrade hook', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const release = await helmRelease(t, shop, await bothHooks(shop));
    const timeline = shop.timeline();
    const before = await release.web.read();
    const stderr = await failsSoon(release, missingImage(shop), '--wait');
    assert.match(stderr, /web rejected; the running version is unchanged: .*not found/);
    assert.equal((await release.history()).at(-1)?.status, 'failed');
    assert.equal((await release.web.read()).generation, before.generation);
    assertNeverPaused(timeline);
    assertServesOn(timeline, 1);
    assert.ok(hookBegan(timeline, 'pre-upgrade') >= 0);
    assert.equal(hookBegan(timeline, 'post-upgrade'), -1);

    await release.upgrade(await shop.push('v2'), '--wait');
    await release.web.rolledOut(0);
  });

  test('with --rollback-on-failure a missing image leaves the running revision deployed, and nothing paused', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const release = await helmRelease(t, shop);
    const timeline = shop.timeline();
    const before = await release.web.read();
    const stderr = await failsSoon(release, missingImage(shop), '--rollback-on-failure');
    assert.match(stderr, /web rejected; the running version is unchanged: .*not found/);
    const history = await release.history();
    assert.deepEqual(
      history.map(({ status }) => status),
      ['superseded', 'failed', 'deployed'],
    );
    assert.match(history.at(-1)?.description ?? '', /^Rollback to 1/);
    assert.equal((await release.web.read()).generation, before.generation);
    assertNeverPaused(timeline);
    assertServesOn(timeline, 1);
  });
});

/** Returns what Helm says when it fails. */
async function failsSoon(release: HelmRelease, image: string, ...flags: string[]): Promise<string> {
  const began = performance.now();
  const { code, stderr } = await release.tryUpgrade(image, ...flags);
  const seconds = (performance.now() - began) / 1000;
  assert.equal(code, 1, stderr);
  assert.ok(seconds < SOON_SECONDS, `${seconds} s`);
  return stderr;
}

async function bothHooks(shop: Namespace) {
  const image = await shop.push('hook', { base: 'busybox' });
  return [hookJob('pre-upgrade', image), hookJob('post-upgrade', image)];
}

/** The position in the timeline of the first pod of this hook, or -1. */
function hookBegan(timeline: Timeline, point: string): number {
  return timeline.moments.findIndex(
    ({ kind, object }) => kind === 'Pod' && asStringMap(at(object, 'metadata', 'labels'))['hook'] === point,
  );
}

function isNewPod(kind: string, object: Timeline['moments'][number]['object'], image: string): boolean {
  return kind === 'Pod' && imagesOf(object).includes(image) && !isPullerPod(object);
}

function assertNeverPaused(timeline: Timeline): void {
  for (const { object } of timeline.of('Deployment')) assert.notEqual(at(object, 'spec', 'paused'), true);
}
