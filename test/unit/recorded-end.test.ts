import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownDecisionRecord, writeDecisionRecord } from '../../src/api/decision-record.ts';
import { DECIDED_ANNOTATION, MODE_LABEL } from '../../src/api/names.ts';
import { UID } from '../support/unit/deployment-builder.ts';
import { gateWorld, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, holdOf, SINCE, updated } from '../support/unit/held-deployment.ts';

const record = writeDecisionRecord({
  uid: UID,
  template: holdOf().template,
  decision: 'Held',
  by: 'jane',
  at: SINCE,
  reason: 'registry.test/app:2',
});
const HELD = heldObject(updated.annotate(DECIDED_ANNOTATION, record));

const released = ({ events }: World) => [
  ...new Map(
    events
      .filter(({ reason }) => reason === 'RolloutReleased')
      .map(({ reason, dedupKey, note }) => [`${reason} ${dedupKey}`, note]),
  ),
];

/** The hold is released after 30 s. */
async function releasing(): Promise<World> {
  const world = gateWorld({ nodes: 1 });
  world.start();
  world.hold(HELD);
  await world.pass(30_000);
  world.pulled('n1');
  await world.pass(100);
  assert.equal(world.web().paused, false);
  return world;
}

async function nextLeader(world: World, laterMs = 0): Promise<World> {
  const next = gateWorld({ stored: world.api.objects, startMs: world.clock.now() + laterMs });
  next.start();
  await next.pass(1000);
  return next;
}

test('the patch that ends a hold records how, and that this was said is the same fact for the next leader', async () => {
  const world = await releasing();
  const { decision, by, ended } = ownDecisionRecord(world.web()) ?? {};
  assert.deepEqual([decision, by, ended?.reason], ['Held', 'jane', 'Ready']);
  assert.equal(world.api.called('jsonPatch', WEB).length, 1);
  const [[fact = '', note = ''] = []] = released(world);
  assert.match(note, /^released after 30 s \(Ready\)/);
  // As an Event of that name exists already, nothing comes of it.
  const next = await nextLeader(world);
  assert.deepEqual(released(next), [[fact, 'released after 30 s (Ready)']]);
});

test('what is over for longer than Events live is not told', async () => {
  const next = await nextLeader(await releasing(), 3_700_000);
  assert.deepEqual(released(next), []);
});

test('nor what somebody may have written while the Deployment was opted out', async () => {
  const world = await releasing();
  world.api.update(WEB, (object) => ({
    ...object,
    metadata: { ...Object(object['metadata']), labels: { [MODE_LABEL]: 'off' } },
  }));
  assert.deepEqual(released(await nextLeader(world)), []);
});
