import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { writeHold } from '../../src/hold/hold.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { DECIDED_ANNOTATION, HELD_LABEL, HOLD_ANNOTATION } from '../../src/names.ts';
import { CONDITION_PREFIX } from '../../src/release/next-step.ts';
import { deployment } from './deployment-builder.ts';
import { gateWorld, PODS, WEB, type World } from './gate-world.ts';
import { heldObject, holdOf, SINCE, updated } from './held-deployment.ts';
import { refusal } from './memory-api.ts';
import { NOT_FOUND } from './preload-builder.ts';

const PRELOADS = '/imagepreloads';
const patches = ({ api }: World) => api.called('jsonPatch', WEB);
const reasons = ({ events }: World) => events.map(({ reason }) => reason);

async function holding(world: World, object?: JsonObject): Promise<World> {
  world.start();
  world.hold(object);
  await world.pass(100);
  return world;
}

/** All nodes have the image. */
async function ready(world: World): Promise<void> {
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(100);
}

test('a hold gets one preload, named as admission said, for the images that are needed', async () => {
  const world = await holding(gateWorld());
  await world.pass(5000);
  const { name, spec } = world.preload();
  assert.equal(name, holdOf().preload);
  assert.deepEqual(spec.images, [{ image: 'registry.test/app:2', imagePullPolicy: 'IfNotPresent' }]);
  assert.equal(world.api.called('create', PRELOADS).length, 1);
});

test('a late watch does not make it create a second one', async () => {
  const world = gateWorld();
  world.api.holdBackWatch('imagepreloads');
  await holding(world);
  for (let n = 0; n < 5; n += 1) {
    world.releaseController.deploymentChanged('shop/web');
    await world.pass(1000);
  }
  assert.equal(world.preloads().length, 1);
});

test('when every node is ready the hold is taken off with one patch, and told', async () => {
  const world = await holding(gateWorld());
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, true);
  await ready(world);
  await world.pass(5000);
  const { paused, annotations, labels } = world.web();
  assert.deepEqual([paused, annotations[HOLD_ANNOTATION], labels[HELD_LABEL]], [false, undefined, undefined]);
  assert.equal(patches(world).length, 1);
  assert.equal(reasons(world).filter((reason) => reason === 'RolloutReleased').length, 1);
});

test('a Deployment that changed meanwhile is released after a fresh look, and only if it still may be', async () => {
  const world = await holding(gateWorld());
  world.api.holdBackWatch('deployments');
  world.hold(heldObject(updated.image('registry.test/app:3').metadata({ generation: 4 })));
  await ready(world);
  assert.equal(patches(world).length, 1, 'refused by its tests');
  assert.equal(world.web().paused, true);
  world.api.catchUp();
  await world.pass(5000);
  assert.equal(world.web().paused, true, 'another image is asked for by now');
  assert.ok(!reasons(world).includes('RolloutReleased'));
  await ready(world);
  await world.pass(2000);
  assert.equal(world.web().paused, false);
});

test('a refused patch is tried again, even if the watch has nothing new to tell', async () => {
  const world = gateWorld();
  world.api.refuse('jsonPatch', WEB, refusal(409, 'Conflict'));
  await holding(world);
  await ready(world);
  assert.equal(world.web().paused, true);
  await world.pass(1000);
  assert.equal(world.web().paused, false);
});

test('a preload of that name that is for something else is made anew', async () => {
  const forged: readonly (readonly [string, object])[] = [
    ['other images', { spec: { images: [{ image: 'registry.test/app:1' }] } }],
    ['another owner', { metadata: { ownerReferences: [{ kind: 'Deployment', name: 'web', uid: 'x' }] } }],
  ];
  for (const [what, fields] of forged) {
    const world = gateWorld();
    await holding(world);
    const path = [...world.api.objects.keys()].find((key) => key.includes(PRELOADS)) ?? '';
    const forgery = world.preload().uid;
    // It stays for a while, and becomes Ready.
    world.api.refuse('delete', PRELOADS, refusal(500, 'InternalError'), 3);
    world.api.update(path, (object) => ({
      ...object,
      spec: { ...asObject(object['spec']), ...asObject(asObject(fields)['spec']) },
      metadata: { ...asObject(object['metadata']), ...asObject(asObject(fields)['metadata']) },
    }));
    await world.pass(5000);
    assert.notEqual(world.preload().uid, forgery, what);
    assert.deepEqual(world.preload().spec.images[0]?.image, 'registry.test/app:2');
    assert.equal(world.web().paused, true, 'what the nodes have already is not what is asked for');
    assert.ok(!reasons(world).includes('RolloutReleased'));
  }
});

test('a preload that is refused is told in the log, and tried again with back-off, not every second', async () => {
  const world = gateWorld();
  world.api.refuse('create', PRELOADS, refusal(422, 'Invalid', 'spec.images: too many'), 1000);
  await holding(world);
  await world.pass(60_000);
  const tried = world.api.called('create', PRELOADS).length;
  assert.ok(tried > 3 && tried < 15, `${tried} times`);
  assert.match(JSON.stringify(world.lines), /spec\.images: too many/);
});

