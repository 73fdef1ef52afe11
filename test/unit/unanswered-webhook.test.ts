import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gateWorld, PODS, PRELOADS, type World } from '../support/unit/gate-world.ts';
import { refusal } from '../support/unit/memory-api.ts';

const WORDS =
  'Internal error occurred: failed calling webhook "pods.policy.test": failed to call webhook: no endpoints available for service "policy"';
const FOR_EVER = 100_000;

async function holding(world: World): Promise<World> {
  world.start();
  world.hold();
  await world.pass(100);
  return world;
}

const told = ({ events }: World, reason: string) => events.filter((event) => event.reason === reason);

test('a webhook that is down for puller pods is told in its words within 15 s, and is not called a slow pull', async () => {
  const world = gateWorld();
  world.api.refuse('create', PODS, refusal(500, 'InternalError', WORDS), FOR_EVER);
  await holding(world);
  await world.pass(3000);
  assert.deepEqual(told(world, 'PreloadNodeFailed'), [], 'it may be over in a moment');
  await world.pass(10_000);
  const [first] = told(world, 'PreloadNodeFailed');
  assert.match(
    first?.note ?? '',
    /failed calling webhook "pods\.policy\.test".* \(PodNotCreated\); 0 of 2 nodes/,
  );
  const status = world.preload().status;
  assert.deepEqual([status?.failures.length, status?.failures[0]?.reason], [2, 'PodNotCreated']);
  assert.ok(world.ended.pulls.every((pull) => pull.startsWith('Failed PodNotCreated')));
});

test('when it is back the pods are made', async () => {
  const world = gateWorld();
  world.api.refuse('create', PODS, refusal(500, 'InternalError', WORDS), 12);
  await holding(world);
  await world.pass(60_000);
  assert.equal(world.pods().length, 2);
});

test("a moment of it is nobody's concern", async () => {
  const world = gateWorld();
  world.api.refuse('create', PODS, refusal(503, 'ServiceUnavailable', 'etcdserver: leader changed'), 4);
  await holding(world);
  await world.pass(3000);
  assert.equal(world.pods().length, 2);
  assert.deepEqual(told(world, 'PreloadNodeFailed'), []);
});

test('if the ImagePreload cannot be made either, the Deployment says so within 15 s, and is not failed', async () => {
  const world = gateWorld();
  world.api.refuse('create', PRELOADS, refusal(500, 'InternalError', WORDS), FOR_EVER);
  await holding(world);
  await world.pass(14_000);
  const notes = new Set(told(world, 'PreloadFailed').map(({ note }) => note));
  assert.equal(notes.size, 1);
  assert.match([...notes][0] ?? '', /ImagePreload web-\w+ could not be created: .*failed calling webhook/);
  assert.equal(world.api.called('strategicPatch', '/deployments/web').length, 0);
});
