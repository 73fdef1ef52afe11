import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gateWorld, PODS, type World, type WorldOptions } from '../support/unit/gate-world.ts';
import { refusal } from '../support/unit/memory-api.ts';
import { NOT_FOUND } from '../support/unit/preload-builder.ts';

/** Held, and each node at its first attempt. */
async function holding(options: WorldOptions = {}): Promise<World> {
  const world = gateWorld(options);
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

test('each pull is told once, when it has ended, with how long it took', async () => {
  const world = await holding();
  world.creating('n1');
  await world.pass(30_000);
  assert.deepEqual(world.ended.pulls, []);
  world.pulled('n1');
  await world.pass(1000);
  assert.deepEqual(world.ended.pulls, ['Pulled 30']);
  await world.pass(60_000);
  world.preloadController.nodesChanged();
  await world.pass(5000);
  assert.equal(world.ended.pulls.length, 1);
});

test('a pull takes from when the kubelet took its pod on until when the kubelet says that it was there', async () => {
  const world = await holding({ nodes: 1 });
  const time = (ms: number) => new Date(world.clock.now() + ms).toISOString().replace(/\.\d+/, '');
  const [path = '', pod] = [...world.api.objects].find(([key]) => key.startsWith(PODS)) ?? [];
  const terminated = { reason: 'StartError', exitCode: 128, finishedAt: time(43_000) };
  const startTime = time(1000);
  await world.pass(50_000);
  world.api.put(path, {
    ...pod,
    status: {
      startTime,
      containerStatuses: [{ name: 'pull', imageID: 'sha256:ab', state: { terminated } }],
    },
  });
  await world.pass(1000);
  assert.deepEqual(world.ended.pulls, ['Pulled 42']);
});

test('a failed attempt is told once with its reason, whatever the kubelet says of it later; the next one is another', async () => {
  const world = await holding({ nodes: 1 });
  const refused = 'dial tcp 10.0.0.1:443: connect: connection refused';
  for (const message of [refused, 'Back-off pulling image "registry.test/app:2"', refused]) {
    world.failing('n1', message);
    await world.pass(5000);
  }
  assert.deepEqual(world.ended.pulls, ['Failed ConnectionRefused 0.2']);
  await world.pass(30_000);
  assert.deepEqual(world.pods(), ['web n1 1', 'web n1 2']);
  world.failing('n1', NOT_FOUND);
  await world.pass(1000);
  assert.equal(world.ended.pulls.length, 2);
  assert.match(world.ended.pulls[1] ?? '', /^Failed NotFound /);
});

test('one that the API server did not take has failed, too', async () => {
  const world = gateWorld({ nodes: 1 });
  world.api.refuse('create', PODS, refusal(403, 'Forbidden', 'exceeded quota'));
  world.start();
  world.hold();
  await world.pass(1000);
  assert.deepEqual(world.ended.pulls, ['Failed PodRejected 0']);
});

test('one that takes too long is told when its time is over, and not again when it ends', async () => {
  const world = await holding({ nodes: 1, settings: { nodeTimeoutSeconds: 60 } });
  world.creating('n1');
  await world.pass(59_000);
  assert.deepEqual(world.ended.pulls, []);
  await world.pass(2000);
  assert.deepEqual(world.ended.pulls, ['TimedOut Timeout 60']);
  world.pulled('n1');
  await world.pass(5000);
  assert.equal(world.ended.pulls.length, 1);
});

test('a pod that is deleted while it pulls has no end', async () => {
  const world = await holding({ nodes: 1 });
  const [path = '', pod] = [...world.api.objects].find(([key]) => key.startsWith(PODS)) ?? [];
  const metadata = { ...Object(pod?.['metadata']), deletionTimestamp: '2026-01-01T00:00:10Z' };
  world.api.put(path, { ...pod, metadata, status: { phase: 'Failed', reason: 'Terminated' } });
  world.api.put(path, undefined);
  await world.pass(1000);
  assert.deepEqual(world.ended.pulls, []);
});

test('the next leader tells what ends in its time, and nothing that has ended or was late before', async () => {
  const before = await holding({ nodes: 3, settings: { nodeTimeoutSeconds: 60 } });
  before.pulled('n1');
  before.creating('n2');
  before.creating('n3');
  await before.pass(70_000);
  assert.deepEqual(before.ended.pulls, ['Pulled 0', 'TimedOut Timeout 60', 'TimedOut Timeout 60']);
  await before.stop();

  const next = gateWorld({
    nodes: 3,
    stored: before.api.objects,
    startMs: before.clock.now(),
    settings: { nodeTimeoutSeconds: 60 },
  });
  next.start();
  await next.pass(5000);
  next.pulled('n2');
  await next.pass(1000);
  assert.deepEqual(next.ended.pulls, []);
  next.addNode('n4');
  await next.pass(2000);
  next.pulled('n4');
  await next.pass(2000);
  assert.deepEqual(next.ended.pulls, ['Pulled 0']);
});