test('a hold of a template that needs nothing is released without a preload', async () => {
  const world = await holding(gateWorld(), heldObject(deployment()));
  await world.pass(1000);
  assert.deepEqual([world.web().paused, world.preloads()], [false, []]);
});

test('a hold of another Deployment, and what is no hold, are dropped in every namespace', async () => {
  for (const mode of ['pause', undefined]) {
    for (const hold of [writeHold(holdOf(updated, { uid: 'another' })), 'nonsense']) {
      const world = gateWorld();
      world.mode.shop = mode;
      await holding(world, updated.annotate(HOLD_ANNOTATION, hold).spec({ paused: true }).object);
      const { paused, annotations } = world.web();
      assert.deepEqual([paused, annotations[HOLD_ANNOTATION]], [false, undefined]);
      assert.deepEqual(world.preloads(), []);
    }
  }
});

test('a namespace that opts out has its holds released', async () => {
  const world = await holding(gateWorld());
  world.mode.shop = undefined;
  world.releaseController.namespaceChanged('shop');
  await world.pass(100);
  assert.equal(world.web().paused, false);
});

test('a refusal by the registry is on the Deployment at once, and off it when the image is there', async () => {
  const world = await holding(gateWorld());
  world.failing('n1', NOT_FOUND);
  await world.pass(100);
  assert.match(world.web().status.progressing?.message ?? '', new RegExp(`^${CONDITION_PREFIX}.*not found`));
  assert.equal(world.web().status.progressing?.reason, 'ProgressDeadlineExceeded');
  await world.pass(20_000);
  assert.equal(world.api.called('strategicPatch', WEB).length, 1, 'once');
  world.pulled('n1');
  await world.pass(100);
  assert.equal(world.web().status.progressing?.reason, 'DeploymentPaused');
});

test('a decision of admission is told as an event', async () => {
  const decided = { template: 't', decision: 'Held', by: 'jane', at: SINCE, reason: 'app:2' };
  const world = await holding(
    gateWorld(),
    heldObject(updated.annotate(DECIDED_ANNOTATION, JSON.stringify(decided))),
  );
  assert.ok(reasons(world).includes('RolloutHeld'));
});

test('what the API server cannot do now is tried again', async () => {
  const world = gateWorld();
  world.api.refuse('create', PRELOADS, refusal(500, 'InternalError'));
  await holding(world);
  await world.pass(2000);
  assert.equal(world.preloads().length, 1);
});

/** Three held Deployments, and a gate that has stopped working on them. */
async function shutDown(): Promise<World> {
  const world = await holding(gateWorld());
  for (const name of ['api', 'job']) {
    const other = updated.metadata({ name, uid: `uid-${name}` });
    world.hold(heldObject(other, { uid: `uid-${name}` }), WEB.replace('web', name));
  }
  await world.pass(100);
  await world.stop();
  return world;
}
const heldNames = ({ api }: World) =>
  [...api.objects]
    .filter(([path]) => path.includes('/deployments/'))
    .map(([, object]) => parseDeployment(object))
    .filter(({ annotations, paused }) => annotations[HOLD_ANNOTATION] !== undefined || paused)
    .map(({ name }) => name);

test('a gate that goes away for good releases every hold, ready or not', async () => {
  const world = await shutDown();
  await world.releaseController.releaseAll();
  assert.deepEqual(heldNames(world), []);
});

test('a Deployment that changes meanwhile is read again and released', async () => {
  const world = await shutDown();
  world.api.refuse('jsonPatch', WEB, refusal(422, 'Invalid'), 3);
  await world.releaseController.releaseAll();
  assert.deepEqual(heldNames(world), []);
});

test('one that cannot be released keeps no other one held, and is told', async () => {
  for (const error of [
    refusal(403, 'Forbidden', 'policy says no'),
    refusal(422, 'Invalid', 'policy says no'),
  ]) {
    const world = await shutDown();
    world.api.refuse('jsonPatch', WEB, error, 1000);
    await assert.rejects(world.releaseController.releaseAll(), AggregateError);
    assert.deepEqual(heldNames(world), ['web']);
    assert.match(JSON.stringify(world.lines), /policy says no/);
  }
});

test('one that is deleted meanwhile is no failure', async () => {
  const world = await shutDown();
  world.api.refuse('jsonPatch', WEB, refusal(404, 'NotFound'));
  await world.releaseController.releaseAll();
  assert.deepEqual(heldNames(world), ['web'], 'the double has it still');
});

test('puller pods are made as long as it is held only', async () => {
  const world = await shutDown();
  const before = world.api.called('create', PODS).length;
  await world.releaseController.releaseAll();
  await world.pass(10_000);
  assert.equal(world.api.called('create', PODS).length, before);
});
