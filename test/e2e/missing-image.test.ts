import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFailed } from '../../src/api/rollout.ts';
import type { JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { registryDouble } from '../support/e2e/registry-double.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

test('a tag that does not exist fails a waiting kubectl rollout status within 15 s, and the running version is unchanged', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web', { replicas: 2 });
  const timeline = shop.timeline();
  const asked = performance.now();
  await web.setImage(`${world.lab.registry}/${shop.name}:typo`);

  const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
  const seconds = (performance.now() - asked) / 1000;
  t.diagnostic(`kubectl rollout status failed after ${seconds.toFixed(1)} s`);
  assert.equal(status.code, 1);
  assert.match(status.stderr, /exceeded its progress deadline/);
  assert.ok(seconds < 15, `${seconds} s`);

  const events = await until(
    'the failure is told',
    10,
    () => shop.events('web'),
    (all) => all.some(({ reason }) => reason === 'PreloadFailed'),
  );
  const note = events.find(({ reason }) => reason === 'PreloadFailed')?.note ?? '';
  assert.match(note, new RegExp(`${shop.name}:typo: not found|${shop.name}:typo": not found`));
  const { progressing } = (await web.read()).status;
  assert.match(progressing?.message ?? '', /^pullgate: .*not found/);

  // The kubelets try on by themselves meanwhile: that changes nothing.
  assertServesOn(timeline, 2);
  assert.ok(isHeld(await web.read()));
});

const FAILURES: readonly { what: string; fail(shop: Namespace): Promise<unknown> }[] = [
  {
    what: 'a rollout',
    fail: (shop) =>
      shop.kubectl(
        'patch',
        'deployment',
        'web',
        '-p',
        JSON.stringify(changedTo({ exec: { command: ['/no'] } })),
      ),
  },
  {
    what: 'a preload',
    fail: (shop) =>
      shop.kubectl('set', 'image', 'deployment/web', `app=${world.lab.registry}/${shop.name}:typo`),
  },
];
for (const { what, fail } of FAILURES) {
  test(`kubectl rollout status waits for the update that corrects ${what} that has failed`, async (t) => {
    const shop = await world.namespace(t);
    const registry = await registryDouble(t, world.lab);
    registry.hang();
    const image = (await shop.push('v2')).replace(world.lab.registry, registry.address);
    const web = await deploy(shop, 'web');
    await fail(shop);
    await until('it has failed', 30, web.read, isFailed);

    await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify(changedTo(null, image, 60)));
    assert.ok(isHeld(await web.read()));
    const waiting = shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    await until('it has not failed any more', 5, web.read, (stored) => !isFailed(stored));
    registry.serve();
    const { code, stderr } = await waiting;
    assert.equal(code, 0, stderr);
    await web.rolledOut(0);
  });
}

/** A time for the rollout, and this probe for its pods. */
function changedTo(
  readinessProbe: JsonObject | null,
  image = PAUSE_IMAGE,
  progressDeadlineSeconds = 3,
): JsonObject {
  const containers = [{ name: 'app', image, readinessProbe }];
  return { spec: { progressDeadlineSeconds, template: { spec: { containers } } } };
}
