import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEEP_PAUSED_ANNOTATION } from '../../src/api/names.ts';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, PRELOADS, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';

const EARLY = `${PRELOADS}/early`;
const byHand: JsonObject = {
  metadata: {
    ...{ namespace: 'shop', name: 'early', uid: 'uid-early' },
    creationTimestamp: '2026-01-01T00:00:00Z',
  },
  spec: { images: [{ image: 'registry.test/app:9' }], ttlSecondsAfterFinished: 600 },
};

/** The next leader, which has only what is stored. */
async function nextLeader(world: World, change: (stored: Map<string, JsonObject>) => void): Promise<World> {
  await world.stop();
  const stored = new Map(world.api.objects);
  change(stored);
  const next = gateWorld({ stored, startMs: world.clock.now() });
  next.start();
  return next;
}

async function preloadingByHand(): Promise<World> {
  const world = gateWorld();
  world.start();
  world.api.put(EARLY, byHand);
  await world.pass(1000);
  assert.equal(world.pods().length, 2);
  return world;
}

test('the pods of a preload made by hand go when its namespace opts out', async () => {
  const world = await preloadingByHand();
  world.optIn(undefined);
  await world.pass(1000);
  assert.equal(world.pods().length, 0);
  assert.ok(world.api.objects.has(EARLY));
});

test('they go, too, if nobody was leading when it did', async () => {
  const next = await nextLeader(await preloadingByHand(), (stored) =>
    stored.set('/api/v1/namespaces/shop', { metadata: { name: 'shop', uid: 'uid-shop' } }),
  );
  await next.pass(5000);
  assert.equal(next.pods().length, 0);
  assert.equal(next.api.called('delete', PRELOADS).length, 0);
});

test('a stranger’s pod with the label is left alone where nobody opted in', async () => {
  const world = gateWorld();
  world.optIn(undefined);
  world.start();
  world.api.put(`${PODS}/stranger`, {
    metadata: {
      ...{
        namespace: 'shop',
        name: 'stranger',
        uid: 'uid-stranger',
        labels: { 'pullgate.io/puller': 'true' },
      },
      ownerReferences: [
        {
          apiVersion: 'pullgate.io/v1alpha1',
          kind: 'ImagePreload',
          name: 'early',
          uid: 'x',
          controller: true,
        },
      ],
    },
    spec: { nodeName: 'n1' },
  });
  await world.pass(5000);
  assert.deepEqual(world.api.calls, []);
});

test('a preload of a Deployment is ended when its namespace opts out, and expires', async () => {
  const world = gateWorld();
  world.start();
  world.hold();
  await world.pass(1000);
  assert.equal(world.pods().length, 2);
  world.optIn(undefined);
  await world.pass(5000);
  assert.equal(world.web().paused, false);
  assert.equal(world.pods().length, 0);
  assert.equal(world.preload().status?.phase, 'Superseded');
  const next = await nextLeader(world, () => undefined);
  await next.pass(3500_000);
  assert.equal(next.preloads().length, 1);
  await next.pass(200_000);
  assert.equal(next.preloads().length, 0);
});

test('a failure that the gate has written is taken back where nobody opts in any more', async () => {
  const world = gateWorld();
  world.start();
  world.hold(heldObject(updated.annotate(KEEP_PAUSED_ANNOTATION, 'true')));
  await world.pass(1000);
  await world.refusing('not found: manifest unknown', 'n1', 'n2');
  assert.equal(world.web().status.progressing?.reason, 'ProgressDeadlineExceeded');
  world.optIn(undefined);
  await world.pass(5000);
  assert.deepEqual(world.web().paused, true, 'its owner wants that');
  assert.equal(world.web().status.progressing?.reason, 'DeploymentPaused');
});

/** A rollout that goes on right now, of a revision that nobody was asked about. */
const rolling = {
  ...updated.object,
  status: {
    ...{ observedGeneration: 3, replicas: 2, updatedReplicas: 1, availableReplicas: 2 },
    conditions: [{ type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated' }],
  },
};

test('a rollout under way is caught up with as soon as its namespace opts in', async () => {
  const world = gateWorld();
  world.optIn(undefined);
  world.start();
  world.api.put(WEB, rolling);
  await world.pass(5000);
  assert.deepEqual(world.api.calls, []);
  world.optIn('pause');
  await world.pass(1000);
  assert.equal(world.pods().length, 2);
  assert.ok(world.events.some(({ reason }) => reason === 'UngatedRollout'));
});

test('opting out and in again finds the preload of a rollout under way where it was', async () => {
  const world = gateWorld();
  world.start();
  world.api.put(WEB, rolling);
  await world.pass(1000);
  const { uid } = world.preload();
  world.optIn(undefined);
  await world.pass(2000);
  world.optIn('pause');
  await world.pass(2000);
  assert.equal(world.preload().uid, uid);
  assert.equal(world.api.called('delete', PRELOADS).length, 0);
});

test('a namespace that is deleted and made anew is followed like a new one', async () => {
  const world = gateWorld();
  world.start();
  world.hold();
  await world.pass(1000);
  for (const path of [...world.api.objects.keys()]) if (path.includes('shop')) world.api.put(path, undefined);
  await world.pass(1000);
  world.optIn('pause');
  const again = deployment().image('registry.test/app:3').metadata({ uid: 'uid-again' });
  world.hold(heldObject(again, { uid: 'uid-again' }));
  await world.pass(1000);
  assert.equal(world.pods().length, 2);
  assert.equal(asObject(at(world.api.objects.get(WEB), 'metadata'))['uid'], 'uid-again');
});
