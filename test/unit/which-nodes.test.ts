import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asObject, at } from '../../src/json.ts';
import { gateWorld, PODS, type World } from './gate-world.ts';

/** Held, and the first wave asked for. */
async function holding(world: World): Promise<World> {
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

function taint(world: World, node: string, ...taints: object[]): void {
  world.api.update(`/api/v1/nodes/${node}`, (object) => ({
    ...object,
    spec: { ...asObject(object['spec']), taints },
  }));
}

test('a node with a startup taint gets the image by a pod that tolerates that taint', async () => {
  const world = gateWorld({ nodes: 1 });
  taint(world, 'n1', { key: 'pullgate.io/images-not-ready', value: 'true', effect: 'NoExecute' });
  await holding(world);
  const [pod] = [...world.api.objects].flatMap(([path, raw]) => (path.startsWith(PODS) ? [raw] : []));
  assert.deepEqual(at(pod, 'spec', 'tolerations'), [
    { key: 'pullgate.io/images-not-ready', operator: 'Exists', effect: 'NoExecute' },
  ]);
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, false);
});

test('nodes that join all the time get the image, and the release does not wait for them', async () => {
  const world = await holding(gateWorld({ nodes: 3 }));
  for (let n = 1; n <= 3; n += 1) {
    await world.pass(20_000);
    world.addNode(`later-${n}`);
  }
  for (const node of ['n1', 'n2', 'n3']) world.pulled(node);
  await world.pass(2000);
  assert.equal(world.web().paused, false);
  assert.deepEqual(
    world.pods().filter((pod) => pod.includes('later')),
    ['web later-1 1', 'web later-2 1', 'web later-3 1'],
  );
  assert.deepEqual(world.preload().status?.excluded, [{ reason: 'JoinedLater', count: 3 }]);
});

function notReady(world: World, node: string, status: string): void {
  world.api.update(`/api/v1/nodes/${node}`, (object) => ({
    ...object,
    status: { ...asObject(object['status']), conditions: [{ type: 'Ready', status }] },
  }));
}

test('the only node that the pods select may reboot: it is waited for', async () => {
  const world = gateWorld({ nodes: 1 });
  notReady(world, 'n1', 'False');
  await holding(world);
  await world.pass(600_000);
  assert.equal(world.web().paused, true);
  notReady(world, 'n1', 'True');
  await world.pass(1000);
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, false);
  assert.ok(!world.events.some(({ reason }) => reason === 'NoEligibleNodes'));
});

test('pods for another operating system are not held, and nothing is wrong', async () => {
  const world = gateWorld({ nodes: 1 });
  world.api.update('/api/v1/nodes/n1', (object) => ({
    ...object,
    metadata: { ...asObject(object['metadata']), labels: { 'kubernetes.io/os': 'windows' } },
  }));
  await holding(world);
  await world.pass(1000);
  assert.equal(world.web().paused, false);
  const types = world.events.filter(({ reason }) => /NoEligibleNodes|RolloutReleased/.test(reason));
  assert.deepEqual(
    types.map(({ type }) => type),
    ['Normal', 'Normal'],
  );
});
