import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { writeHold } from '../../src/api/hold.ts';
import {
  DEADLINE_ANNOTATION,
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  MIN_NODES_ANNOTATION,
  MODE_LABEL,
} from '../../src/api/names.ts';
import { CONDITION_PREFIX } from '../../src/api/rollout.ts';
import { GateError } from '../../src/errors.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { deployment, UID } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, holdOf, SINCE, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';
import { NOT_FOUND } from '../support/unit/preload-builder.ts';

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
    world.deploymentController.deploymentChanged('shop/web');
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
  assert.equal(world.web().paused, true, 'another image is requested by now');
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

for (const [what, error] of [
  ['the connection broke', new GateError('PG_API_TIMEOUT', {})],
  ['the retry was refused, as the hold is gone', refusal(422, 'Invalid')],
] as const) {
  test(`a release whose answer was lost is told, once: ${what}`, async () => {
    const world = gateWorld();
    world.api.loseAnswer('jsonPatch', WEB, error);
    await holding(world);
    await ready(world);
    await world.pass(5000);
    assert.equal(world.web().paused, false);
    assert.equal(patches(world).length, 1);
    assert.equal(reasons(world).filter((reason) => reason === 'RolloutReleased').length, 1);
    assert.deepEqual(world.ended.holds.length, 1);
  });
}

test('so is that of a Deployment whose namespace has no mode any more', async () => {
  const world = gateWorld();
  world.api.loseAnswer('jsonPatch', WEB, refusal(422, 'Invalid'));
  await holding(world);
  world.optIn(undefined);
  await world.pass(5000);
  assert.equal(world.web().paused, false);
  assert.equal(reasons(world).filter((reason) => reason === 'RolloutReleased').length, 1);
});

test('a release that was refused because a user ended the hold is not told', async () => {
  const world = await holding(gateWorld());
  world.api.holdBackWatch('deployments');
  const decided = { uid: UID, template: holdOf().template, by: 'alice', at: SINCE, reason: 'now' };
  world.hold(
    updated
      .annotate(DECIDED_ANNOTATION, writeDecisionRecord({ ...decided, decision: 'Bypassed' }))
      .metadata({ generation: 4 }).object,
  );
  await ready(world);
  assert.equal(patches(world).length, 1);
  world.api.catchUp();
  await world.pass(5000);
  assert.ok(!reasons(world).includes('RolloutReleased'));
});

/** What the status says of the pods that are ready. */
function serving(world: World, readyReplicas: number): void {
  world.api.update(WEB, (object) => ({
    ...object,
    status: { ...asObject(object['status']), readyReplicas },
  }));
}

test('while nothing serves, the first ready node releases, and the event says why', async () => {
  const world = await holding(gateWorld());
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, true, 'the running version serves');
  serving(world, 0);
  await world.pass(1000);
  assert.equal(world.web().paused, false);
  const released = world.events.find(({ reason }) => reason === 'RolloutReleased');
  assert.match(
    released?.note ?? '',
    /\(NothingServes\): no pod of this Deployment is ready, so its rollout starts now; 1 of 2 nodes have its images$/,
  );
});

test('a hold that failed stays although nothing serves', async () => {
  const world = await holding(gateWorld());
  serving(world, 0);
  await world.refusing(NOT_FOUND, 'n1', 'n2');
  await world.pass(600_000);
  assert.equal(world.web().paused, true);
});

test('scaled to zero and up again during a hold, it is the new version that starts', async () => {
  const world = await holding(gateWorld());
  const scale = (replicas: number) =>
    world.api.update(WEB, (object) => ({ ...object, spec: { ...asObject(object['spec']), replicas } }));
  scale(0);
  await world.pass(1000);
  assert.equal(world.web().paused, false);
  const released = world.events.find(({ reason }) => reason === 'RolloutReleased');
  assert.equal(released?.type, 'Normal');
  assert.match(
    released?.note ?? '',
    /\(ScaledToZero\): no pod is wanted, so the next scale-up starts the new version$/,
  );
  scale(2);
  await world.pass(1000);
  assert.equal(world.web().paused, false);
});

