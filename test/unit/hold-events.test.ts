import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RecordedDecision, writeDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { withMarks } from '../../src/api/hold.ts';
import { DECIDED_ANNOTATION, MODE_LABEL } from '../../src/api/names.ts';
import { NEEDS_LIMITS } from '../../src/api/preload-needs.ts';
import {
  decisionEvents,
  preloadCreatedEvents,
  refusedEvent,
  stepEvents,
} from '../../src/deployments/hold-events.ts';
import type { NeededPreload, ReleaseReason } from '../../src/deployments/next-step.ts';
import { type Assessment, assess } from '../../src/preloads/assess/assess.ts';
import { type DeploymentBuilder, UID } from '../support/unit/deployment-builder.ts';
import { held, holdOf, SINCE, updated } from '../support/unit/held-deployment.ts';
import { IMAGE, nodes, puller, REFUSED, situation } from '../support/unit/preload-builder.ts';

const now = Date.parse(SINCE) + 30_000;
const decided = (decision: RecordedDecision, at = SINCE) => ({
  uid: UID,
  template: holdOf().template,
  decision,
  by: 'jane',
  at,
  reason: 'registry.test/app:2',
});
const marked = (decision: RecordedDecision, at?: string) =>
  updated.annotate(DECIDED_ANNOTATION, writeDecisionRecord(decided(decision, at)));
const decisionsOf = (decision: RecordedDecision, at?: string) =>
  decisionEvents(
    parseDeployment(withMarks(marked(decision, at).object, { hold: holdOf() })),
    'pause',
    undefined,
    now,
  );
const eventOf = (decision: RecordedDecision, at?: string) => decisionsOf(decision, at)[0];

for (const [decision, reason, type] of [
  ['Held', 'RolloutHeld', 'Normal'],
  ['Superseded', 'HoldSuperseded', 'Normal'],
  ['Reverted', 'HoldReverted', 'Normal'],
  ['Bypassed', 'HoldBypassed', 'Warning'],
  ['OptedOut', 'GateOptedOut', 'Warning'],
  ['Preloaded', 'RolloutReleased', 'Normal'],
] as const) {
  test(`the decision ${decision} is told as ${reason}, with who made it`, () => {
    const [event, ...others] = decisionsOf(decision);
    assert.deepEqual(others, []);
    assert.deepEqual([event?.reason, event?.type], [reason, type]);
    assert.match(event?.note ?? '', /jane/);
    assert.deepEqual([event?.regarding.kind, event?.regarding.uid], ['Deployment', UID]);
    assert.equal(event?.related?.name, holdOf().preload);
  });
}

test('that nothing was needed is no event, nor is a Deployment without a decision', () => {
  assert.equal(eventOf('NotNeeded'), undefined);
  assert.deepEqual(decisionEvents(parseDeployment(updated.object), 'pause', undefined, now), []);
});

test('the same decision is the same Event, a later one another', () => {
  assert.equal(eventOf('Held')?.dedupKey, eventOf('Held')?.dedupKey);
  assert.notEqual(eventOf('Held')?.dedupKey, eventOf('Held', '2026-01-01T00:00:01.000Z')?.dedupKey);
});

test('a decision of more than an hour ago was told, and one without a time is not believed', () => {
  assert.equal(eventOf('Held', '2025-12-31T22:00:00Z'), undefined);
  assert.equal(eventOf('Held', 'long ago'), undefined);
});

test('one from a clock that is hours ahead is not believed: its Event would be written again and again', () => {
  assert.equal(eventOf('Held', '2026-01-01T03:00:00Z'), undefined);
  assert.equal(eventOf('Held', '2026-01-01T00:00:40Z')?.reason, 'RolloutHeld');
});

const eventsOf = (builder: DeploymentBuilder) =>
  decisionEvents(parseDeployment(builder.object), 'pause', undefined, now);
const forged = decided('Bypassed');

test('a record that was made for another Deployment, or came with its creation, names nobody', () => {
  const copied = updated.annotate(DECIDED_ANNOTATION, writeDecisionRecord({ ...forged, uid: 'another' }));
  assert.deepEqual(eventsOf(copied), []);
});

test('one of version 0.1, which named no Deployment, is no Event', () => {
  const { uid: _, ...old } = forged;
  assert.deepEqual(eventsOf(updated.annotate(DECIDED_ANNOTATION, JSON.stringify(old))), []);
});

