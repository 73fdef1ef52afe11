import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployment } from '../support/unit/deployment-builder.ts';
import { gateWorld, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

/** Holds begin when the clock of the tests does. */
async function holding(world: World = gateWorld({ nodes: 1 }), object = heldObject()): Promise<World> {
  world.start();
  world.hold(object);
  await world.pass(100);
  return world;
}

test('a hold that is released is told once, with how long it lasted', async () => {
  const world = await holding();
  await world.pass(29_900);
  world.pulled('n1');
  await world.pass(30_000);
  assert.deepEqual(world.ended.holds, ['Ready 30']);
});

test('not before it is off: a refused patch ends nothing', async () => {
  const world = gateWorld({ nodes: 1 });
  world.api.refuse('jsonPatch', WEB, refusal(409, 'Conflict'));
  await holding(world);
  world.pulled('n1');
  await world.pass(500);
  assert.deepEqual(world.ended.holds, []);
  await world.pass(1000);
  assert.equal(world.ended.holds.length, 1);
});

test('one that the user resumed while nobody was asked has ended, too', async () => {
  const world = await holding();
  world.api.update(WEB, (object) => ({ ...object, spec: { ...Object(object['spec']), paused: false } }));
  await world.pass(900);
  assert.deepEqual(world.ended.holds, ['Resumed 0.1']);
});

test('what was no hold of that Deployment has not lasted', async () => {
  for (const object of [heldObject(updated, { uid: 'of-another' }), unreadable()]) {
    const world = await holding(undefined, object);
    await world.pass(1000);
    assert.equal(world.web().paused, false, 'it was dropped');
    assert.deepEqual(world.ended.holds, []);
    assert.deepEqual(world.deploymentController.holds().images, { open: 0, oldestSeconds: 0 });
  }
});

test('a clock that is behind that of whoever held it makes no negative time', async () => {
  const world = await holding(undefined, heldObject(updated, { since: '2026-01-01T00:00:05.000Z' }));
  world.pulled('n1');
  await world.pass(1000);
  assert.deepEqual(world.ended.holds, ['Ready 0']);
});

test('the holds that are open are counted, and the age of the oldest', async () => {
  const world = await holding();
  const other = heldObject(updated, { uid: 'uid-2', since: '2026-01-01T00:00:40.000Z' });
  const metadata = { ...Object(other['metadata']), name: 'other', uid: 'uid-2' };
  world.hold({ ...other, metadata }, WEB.replace(/web$/, 'other'));
  world.hold(deployment().metadata({ name: 'free', uid: 'uid-3' }).object, WEB.replace(/web$/, 'free'));
  await world.pass(59_900);
  assert.deepEqual(world.deploymentController.holds(), {
    images: { open: 2, oldestSeconds: 60 },
    approval: { open: 0, oldestSeconds: 0 },
    time: { open: 0, oldestSeconds: 0 },
  });
  assert.equal(world.preloadController.running(), 1, 'both need the same');
});

test('counting the holds reads each of them once, as anybody may ask for the metrics', async (context) => {
  const world = await holding();
  world.deploymentController.holds();
  const parse = context.mock.method(JSON, 'parse');
  for (let n = 0; n < 10; n += 1) assert.equal(world.deploymentController.holds().images.open, 1);
  assert.equal(parse.mock.callCount(), 0);
});

function unreadable() {
  const object = heldObject();
  const metadata = Object(object['metadata']);
  const annotations = { ...metadata.annotations, 'pullgate.io/hold': '{}' };
  return { ...object, metadata: { ...metadata, annotations } };
}