test('opting a namespace out says that the image is known to be unavailable', async () => {
  const world = await holding(gateWorld());
  await world.refusing(NOT_FOUND, 'n1', 'n2');
  world.optIn(undefined);
  await world.pass(5000);
  const released = world.events.find(({ reason }) => reason === 'RolloutReleased');
  assert.equal(released?.type, 'Warning');
  assert.match(
    released?.note ?? '',
    /\(OptedOut\): the rollout starts although its image is known to be unavailable: .*not found/,
  );
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

/** The Deployment as it is stored, with this annotation as well. */
function annotate({ api }: World, name: string, value: string): void {
  api.update(WEB, (object) => {
    const metadata = asObject(object['metadata']);
    const annotations = { ...asObject(metadata['annotations']), [name]: value };
    return { ...object, metadata: { ...metadata, annotations } };
  });
}

test('fewer nodes asked for during a hold release it at once, though a node never answers', async () => {
  const world = await holding(gateWorld());
  world.pulled('n1');
  await world.pass(10_000);
  assert.equal(world.web().paused, true);
  annotate(world, MIN_NODES_ANNOTATION, '50%');
  await world.pass(1500);
  assert.deepEqual([world.preload().spec.minNodes, world.preload().name], ['50%', holdOf().preload]);
  assert.equal(world.web().paused, false);
});

test('a preload that is made anew for a setting goes on with what the nodes have', async () => {
  const world = await holding(gateWorld());
  const first = world.preload().uid;
  world.pulled('n1');
  await world.pass(1000);
  annotate(world, DEADLINE_ANNOTATION, '7200');
  await world.pass(1500);
  const { uid, spec, status } = world.preload();
  assert.notEqual(uid, first);
  assert.deepEqual([spec.deadlineSeconds, status?.ready], [7200, '1/2']);
  assert.equal(world.api.called('create', PODS).length, 2, 'the pods of the first one do');
  world.collectGarbage();
  await world.pass(1500);
  assert.equal(world.api.called('create', PODS).length, 4, 'as soon as they are gone it makes its own');
  assert.equal(world.web().paused, true);
  await ready(world);
  await world.pass(1000);
  assert.equal(world.web().paused, false);
  assert.equal(world.api.called('create', PRELOADS).length, 2);
  assert.equal(reasons(world).filter((reason) => reason === 'RolloutReleased').length, 1);
});

test('a setting that the preload has already, or one that is taken away, changes nothing', async () => {
  const set = updated.annotate(DEADLINE_ANNOTATION, '7200').annotate(MIN_NODES_ANNOTATION, '100%');
  const world = await holding(gateWorld(), heldObject(set));
  const { uid } = world.preload();
  world.hold(heldObject(updated.annotate(MIN_NODES_ANNOTATION, '100%')));
  await world.pass(5000);
  assert.equal(world.preload().uid, uid);
});

test('a gate that starts with other flags leaves the open preloads as they are', async () => {
  const world = await holding(gateWorld());
  const { uid } = world.preload();
  await world.stop();
  const again = gateWorld({
    stored: world.api.objects,
    startMs: world.clock.now(),
    settings: { parallelism: 1, minNodes: 1, nodeTimeoutSeconds: 5, deadlineSeconds: 5 },
  });
  again.start();
  await again.pass(10_000);
  assert.equal(again.preload().uid, uid);
  assert.equal(again.api.called('delete', PRELOADS).length, 0);
});

test('an invalid setting is told as an event, and the flag counts', async () => {
  const world = await holding(gateWorld(), heldObject(updated.annotate(MIN_NODES_ANNOTATION, 'fifty')));
  assert.ok(reasons(world).includes('InvalidSetting'));
  assert.equal(world.preload().spec.minNodes, '100%');
});

test('where nobody opted in, an invalid setting is not told', async () => {
  const world = gateWorld();
  world.optIn(undefined);
  await holding(world, updated.annotate(MIN_NODES_ANNOTATION, 'fifty').object);
  assert.deepEqual(reasons(world), []);
});

test('a hold whose preload has finished already, for an earlier hold, waits for a new one', async () => {
  const world = await holding(gateWorld());
  const first = world.preload().uid;
  await ready(world);
  world.rolledOut();
  await world.pass(2000);
  assert.ok(world.preload().status?.finishedAt, 'its rollout is over');
  // What was asked for is asked for again, on the same revision.
  world.hold(heldObject(updated.metadata({ generation: 9 })));
  await world.pass(2000);
  const { uid, name, status } = world.preload();
  assert.deepEqual([uid === first, name, status?.finishedAt], [false, holdOf().preload, undefined]);
  assert.equal(world.web().paused, true, 'what the earlier one saw is of the past');
  await world.pass(2000);
  await ready(world);
  await world.pass(2000);
  assert.equal(world.web().paused, false);
});

test('a preload that is refused makes a waiting rollout status fail, with the words of the API server', async () => {
  const world = gateWorld();
  world.api.refuse('create', PRELOADS, refusal(422, 'Invalid', 'spec.images: too many'), 3);
  await holding(world);
  const { reason, message } = world.web().status.progressing ?? {};
  assert.equal(reason, 'ProgressDeadlineExceeded');
  assert.match(
    message ?? '',
    new RegExp(`^${CONDITION_PREFIX}ImagePreload web-.* was refused: spec.images: too`),
  );
  const told = world.events.find((event) => event.reason === 'PreloadFailed');
  assert.match(told?.note ?? '', /was refused: spec\.images: too many; .*; go back: kubectl/);
  await world.pass(30_000);
  assert.equal(world.preloads().length, 1);
  assert.equal(world.web().status.progressing?.reason, 'DeploymentPaused', 'it can go on');
  assert.equal(world.api.called('strategicPatch', WEB).length, 2, 'each said once');
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
  for (const mode of ['pause', undefined] as const) {
    for (const hold of [writeHold(holdOf(updated, { uid: 'another' })), 'nonsense']) {
      const world = gateWorld();
      world.optIn(mode);
      await holding(world, updated.annotate(HOLD_ANNOTATION, hold).spec({ paused: true }).object);
      const { paused, annotations } = world.web();
      assert.deepEqual([paused, annotations[HOLD_ANNOTATION]], [false, undefined]);
      assert.deepEqual(world.preloads(), []);
    }
  }
});

test('a namespace that opts out has its holds released', async () => {
  const world = await holding(gateWorld());
  world.optIn(undefined);
  world.deploymentController.namespaceChanged('shop');
  await world.pass(100);
  assert.equal(world.web().paused, false);
});

test('a hold that is seen before its namespace’s new mode is not released for the old one', async () => {
  const world = gateWorld();
  world.optIn(undefined);
  world.api.holdBackWatch('namespaces');
  world.optIn('pause');
  await holding(world);
  await world.pass(5000);
  assert.deepEqual([world.web().paused, patches(world)], [true, []]);
  world.api.catchUp();
  await world.pass(2000);
  assert.equal(world.web().paused, true);
  await ready(world);
  await world.pass(2000);
  assert.equal(world.web().paused, false);
});

test('a namespace that changes to reject keeps its holds and carries them through; audit releases them', async () => {
  const rejecting = await holding(gateWorld());
  rejecting.optIn('reject');
  await rejecting.pass(2000);
  assert.equal(rejecting.web().paused, true);
  assert.ok(rejecting.events.some(({ action }) => action === 'TakeOver'));
  await ready(rejecting);
  assert.equal(rejecting.web().paused, false);

  const auditing = await holding(gateWorld());
  auditing.optIn('audit');
  await auditing.pass(2000);
  assert.equal(auditing.web().paused, false);
});

test('a Deployment that opts out is released without asking how its namespace is labelled', async () => {
  const world = await holding(gateWorld(), heldObject(updated.label(MODE_LABEL, 'off')));
  assert.equal(world.web().paused, false);
});

const warned = ({ lines }: World, words: RegExp) =>
  lines.filter((line) => Number(line['level']) >= 40 && words.test(JSON.stringify(line))).length;

test('a release that is refused again and again is told in the log, and tried ever more slowly', async () => {
  const world = gateWorld();
  world.api.refuse('jsonPatch', WEB, refusal(422, 'Invalid', 'a policy says no'), 1000);
  await holding(world);
  await ready(world);
  await world.pass(3000);
  assert.equal(warned(world, /a policy says no/), 0, 'it may just have changed');
  await world.pass(57_000);
  assert.ok(warned(world, /a policy says no/) > 0);
  const tried = patches(world).length;
  assert.ok(tried > 11 && tried < 30, `${tried} times in a minute`);
});

test('a few refusals now and then are no reason to warn', async () => {
  const world = gateWorld();
  for (let count = 0; count < 4; count += 1) {
    world.api.refuse('jsonPatch', WEB, refusal(422, 'Invalid', 'changed'), 6);
    world.hold(
      heldObject(updated.metadata({ generation: 10 * count + 3 }), { since: `2026-01-01T00:00:0${count}Z` }),
    );
    if (count === 0) world.start();
    await world.pass(2000);
    await ready(world);
    await world.pass(10_000);
    assert.equal(world.web().paused, false, `${count}`);
  }
  assert.equal(warned(world, /changed/), 0);
});

test('a label without a hold is taken off, and keeps nothing paused', async () => {
  const stray = updated.label(HELD_LABEL, 'true').spec({ paused: true });
  const world = await holding(gateWorld(), stray.object);
  assert.deepEqual([world.web().paused, world.web().labels[HELD_LABEL]], [false, undefined]);
});

/** A rollout of the update that nobody was asked about, under way. */
function ungated(builder = updated): JsonObject {
  const conditions = [{ type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated' }];
  const status = { observedGeneration: 3, replicas: 3, updatedReplicas: 1, availableReplicas: 2, conditions };
  return { ...builder.object, status };
}

test('a rollout that began while the gate was down is preloaded and told, and never touched', async () => {
  const world = await holding(gateWorld(), ungated());
  const before = world.web();
  assert.deepEqual(
    world.preload().spec.images.map(({ image }) => image),
    ['registry.test/app:2'],
  );
  assert.equal(world.api.called('create', PODS).length, 2);
  await ready(world);
  await world.pass(5000);
  assert.equal(reasons(world).filter((reason) => reason === 'UngatedRollout').length, 1);
  assert.ok(!reasons(world).includes('RolloutReleased'));
  assert.deepEqual(world.web(), before);
  const writes = world.api.calls.filter(({ method, path }) => method !== 'get' && path.startsWith(WEB));
  assert.deepEqual(writes, []);
});

test('it is told once, also over a restart', async () => {
  const world = await holding(gateWorld(), ungated());
  await world.stop();
  const again = gateWorld({ stored: world.api.objects, startMs: world.clock.now() });
  again.start();
  for (const [path, object] of world.api.objects) again.api.put(path, object);
  await again.pass(5000);
  assert.deepEqual(
    again.events.filter(({ reason }) => reason === 'UngatedRollout'),
    [],
  );
  assert.equal(again.api.called('create', PRELOADS).length, 0);
});

test('an audited rollout is preloaded beside, and told with how many nodes lack the image', async () => {
  const decided = writeDecisionRecord({
    uid: UID,
    template: holdOf().template,
    decision: 'Audited',
    by: 'a-developer',
    at: SINCE,
    reason: 'registry.test/app:2',
  });
  const world = gateWorld();
  world.optIn('audit');
  await holding(world, ungated(updated.annotate(DECIDED_ANNOTATION, decided)));
  await world.pass(2000);
  assert.equal(world.web().paused, false);
  assert.equal(world.api.called('create', PODS).length, 2);
  const told = world.events.filter(({ reason }) => reason === 'RolloutAudited');
  assert.match(told[0]?.note ?? '', /2 of 2 nodes lack the image/);
  assert.equal(new Set(told.map(({ dedupKey }) => dedupKey)).size, 1);
  assert.ok(!reasons(world).includes('UngatedRollout'));
});

test('a catch-up that the API server refuses fails no rollout', async () => {
  const world = gateWorld();
  world.api.refuse('create', PRELOADS, refusal(422, 'Invalid', 'spec.images: too many'), 1000);
  await holding(world, ungated());
  await world.pass(5000);
  assert.equal(world.api.called('strategicPatch', WEB).length, 0);
  assert.ok(warned(world, /spec\.images: too many/) > 0);
});

test('a refusal by the registry is on the Deployment when it is repeated, and off it when the image is there', async () => {
  const world = await holding(gateWorld());
  for (const node of ['n1', 'n2']) world.failing(node, NOT_FOUND);
  await world.pass(4000);
  assert.ok(reasons(world).includes('PreloadNodeFailed'));
  assert.equal(world.api.called('strategicPatch', WEB).length, 0);
  await world.refusing(NOT_FOUND, 'n1', 'n2');
  assert.match(world.web().status.progressing?.message ?? '', new RegExp(`^${CONDITION_PREFIX}.*not found`));
  assert.equal(world.web().status.progressing?.reason, 'ProgressDeadlineExceeded');
  await world.pass(20_000);
  assert.equal(world.api.called('strategicPatch', WEB).length, 1, 'once');
  world.pulled('n1');
  await world.pass(100);
  assert.equal(world.web().status.progressing?.reason, 'DeploymentPaused');
});

test('a decision of admission is told as an event', async () => {
  const decided = {
    uid: UID,
    template: 't',
    decision: 'Held',
    by: 'jane',
    at: SINCE,
    reason: 'app:2',
  } as const;
  const world = await holding(
    gateWorld(),
    heldObject(updated.annotate(DECIDED_ANNOTATION, writeDecisionRecord(decided))),
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
  await world.deploymentController.endAll(undefined);
  assert.deepEqual(heldNames(world), []);
});

test('one without its label is released, too, and so is a label without a hold', async () => {
  const world = await shutDown();
  const { labels: _, ...metadata } = asObject(heldObject()['metadata']);
  world.api.put(WEB, { ...heldObject(), metadata });
  const stray = updated
    .metadata({ name: 'api', uid: 'uid-api' })
    .label(HELD_LABEL, 'true')
    .spec({ paused: true });
  world.api.put(WEB.replace('web', 'api'), stray.object);
  await world.deploymentController.endAll(undefined);
  assert.deepEqual(heldNames(world), []);
});

test('a Deployment that changes meanwhile is read again and released', async () => {
  const world = await shutDown();
  world.api.refuse('jsonPatch', WEB, refusal(422, 'Invalid'), 3);
  await world.deploymentController.endAll(undefined);
  assert.deepEqual(heldNames(world), []);
});

test('one that cannot be released keeps no other one held, and is told', async () => {
  for (const error of [
    refusal(403, 'Forbidden', 'policy says no'),
    refusal(422, 'Invalid', 'policy says no'),
  ]) {
    const world = await shutDown();
    world.api.refuse('jsonPatch', WEB, error, 1000);
    await assert.rejects(world.deploymentController.endAll(undefined), AggregateError);
    assert.deepEqual(heldNames(world), ['web']);
    assert.match(JSON.stringify(world.lines), /policy says no/);
  }
});

test('one that is deleted meanwhile is no failure', async () => {
  const world = await shutDown();
  world.api.refuse('jsonPatch', WEB, refusal(404, 'NotFound'));
  await world.deploymentController.endAll(undefined);
  assert.deepEqual(heldNames(world), ['web'], 'the double has it still');
});

test('puller pods are made as long as it is held only', async () => {
  const world = await shutDown();
  const before = world.api.called('create', PODS).length;
  await world.deploymentController.endAll(undefined);
  await world.pass(10_000);
  assert.equal(world.api.called('create', PODS).length, before);
});
