import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asArray, at, type JsonObject } from '../../src/json.ts';
import { gateWorld, PODS, type World } from '../support/unit/gate-world.ts';
import { refusal } from '../support/unit/memory-api.ts';

const quota = (hard: JsonObject) => ({ metadata: { namespace: 'shop', name: 'pods' }, spec: { hard } });
const QUOTA = '/api/v1/namespaces/shop/resourcequotas/pods';

async function holding(world: World): Promise<World> {
  world.start();
  world.hold();
  await world.pass(100);
  return world;
}

for (const counted of ['pods', 'count/pods']) {
  test(`with a quota on ${counted} a puller pod goes as soon as it has pulled, and its node goes on counting`, async () => {
    const world = gateWorld();
    world.api.put(QUOTA, quota({ [counted]: '4' }));
    await holding(world);
    world.pulled('n1');
    await world.pass(2000);
    assert.deepEqual(world.pods(), ['web n2 1']);
    assert.equal(world.preload().status?.ready, '1/2');
    world.pulled('n2');
    await world.pass(2000);
    assert.deepEqual([world.web().paused, world.pods()], [false, []]);
    assert.equal(world.api.called('create', PODS).length, 2);
  });

  test(`with a quota on ${counted} no puller pod is left after the release, pulled or not`, async () => {
    const world = gateWorld({ settings: { minNodes: 1 } });
    world.api.put(QUOTA, quota({ [counted]: '4' }));
    await holding(world);
    world.pulled('n1');
    await world.pass(2000);
    assert.deepEqual([world.web().paused, world.pods()], [false, []]);
    assert.equal(world.preload().status?.phase, 'Finished');
  });
}

test('with another quota puller pods stay until the release', async () => {
  const world = gateWorld();
  world.api.put(QUOTA, quota({ 'requests.cpu': '4' }));
  await holding(world);
  world.pulled('n1');
  await world.pass(5000);
  assert.equal(world.pods().length, 2);
});

test('a pod that could not be deleted is deleted a second later', async () => {
  const world = gateWorld();
  world.api.put(QUOTA, quota({ pods: '4' }));
  await holding(world);
  world.api.refuse('delete', PODS, refusal(500, 'InternalError'), 1);
  world.pulled('n1');
  await world.pass(3000);
  assert.deepEqual(world.pods(), ['web n2 1']);
});

test('a gate that may not read quotas preloads all the same', async () => {
  const world = gateWorld();
  world.api.refuse('get', 'resourcequotas', refusal(403, 'Forbidden'), 100);
  world.api.refuse('get', 'limitranges', refusal(403, 'Forbidden'), 100);
  await holding(world);
  assert.equal(world.pods().length, 2);
});

test('a pod that has pulled and does not end goes after 30 s, and its node goes on counting', async () => {
  const world = await holding(gateWorld());
  // As with CRI-O: the container cannot be created, and the kubelet tries that for ever.
  world.endless('n1');
  await world.pass(29_000);
  assert.equal(world.pods().length, 2);
  await world.pass(2000);
  assert.deepEqual(world.pods(), ['web n2 1']);
  assert.equal(world.preload().status?.ready, '1/2');
  assert.equal(world.api.called('create', PODS).length, 2);
});

test('a puller pod asks for what the LimitRanges of its namespace allow', async () => {
  const world = gateWorld();
  const spec = {
    limits: [{ type: 'Container', min: { memory: '64Mi' }, maxLimitRequestRatio: { cpu: '2' } }],
  };
  world.api.put('/api/v1/namespaces/shop/limitranges/large', { metadata: { namespace: 'shop' }, spec });
  await holding(world);
  const [pod] = world.api.called('create', PODS);
  const resources = at(asArray(at(pod?.body, 'spec', 'containers'))[0], 'resources');
  assert.deepEqual(resources, {
    requests: { cpu: '50m', memory: '64Mi' },
    limits: { cpu: '100m', memory: '64Mi' },
  });
});
