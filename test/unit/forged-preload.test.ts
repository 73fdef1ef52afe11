import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseImagePreload } from '../../src/api/image-preload.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { preloadManifest, preloadSpec } from '../../src/preloads/preload-spec.ts';
import { noNodesSince } from '../../src/preloads/preload-status.ts';
import { PRELOAD_SETTINGS } from '../support/unit/deployment-builder.ts';
import { gateWorld, PRELOADS, type World } from '../support/unit/gate-world.ts';
import { heldObject, holdOf, SINCE, updated } from '../support/unit/held-deployment.ts';

const NAME = holdOf().preload;
const PATH = `${PRELOADS}/${NAME}`;
const GENUINE = preloadManifest(
  parseDeployment(updated.object),
  NAME,
  preloadSpec(parseDeployment(updated.object), holdOf().from, PRELOAD_SETTINGS),
  PRELOAD_SETTINGS,
);

/** The awaited preload as somebody with the role `edit` makes it, before the gate does. */
function forged({
  metadata = {},
  spec = {},
  ...rest
}: {
  metadata?: object;
  spec?: object;
  status?: object;
}): JsonObject {
  const made = { uid: 'forged', generation: 1, creationTimestamp: SINCE };
  return {
    ...GENUINE,
    ...rest,
    metadata: { ...asObject(GENUINE['metadata']), ...made, ...metadata },
    spec: { ...asObject(GENUINE['spec']), ...spec },
  };
}

async function holding(forgery: JsonObject): Promise<World> {
  const world = gateWorld({ startMs: Date.parse(SINCE) });
  world.api.put(PATH, forgery);
  world.start();
  world.hold(heldObject());
  await world.pass(3000);
  return world;
}

async function becomesReady(world: World): Promise<void> {
  assert.equal(world.web().paused, true);
  world.pulled('n2');
  await world.pass(1000);
  assert.equal(world.web().paused, false);
}

const [owner] = asArray(at(GENUINE, 'metadata', 'ownerReferences'));
const owned = (fields: object) => ({ metadata: { ownerReferences: [{ ...asObject(owner), ...fields }] } });

describe('a preload of the awaited name is made anew if it', () => {
  for (const [what, fields] of [
    ['asks for fewer nodes', { spec: { minNodes: 1 } }],
    ['asks for a smaller share of them', { spec: { minNodes: '50%' } }],
    ['gives up on nodes earlier', { spec: { nodeTimeoutSeconds: 1 } }],
    ['has an earlier deadline', { spec: { deadlineSeconds: 1 } }],
    ['is for fewer nodes', { spec: { scheduling: { nodeSelector: { 'kubernetes.io/hostname': 'n1' } } } }],
    ['is for no node', { spec: { scheduling: { nodeSelector: { no: 'node' } } } }],
    ['is for images that the nodes have', { spec: { images: [{ image: 'registry.test/app:1' }] } }],
    ['pulls as another account', { spec: { serviceAccountName: 'another' } }],
    ['is for another template', { spec: { templateHash: 'another' } }],
    ['belongs to another Deployment', owned({ uid: 'another' })],
    ['belongs to something else', owned({ kind: 'ReplicaSet' })],
    ['belongs to nothing', { metadata: { ownerReferences: [] } }],
  ] as const) {
    test(what, async () => {
      const world = await holding(forged(fields));
      assert.notEqual(world.preload().uid, 'forged');
      assert.deepEqual(world.preload().spec, parseImagePreload(GENUINE).spec);
      world.pulled('n1');
      // Longer than it takes until no eligible node is a reason to release.
      await world.pass(150_000);
      await becomesReady(world);
    });
  }

  test('was made long before, and asks for the same: when it began says nothing about this hold', async () => {
    const world = gateWorld({ startMs: Date.parse(SINCE) });
    world.start();
    world.api.put(PATH, forged({ metadata: { creationTimestamp: '2025-12-31T20:00:00Z' } }));
    await world.pass(2000);
    world.hold(heldObject());
    await world.pass(3000);
    assert.notEqual(world.preload().uid, 'forged');
    world.pulled('n1');
    await world.pass(150_000);
    await becomesReady(world);
  });
});

test('one whose finalizers keep it makes the hold say so, and how to go on; without them it goes on', async () => {
  const world = await holding(
    forged({ metadata: { finalizers: ['example.com/x'], deletionTimestamp: SINCE } }),
  );
  await world.pass(12_000);
  const [event] = world.events.filter(({ reason }) => reason === 'PreloadFailed');
  assert.match(
    event?.note ?? '',
    new RegExp(
      `^ImagePreload ${NAME} is being deleted, but its finalizers prevent that; remove them: kubectl -n shop patch ipl ${NAME} `,
    ),
  );
  assert.equal(world.web().status.progressing?.reason, 'ProgressDeadlineExceeded');
  await world.pass(60_000);
  assert.equal(world.api.called('strategicPatch', '/status').length, 1, 'said once');
  world.api.put(PATH, undefined);
  await world.pass(3000);
  assert.equal(world.web().status.progressing?.reason, 'DeploymentPaused');
  world.pulled('n1');
  await world.pass(1000);
  await becomesReady(world);
});

describe('a status that somebody wrote into it', () => {
  const time = '2025-12-31T20:00:00Z';
  const condition = (type: string, status: string, reason: string) => ({
    type,
    status,
    reason,
    message: '',
    lastTransitionTime: time,
  });
  const counts = { desiredNodes: 2, readyNodes: 2, pullingNodes: 0, failedNodes: 0, startedAt: time };

  for (const [what, status] of [
    [
      'says that it is ready',
      { ...counts, phase: 'Ready', conditions: [condition('Ready', 'True', 'AllNodesReady')] },
    ],
    [
      'says that there has been no node for hours',
      { ...counts, conditions: [condition('Progressing', 'True', 'NoEligibleNodes')] },
    ],
    [
      'says that the deadline has passed',
      { ...counts, phase: 'Failed', conditions: [condition('Ready', 'False', 'DeadlineExceeded')] },
    ],
    ['says that it has finished', { ...counts, phase: 'Finished', finishedAt: time, conditions: [] }],
  ] as const) {
    test(`${what} releases nothing`, async () => {
      const world = await holding(forged({ status }));
      world.pulled('n1');
      await world.pass(150_000);
      await becomesReady(world);
    });
  }

  test('fails nothing: a node is asked all the same', async () => {
    const failures = ['n1', 'n2'].map((node) => ({
      node,
      image: 'registry.test/app:2',
      reason: 'NotFound',
      message: 'made up',
    }));
    const conditions = [condition('Ready', 'False', 'NotFound'), condition('Degraded', 'True', 'NotFound')];
    const world = await holding(forged({ status: { ...counts, phase: 'Failed', failures, conditions } }));
    assert.deepEqual(world.pods().toSorted(), ['web n1 1', 'web n2 1']);
    assert.notEqual(world.web().status.progressing?.reason, 'ProgressDeadlineExceeded');
    world.pulled('n1');
    await world.pass(1000);
    await becomesReady(world);
  });

  test('has no node for longer than it has been there', () => {
    const conditions = [condition('Progressing', 'True', 'NoEligibleNodes')];
    assert.equal(noNodesSince(parseImagePreload(forged({ status: { conditions } }))), Date.parse(SINCE));
  });
});
