import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEADLINE_ANNOTATION } from '../../src/api/names.ts';
import { GateError } from '../../src/errors.ts';
import { gateWorld, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

const FREEZE = 'admission webhook "freeze.policy.test" denied the request: no changes until Monday';
const DOWN = 'Internal error occurred: failed calling webhook "freeze.policy.test": connection refused';
const FOR_EVER = 100_000;

/** Every node has the image, and the API server answers the update that ends the hold like this. */
async function ready(error: Error, times = FOR_EVER): Promise<World> {
  const world = gateWorld({ nodes: 1 });
  world.api.refuse('jsonPatch', WEB, error, times);
  world.start();
  world.hold();
  await world.pass(100);
  world.pulled('n1');
  return world;
}

/** Notes of different facts. */
const told = ({ events }: World) => [
  ...new Map(
    events
      .filter(({ reason }) => reason === 'ReleaseFailed')
      .map(({ type, dedupKey, note }) => [dedupKey, `${type} ${note}`]),
  ).values(),
];

for (const [what, error, words] of [
  ['a policy that refuses it', refusal(403, 'Forbidden', FREEZE), FREEZE],
  ['a policy that calls it invalid', refusal(422, 'Invalid', FREEZE), FREEZE],
  ['a webhook that is down', refusal(500, 'InternalError', DOWN), DOWN],
  ['a webhook that hangs', new GateError('PG_API_TIMEOUT', {}, refusal(500, 'InternalError', DOWN)), DOWN],
] as const) {
  test(`a release that does not come through is told within 15 s, once, and is retried: ${what}`, async () => {
    const world = await ready(error);
    await world.pass(15_000);
    assert.equal(world.web().paused, true);
    const [note = '', ...others] = told(world);
    assert.deepEqual(others, []);
    assert.match(note, /^Warning the hold should end \(Ready\), but the API server refused the update: /);
    assert.ok(note.includes(words), note);
    assert.match(note, /; release it now: kubectl -n shop annotate deployment web pullgate\.io\/bypass=/);
  });
}

test('one that comes through later is told as any other release', async () => {
  const world = await ready(refusal(403, 'Forbidden', FREEZE), 3);
  await world.pass(15_000);
  assert.equal(world.web().paused, false);
  assert.equal(told(world).length, 1);
  assert.equal(world.ended.holds.length, 1);
});

test('a Deployment that has changed, and a webhook that is down for a moment, are not told', async () => {
  for (const error of [
    refusal(409, 'Conflict'),
    refusal(422, 'Invalid', 'the server rejected our request due to an error in our request'),
    refusal(500, 'InternalError', DOWN),
  ]) {
    const world = await ready(error, 2);
    await world.pass(15_000);
    assert.equal(world.web().paused, false);
    assert.deepEqual(told(world), []);
  }
});

test('a condition from before that cannot be reset keeps a hold from ending, and that is told as well', async () => {
  const world = gateWorld({ nodes: 1 });
  const before = {
    type: 'Progressing',
    status: 'False',
    reason: 'ProgressDeadlineExceeded',
    message: 'late',
  };
  const conditions = [{ ...before, lastUpdateTime: '2025-12-31T00:00:00Z' }];
  world.api.refuse('strategicPatch', WEB, refusal(403, 'Forbidden', FREEZE), 4);
  world.start();
  world.hold({ ...heldObject(), status: { readyReplicas: 2, conditions } });
  await world.pass(100);
  await world.pass(15_000);
  const [note = '', ...others] = told(world);
  assert.deepEqual(others, []);
  assert.match(note, /^Warning the condition Progressing has to be reset before the hold ends, but .*Monday/);
  await world.pass(30_000);
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, false);
});

test('a preload that does not match any more and may not be deleted is told', async () => {
  const world = gateWorld({ nodes: 1 });
  world.start();
  world.hold();
  await world.pass(100);
  world.api.refuse('delete', '/imagepreloads', refusal(403, 'Forbidden', FREEZE), 2);
  world.hold(heldObject(updated.annotate(DEADLINE_ANNOTATION, '7200')));
  await world.pass(1000);
  const failed = world.events.find(({ reason }) => reason === 'PreloadFailed');
  assert.match(
    failed?.note ?? '',
    /^ImagePreload web-\w+ does not match any more, and its deletion was refused: /,
  );
  await world.pass(15_000);
  assert.equal(world.preload().spec.deadlineSeconds, 7200);
});
