import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RecordedDecision, writeDecided } from '../../src/hold/decided.ts';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { withMarks } from '../../src/hold/held-object.ts';
import { DECIDED_ANNOTATION } from '../../src/names.ts';
import { decisionFact, stepFacts } from '../../src/release/hold-facts.ts';
import type { ReleaseReason } from '../../src/release/next-step.ts';
import { UID } from './deployment-builder.ts';
import { held, holdOf, SINCE, updated } from './held-deployment.ts';

const now = Date.parse(SINCE) + 30_000;
const decided = (decision: RecordedDecision, at = SINCE) => ({
  template: holdOf().template,
  decision,
  by: 'jane',
  at,
  reason: 'registry.test/app:2',
});
const fact = (decision: RecordedDecision, at?: string) => {
  const marked = updated.annotate(DECIDED_ANNOTATION, writeDecided(decided(decision, at)));
  return decisionFact(parseDeployment(withMarks(marked.object, { hold: holdOf() })), now);
};

for (const [decision, reason, type] of [
  ['Held', 'RolloutHeld', 'Normal'],
  ['Superseded', 'HoldSuperseded', 'Normal'],
  ['Reverted', 'HoldReverted', 'Normal'],
  ['Bypassed', 'HoldBypassed', 'Warning'],
  ['OptedOut', 'GateOptedOut', 'Warning'],
] as const) {
  test(`the decision ${decision} is told as ${reason}, with who made it`, () => {
    const event = fact(decision);
    assert.deepEqual([event?.reason, event?.type], [reason, type]);
    assert.match(event?.note ?? '', /jane/);
    assert.deepEqual([event?.regarding.kind, event?.regarding.uid], ['Deployment', UID]);
    assert.equal(event?.related?.name, holdOf().preload);
  });
}

test('that nothing was needed is no event, nor is a Deployment without a decision', () => {
  assert.equal(fact('NotNeeded'), undefined);
  assert.equal(decisionFact(parseDeployment(updated.object), now), undefined);
});

test('the same decision is the same fact, a later one another', () => {
  assert.equal(fact('Held')?.fact, fact('Held')?.fact);
  assert.notEqual(fact('Held')?.fact, fact('Held', '2026-01-01T00:00:01.000Z')?.fact);
});

test('a decision of more than an hour ago was told, and one without a time is not believed', () => {
  assert.equal(fact('Held', '2025-12-31T22:00:00Z'), undefined);
  assert.equal(fact('Held', 'long ago'), undefined);
});

const release = (reason: ReleaseReason, paused = false) =>
  stepFacts(held(), { step: 'release', reason, hold: holdOf(), paused }, now);

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

test('a release says how long the hold was, and that a pause stays', () => {
  assert.equal(release('Ready')[0]?.note, 'released after 30 s (Ready)');
  assert.match(release('Ready', true)[0]?.note ?? '', /stays paused.*kubectl rollout resume/);
});

test('that a hold was dropped is told; only a resumed one is a warning', () => {
  for (const [reason, type] of [
    ['Foreign', 'Normal'],
    ['Unreadable', 'Normal'],
    ['Resumed', 'Warning'],
  ] as const) {
    const [event] = stepFacts(held(), { step: 'drop', reason, paused: false }, now);
    assert.deepEqual([event?.reason, event?.type], ['UngatedRollout', type]);
  }
});

test('the other steps are no facts', () => {
  assert.deepEqual(stepFacts(held(), { step: 'recover' }, now), []);
  assert.deepEqual(stepFacts(held(), { step: 'preload', hold: holdOf() }, now), []);
});