test('while a Deployment is opted out, only its opting out is told', () => {
  const off = updated.label(MODE_LABEL, 'off');
  const all = ['Held', 'Superseded', 'Reverted', 'Bypassed', 'NotNeeded', 'Preloaded', 'Audited'] as const;
  for (const decision of all)
    assert.deepEqual(
      eventsOf(off.annotate(DECIDED_ANNOTATION, writeDecisionRecord(decided(decision)))),
      [],
      decision,
    );
  const [event] = eventsOf(off.annotate(DECIDED_ANNOTATION, writeDecisionRecord(decided('OptedOut'))));
  assert.equal(event?.reason, 'GateOptedOut');
});

test('names and reasons of any length are cut', () => {
  const record = writeDecisionRecord({ ...forged, by: 'j'.repeat(9999), reason: 'r'.repeat(9999) });
  const [event] = eventsOf(updated.annotate(DECIDED_ANNOTATION, record));
  assert.ok((event?.note.length ?? 0) < 1000, `${event?.note.length}`);
});

const release = (reason: ReleaseReason, paused = false, assessment?: Assessment) =>
  stepEvents(held(), { step: 'release', reason, hold: holdOf(), paused }, assessment, now);

for (const [reason, want] of [
  ['Ready', ['Normal RolloutReleased']],
  ['Reverted', ['Normal RolloutReleased']],
  ['OptedOut', ['Warning RolloutReleased']],
  ['DeadlineExceeded', ['Warning HoldDeadlineExceeded', 'Warning RolloutReleased']],
  ['NoEligibleNodes', ['Warning NoEligibleNodes', 'Warning RolloutReleased']],
] as const) {
  test(`a release for ${reason} is told as ${want.join(' and ')}`, () => {
    assert.deepEqual(
      release(reason).map((event) => `${event.type} ${event.reason}`),
      want,
    );
  });
}

test('a limit that is exceeded only where every image is always pulled is named', () => {
  const names = Array.from({ length: NEEDS_LIMITS.images }, (_, n) => `c${n}`);
  const many = names.reduce((builder, name) => builder.image(`registry.test/${name}:1`, name), updated);
  const images = Object.fromEntries(names.map((name) => [name, `registry.test/${name}:1`]));
  const from = { template: 'running', images: { ...images, app: 'registry.test/app:1' } };
  const step = {
    step: 'release',
    reason: 'LimitExceeded',
    hold: holdOf(many, { from }),
    paused: false,
  } as const;
  const [event] = stepEvents(held(many), step, undefined, now, { alwaysPullImages: true });
  assert.match(event?.note ?? '', /^continues without a preload: images has \d+ entries, more than \d+; /);
});

test('a release says how long the hold was, and that a pause stays', () => {
  assert.equal(release('Ready')[0]?.note, 'released after 30 s (Ready)');
  assert.match(
    release('Ready', true)[0]?.note ?? '',
    /stays paused.*: kubectl -n shop rollout resume deployment\/web$/,
  );
});

const pods = [puller('n1').pulled(5), puller('n2').attempt(2, 3500).failing(REFUSED)];
const late = assess(situation({ nodes: nodes(2), pods, now: 4000 }));
const BACK = 'go back: kubectl -n shop set image deployment/web app=registry.test/app:1';
const LET_THROUGH =
  'release it now: kubectl -n shop annotate deployment web pullgate.io/bypass="urgent $(date)" --overwrite';
const PRELOAD = holdOf().preload;

test('a hold is told with what can be done about it', () => {
  const see = `see kubectl -n shop get ipl ${PRELOAD}`;
  assert.equal(
    eventOf('Held')?.note,
    `held until the nodes have registry.test/app:2; requested by jane; ${LET_THROUGH}; ${BACK}; ${see}`,
  );
});

test('a release at the deadline says how many nodes are ready, which is not and why, and how to go back', () => {
  const [event] = release('DeadlineExceeded', false, late);
  assert.equal(
    event?.note,
    `the deadline has passed and 1 of 2 nodes have registry.test/app:2; n2: ${IMAGE}: ${REFUSED} (ConnectionRefused); the ` +
      `rollout starts, and the remaining nodes pull when their pods start; ${BACK}; see kubectl -n shop describe ipl ${PRELOAD}`,
  );
  const slow = assess(
    situation({ nodes: nodes(2), pods: [puller('n1').pulled(5), puller('n2').pulling()], now: 9 }),
  );
  assert.match(release('DeadlineExceeded', false, slow)[0]?.note ?? '', /; n2 is still pulling; the rollout/);
});

