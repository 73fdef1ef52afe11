import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asObject, at } from '../../src/json.ts';
import { gateWorld, PODS, PRELOADS, WEB, type World } from '../support/unit/gate-world.ts';
import { SINCE } from '../support/unit/held-deployment.ts';

/** Held, and the first wave asked for. */
async function holding(world: World): Promise<World> {
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

function changeStatus(world: World, node: string, fields: object): void {
  world.api.update(`/api/v1/nodes/${node}`, (object) => ({
    ...object,
    status: { ...asObject(object['status']), ...fields },
  }));
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
  changeStatus(world, node, { conditions: [{ type: 'Ready', status }] });
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

/** Held; n1 has the image, and n2 is at it. */
async function halfReady(nodeInfo: object = {}): Promise<World> {
  const world = gateWorld({ nodes: 2 });
  for (const node of ['n1', 'n2']) changeStatus(world, node, { nodeInfo });
  await holding(world);
  world.pulled('n1');
  await world.pass(2000);
  assert.equal(world.preload().status?.readyNodes, 1);
  return world;
}
const attemptsOn = (world: World, node: string) =>
  world.api.called('create', PODS).filter(({ body }) => at(body, 'spec', 'nodeName') === node).length;

test('what a node pulled before it was started anew is pulled again', async () => {
  const world = await halfReady({ bootID: 'boot-1' });
  changeStatus(world, 'n1', { nodeInfo: { bootID: 'boot-1' } });
  await world.pass(2000);
  assert.equal(attemptsOn(world, 'n1'), 1);
  changeStatus(world, 'n1', { nodeInfo: { bootID: 'boot-2' } });
  await world.pass(2000);
  assert.equal(world.preload().status?.readyNodes, 0);
  assert.equal(attemptsOn(world, 'n1'), 2);
  for (const node of ['n1', 'n2']) world.pulled(node);
  await world.pass(2000);
  assert.equal(world.web().paused, false);
});

const images = (...names: string[]) => ({ images: names.map((name) => ({ names: [name] })) });

test('what a node pulled and has lacked for 2 minutes is pulled again', async () => {
  const world = await halfReady();
  changeStatus(world, 'n1', images('registry.test/app:1', 'registry.test/app:2'));
  await world.pass(130_000);
  assert.equal(attemptsOn(world, 'n1'), 1, 'listed');
  changeStatus(world, 'n1', images('registry.test/app:1'));
  await world.pass(110_000);
  assert.deepEqual(
    [attemptsOn(world, 'n1'), world.preload().status?.readyNodes],
    [1, 1],
    'not for long enough',
  );
  await world.pass(15_000);
  assert.deepEqual([attemptsOn(world, 'n1'), world.preload().status?.readyNodes], [2, 0]);
  world.pulled('n1');
  await world.pass(300_000);
  assert.deepEqual(
    [attemptsOn(world, 'n1'), world.preload().status?.readyNodes],
    [2, 1],
    'a list that still lacks it has other names, or a lower cap',
  );
});

test('a list that may be cut proves nothing', async () => {
  const world = await halfReady();
  await world.pass(300_000);
  assert.deepEqual([attemptsOn(world, 'n1'), world.preload().status?.readyNodes], [1, 1]);
  changeStatus(world, 'n1', { images: [] });
  await world.pass(300_000);
  assert.deepEqual([attemptsOn(world, 'n1'), world.preload().status?.readyNodes], [1, 1]);
});

test('a node lists the image: a kubelet that checks credentials is asked all the same', async () => {
  const listing = async (kubeletVersion: string) => {
    const world = gateWorld({ nodes: 1 });
    changeStatus(world, 'n1', { nodeInfo: { kubeletVersion }, ...images('registry.test/app:2') });
    await holding(world);
    return attemptsOn(world, 'n1');
  };
  assert.equal(await listing('v1.34.3'), 0);
  assert.equal(await listing('v1.35.0-eks-1'), 1);
  assert.equal(await listing('v1.36.2'), 1);
});

test('only the node that holds what the pods request gets the image', async () => {
  const world = gateWorld({ nodes: 2 });
  changeStatus(world, 'n1', { capacity: { cpu: '4' } });
  changeStatus(world, 'n2', { capacity: { cpu: '4', 'example.com/gpu': '1' } });
  world.api.put(WEB, undefined);
  world.start();
  world.api.put(`${PRELOADS}/by-hand`, {
    apiVersion: 'pullgate.io/v1alpha1',
    kind: 'ImagePreload',
    metadata: { namespace: 'shop', name: 'by-hand', uid: 'by-hand', generation: 1, creationTimestamp: SINCE },
    spec: {
      images: [{ image: 'registry.test/app:2' }],
      scheduling: { requests: { 'example.com/gpu': '1' } },
    },
  });
  await world.pass(1000);
  assert.deepEqual([attemptsOn(world, 'n1'), attemptsOn(world, 'n2')], [0, 1]);
  assert.deepEqual(world.preload().status?.excluded, [{ reason: 'Resources', count: 1 }]);
});
