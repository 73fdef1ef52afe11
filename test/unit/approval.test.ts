import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseHold, withMarks, writeHold } from '../../src/api/hold.ts';
import {
  API_GROUP_PATH,
  APPROVAL_LABEL,
  APPROVED_ANNOTATION,
  NOT_BEFORE_ANNOTATION,
} from '../../src/api/names.ts';
import { gateWorld, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, holdOf, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

const PRELOADS = `${API_GROUP_PATH}/namespaces/shop/imagepreloads`;
const DIGEST = parseDeployment(updated.object).templateDigest;
const REQUIRED = { [APPROVAL_LABEL]: 'required' };
const required = updated.label(APPROVAL_LABEL, 'required');

/** Both nodes have the image. */
async function ready(object = heldObject(required), world: World = gateWorld()): Promise<World> {
  world.start();
  world.hold(object);
  await world.pass(1000);
  for (const node of ['n1', 'n2']) world.pulled(node);
  await world.pass(3000);
  return world;
}

/** As admission stores an approval. */
function approve(world: World, after = 0): void {
  const at = new Date(world.clock.now() - after).toISOString();
  const stored = parseHold(world.web().annotations['pullgate.io/hold']);
  assert.ok(stored);
  world.api.update(WEB, (object) =>
    withMarks(object, {
      hold: { ...stored, approved: { template: DIGEST, by: 'a-lead', at } },
      annotations: { [APPROVED_ANNOTATION]: DIGEST },
    }),
  );
}

const reasons = ({ events }: World) => events.map(({ reason }) => reason);
const eventsOf = ({ events }: World, reason: string) => events.filter((event) => event.reason === reason);
const phase = (world: World) => world.preload().status?.phase;

describe('a hold whose images are ready, where approvals are required', () => {
  test('stays, with a phase, one Event with the command, and no deadline', async () => {
    const world = await ready();
    assert.equal(world.web().paused, true);
    assert.equal(phase(world), 'WaitingForApproval');
    await world.pass(8 * 24 * 3600_000);
    assert.equal(world.web().paused, true);
    const notes = new Set(
      eventsOf(world, 'WaitingForApproval').map(({ note, dedupKey }) => `${dedupKey}: ${note}`),
    );
    assert.equal(notes.size, 1);
    assert.match(
      [...notes].join(),
      new RegExp(
        `: 2 of 2 nodes have registry.test/app:2; the rollout waits for an approval; approve: kubectl -n shop annotate deployment web pullgate.io/approved=${DIGEST} --overwrite$`,
      ),
    );
    assert.ok(!reasons(world).includes('HoldDeadlineExceeded'));
    assert.equal(
      parseDeployment(world.api.objects.get(WEB)).status.progressing,
      undefined,
      'rollout status waits',
    );
  });

  test('is released once admission has recorded the approval, and nothing of it is left', async () => {
    const world = await ready();
    approve(world);
    await world.pass(2000);
    const { paused, annotations } = world.web();
    assert.equal(paused, false);
    assert.equal(annotations[APPROVED_ANNOTATION], undefined);
    assert.deepEqual(eventsOf(world, 'RolloutApproved').map(({ note }) => note)[0], 'approved by a-lead');
    assert.match(eventsOf(world, 'RolloutReleased')[0]?.note ?? '', /\(Ready\), approved by a-lead$/);
  });

  test('by the label of the namespace as well, and no longer when that is removed', async () => {
    const world = gateWorld();
    world.optIn('pause', 'shop', REQUIRED);
    await ready(heldObject(), world);
    assert.equal(phase(world), 'WaitingForApproval');
    world.optIn('pause', 'shop');
    await world.pass(2000);
    assert.equal(world.web().paused, false);
  });

  test('goes before scaling to zero and before an outage', async () => {
    for (const spec of [{ replicas: 0 }, {}]) {
      const world = await ready(heldObject(required.spec(spec)));
      assert.equal(world.web().paused, true);
    }
  });

  test('counts as a hold that waits for an approval, and its age as nothing to be alarmed about', async () => {
    const world = await ready();
    await world.pass(3600_000);
    const { images, approval } = world.deploymentController.holds();
    assert.equal(images.open, 0);
    assert.equal(images.oldestSeconds, 0);
    assert.equal(approval.open, 1);
    assert.ok(approval.oldestSeconds > 3600);
  });

  test('approved before its images are there: released when they are', async () => {
    const world = gateWorld();
    world.start();
    world.hold(heldObject(required));
    await world.pass(1000);
    approve(world);
    await world.pass(1000);
    assert.equal(world.web().paused, true);
    for (const node of ['n1', 'n2']) world.pulled(node);
    await world.pass(3000);
    assert.equal(world.web().paused, false);
  });

  test('approved long after the pulls: the nodes are asked again, and the deadline counts from the approval', async () => {
    const world = await ready();
    await world.pass(5 * 3600_000);
    approve(world);
    await world.pass(3000);
    assert.equal(world.web().paused, true, 'the images are looked at again');
    assert.deepEqual(world.pods(), ['web n1 1', 'web n2 1']);
    await world.pass(60_000);
    assert.equal(world.web().paused, true);
    for (const node of ['n1', 'n2']) world.pulled(node);
    await world.pass(3000);
    assert.equal(world.web().paused, false);
    assert.ok(!reasons(world).includes('HoldDeadlineExceeded'));
  });

  test('a failure is reported as without approvals, and no approval is asked for', async () => {
    const world = gateWorld();
    world.start();
    world.hold(heldObject(required));
    await world.pass(1000);
    await world.refusing('not found: manifest unknown', 'n1', 'n2');
    await world.pass(3000);
    assert.ok(reasons(world).includes('PreloadFailed'));
    assert.ok(!reasons(world).includes('WaitingForApproval'));
  });

  test('the status says Ready where the CRD does not know the phase', async () => {
    const world = gateWorld();
    world.start();
    world.hold(heldObject(required));
    await world.pass(1000);
    const path = `${PRELOADS}/${world.preload().name}/status`;
    for (const node of ['n1', 'n2']) world.pulled(node);
    world.api.refuse('jsonPatch', path, refusal(422, 'Invalid'));
    await world.pass(3000);
    assert.equal(phase(world), 'Ready');
    assert.equal(world.web().paused, true);
  });
});

describe('a hold with a time', () => {
  const at = (time: string) => heldObject(updated.annotate(NOT_BEFORE_ANNOTATION, time));

  test('is released at that time, not before', async () => {
    const world = await ready(at('2026-01-01T03:00:00Z'));
    assert.equal(phase(world), 'WaitingForTime');
    assert.match(
      eventsOf(world, 'WaitingForTime')[0]?.note ?? '',
      /^2 of 2 nodes have registry.test\/app:2; the rollout waits until 2026-01-01T03:00:00.000Z \(pullgate.io\/not-before\)$/,
    );
    await world.pass(Date.UTC(2026, 0, 1, 3) - world.clock.now() - 1000);
    assert.equal(world.web().paused, true);
    await world.pass(3000);
    // The pulls are three hours old.
    for (const node of ['n1', 'n2']) world.pulled(node);
    await world.pass(3000);
    assert.equal(world.web().paused, false);
  });

  test('in the past waits for nothing', async () => {
    const world = await ready(at('2025-12-31T23:59:59Z'));
    assert.equal(world.web().paused, false);
  });

  test('that cannot be read waits until it is corrected, and says so', async () => {
    const world = await ready(at('tomorrow at 10'));
    assert.equal(world.web().paused, true);
    assert.equal(phase(world), 'WaitingForTime');
    assert.match(
      eventsOf(world, 'InvalidSetting')[0]?.note ?? '',
      /^pullgate.io\/not-before is "tomorrow at 10"; it must be a time with a time zone, .*; a held rollout waits until it is corrected or removed$/,
    );
    world.api.update(WEB, (object) => withMarks(object, { annotations: { [NOT_BEFORE_ANNOTATION]: null } }));
    await world.pass(2000);
    assert.equal(world.web().paused, false);
  });
});

test('a hold with an approval is written and read the same; an approval that is none is left out', () => {
  const hold = holdOf(updated, {
    approved: { template: DIGEST, by: 'a-lead', at: '2026-01-01T00:00:00.000Z' },
  });
  assert.deepEqual(parseHold(writeHold(hold)), hold);
  for (const approved of [
    {},
    { by: 'x' },
    { by: '', at: '2026-01-01T00:00:00Z' },
    { by: 'x', at: 'then' },
    true,
  ])
    assert.equal(parseHold(JSON.stringify({ ...hold, approved }))?.approved, undefined);
  assert.deepEqual(parseHold(writeHold(holdOf())), holdOf());
});