test('a release without nodes says how many are left out, why, and one of them', () => {
  const excluded = [{ reason: 'Cordoned', count: 2, node: 'n1' }] as const;
  const [event] = release('NoEligibleNodes', false, assess(situation({ nodes: [], excluded, now: 200 })));
  assert.equal(
    event?.note,
    'no node is eligible to be preloaded with registry.test/app:2; excluded: 2 Cordoned (such as n1); the ' +
      `rollout starts; see kubectl get nodes; see kubectl -n shop describe ipl ${PRELOAD}`,
  );
});

test('an ImagePreload that is refused is told with the words, the image and both ways out', () => {
  const words = 'ImagePreload web-1 was refused: exceeded quota: none';
  const event = refusedEvent(held(), 'web-1', words);
  assert.deepEqual([event.type, event.reason], ['Warning', 'PreloadFailed']);
  assert.equal(
    event.note,
    `${words}; no node is preloaded with registry.test/app:2, the running version is unchanged; ${LET_THROUGH}; ${BACK}`,
  );
});

test('that a hold was dropped is told; only a resumed one is a warning', () => {
  for (const [reason, type] of [
    ['Foreign', 'Normal'],
    ['Unreadable', 'Normal'],
    ['Resumed', 'Warning'],
  ] as const) {
    const [event] = stepEvents(held(), { step: 'drop', reason, paused: false }, undefined, now);
    const told = reason === 'Resumed' ? 'UngatedRollout' : 'RolloutReleased';
    assert.deepEqual([event?.reason, event?.type], [told, type]);
  }
});

const needed = (why: NeededPreload['why']): NeededPreload => ({ name: 'web-1', from: holdOf().from, why });

test('a preload made for a rollout that the gate was not asked about is a warning, any other is no fact', () => {
  const [event, ...others] = preloadCreatedEvents(held(), needed('Ungated'));
  assert.deepEqual(others, []);
  assert.deepEqual([event?.reason, event?.type], ['UngatedRollout', 'Warning']);
  assert.deepEqual([event?.regarding.uid, event?.related?.name], [UID, 'web-1']);
  assert.match(
    event?.note ?? '',
    /started while the Pullgate webhook was unavailable.* see kubectl -n shop get ipl web-1$/,
  );
  assert.equal(event?.dedupKey, preloadCreatedEvents(held(), needed('Ungated'))[0]?.dedupKey);
  for (const why of ['Hold', 'Audit'] as const)
    assert.deepEqual(preloadCreatedEvents(held(), needed(why)), []);
});

test('in mode reject a hold from before is told to be carried through, once, beside its decision', () => {
  const decidedAndHeld = parseDeployment(withMarks(marked('Held').object, { hold: holdOf() }));
  const facts = decisionEvents(decidedAndHeld, 'reject', undefined, now);
  assert.deepEqual(
    facts.map(({ reason, action }) => `${reason} ${action}`),
    ['RolloutHeld TakeOver', 'RolloutHeld Admit'],
  );
  assert.equal(facts[0]?.related?.name, holdOf().preload);
  const later = decisionEvents(decidedAndHeld, 'reject', undefined, now + 7200_000);
  assert.deepEqual([later.length, later[0]?.dedupKey], [1, facts[0]?.dedupKey]);
  const foreign = parseDeployment(withMarks(updated.object, { hold: holdOf(updated, { uid: 'another' }) }));
  assert.deepEqual(decisionEvents(foreign, 'reject', undefined, now), []);
});

const audited = (assessment: Assessment | undefined, status: object = {}) =>
  decisionEvents(parseDeployment({ ...marked('Audited').object, status }), 'audit', assessment, now);
const counted = assess(situation({ nodes: nodes(3), pods: [puller('n1').pulled(5)] }));

test('an audited rollout is told with how many nodes lack the image, as soon as that is known', () => {
  assert.deepEqual(audited(undefined), []);
  const [event] = audited(counted);
  assert.deepEqual([event?.reason, event?.type, event?.related], ['RolloutAudited', 'Normal', undefined]);
  assert.equal(
    event?.note,
    'would have been held for registry.test/app:2: 2 of 3 nodes lack the image; requested by jane',
  );
});

test('one that has finished before that is told without a number, and is the same fact', () => {
  const done = { observedGeneration: 3, replicas: 2, updatedReplicas: 2, availableReplicas: 2 };
  const [event] = audited(undefined, done);
  assert.equal(event?.note, 'would have been held for registry.test/app:2; requested by jane');
  assert.equal(event?.dedupKey, audited(counted)[0]?.dedupKey);
});

test('the other steps are no facts', () => {
  assert.deepEqual(stepEvents(held(), { step: 'recover' }, undefined, now), []);
  assert.deepEqual(stepEvents(held(), { step: 'preload', preload: needed('Ungated') }, undefined, now), []);
});
