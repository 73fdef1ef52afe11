import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseDecisionRecord,
  type RecordedDecision,
  writeDecisionRecord,
} from '../../src/api/decision-record.ts';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import {
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MODE_LABEL,
  MODES,
  type Mode,
} from '../../src/api/names.ts';
import { preloadName } from '../../src/api/preload-name.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import {
  failStep,
  type NextStep,
  type NextStepInput,
  nextStep,
  preloadFor,
} from '../../src/deployments/next-step.ts';
import { progressCondition } from '../../src/deployments/release-patch.ts';
import { asObject } from '../../src/json.ts';
import { type Assessment, assess } from '../../src/preloads/assess/assess.ts';
import { type DeploymentBuilder, deployment, UID } from '../support/unit/deployment-builder.ts';
import { held, heldObject, holdOf, SINCE, updated } from '../support/unit/held-deployment.ts';
import {
  NOT_FOUND,
  nodes,
  preload,
  puller,
  REFUSED,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';

const look = (given: Situation) => assess(situation(given));
const ready = look({ nodes: nodes(1), pods: [puller('n1').pulled(5)] });
const pulling = look({ nodes: nodes(2), pods: [puller('n1').pulled(5)] });
const failed = look({ nodes: nodes(1), pods: [puller('n1').attempt(2, 5).failing(NOT_FOUND)] });
const pullingNone = look({ nodes: nodes(2) });
const transient = look({ nodes: nodes(1), pods: [puller('n1').failing(REFUSED)] });
const noNodesYet = look({ nodes: [], now: 60, noNodesSince: 0 });
const noNodes = look({ nodes: [], now: 120, noNodesSince: 0 });
const patient = preload({ nodeTimeoutSeconds: 86_400 });
const overdue = look({
  preload: patient,
  nodes: nodes(2),
  pods: [puller('n1').pulled(5), puller('n2').pulling()],
  now: 4000,
});
const overdueWithNone = look({ preload: patient, nodes: nodes(2), now: 4000 });

/** Its condition Progressing, as it would be stored after this step. */
function after(step: NextStep & { step: 'fail' | 'recover' }, object = heldObject()): Deployment {
  const failure = step.step === 'fail' ? step.message : undefined;
  const { status } = progressCondition(parseDeployment(object), failure, 0) as { status: object };
  return parseDeployment({ ...object, status });
}
const words = (assessment: Assessment): string => {
  const step = nextStep({ deployment: held(), mode: 'pause', assessment });
  return step.step === 'fail' ? step.message : assert.fail(`${step.step}, not fail`);
};
const told = (assessment: Assessment, object = heldObject()) =>
  after({ step: 'fail', message: words(assessment) }, object);

/** Held, with a condition that makes a waiting rollout status fail since then. */
function timedOut(lastUpdateTime: string, message = 'ReplicaSet "web-1" has timed out progressing.') {
  const condition = { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message };
  return parseDeployment({
    ...heldObject(),
    status: { conditions: [{ ...condition, lastUpdateTime }] },
  });
}

/** Held, with the status of a Deployment none of whose pods is ready. */
const nothingServes = (object = heldObject()) =>
  parseDeployment({ ...object, status: { observedGeneration: 3, replicas: 2, updatedReplicas: 2 } });
const toZero = (object = heldObject()) =>
  parseDeployment({ ...object, spec: { ...asObject(object['spec']), replicas: 0 } });
const failedToo = (assessment: Assessment) => told(assessment).status;

const plain = parseDeployment(updated.object);
const at = (deployment: Deployment, assessment?: Assessment, mode: Mode | undefined = 'pause') => ({
  deployment,
  mode,
  assessment,
});

const table: readonly (readonly [string, NextStepInput, object])[] = [
  ['without a hold there is nothing to do', at(plain), { step: 'nothing' }],
  [
    'a Deployment that is being deleted is left alone',
    at(held(updated.metadata({ deletionTimestamp: '2026-01-01T00:00:00Z' }))),
    { step: 'nothing' },
  ],
  [
    'a hold that is no JSON is dropped, with its pause',
    at(parseDeployment(updated.annotate(HOLD_ANNOTATION, '{').spec({ paused: true }).object)),
    { step: 'drop', reason: 'Unreadable', paused: false },
  ],
  [
    "another Deployment's hold is dropped, with its pause",
    at(held(updated, { uid: 'another' })),
    { step: 'drop', reason: 'Foreign', paused: false },
  ],
  [
    'a hold without its pause is dropped: someone resumed it',
    at(parseDeployment({ ...heldObject(), spec: updated.object['spec'] })),
    { step: 'drop', reason: 'Resumed', paused: false },
  ],
  [
    'a label without a hold is dropped, and keeps nothing paused',
    at(parseDeployment(updated.label(HELD_LABEL, 'true').spec({ paused: true }).object)),
    { step: 'drop', reason: 'Unreadable', paused: false },
  ],
  [
    'where the label is gone from the namespace it is released',
    { deployment: held(), mode: undefined, assessment: undefined },
    { step: 'release', reason: 'OptedOut', paused: false },
  ],
  [
    'where another mode was chosen it is released',
    at(held(), undefined, 'audit'),
    { step: 'release', reason: 'OptedOut' },
  ],
  [
    'a Deployment that opted out is released',
    at(held(updated.label(MODE_LABEL, 'off'))),
    { step: 'release', reason: 'OptedOut' },
  ],
  [
    'a template that needs nothing any more is released, with or without a preload',
    at(held(deployment().restartedAt('2026-01-01T00:00:00Z'))),
    { step: 'release', reason: 'Reverted', paused: false },
  ],
  [
    'without a preload one is made, of the name that admission gave it',
    at(held()),
    { step: 'preload', preload: { name: holdOf().preload, from: holdOf().from, why: 'Hold' } },
  ],
  ['in mode reject, a hold from before is carried through', at(held(), ready, 'reject'), { step: 'release' }],
  ['while it preloads there is nothing to do', at(held(), pulling), { step: 'nothing' }],
  ['a failure that may pass is no reason to fail', at(held(), transient), { step: 'nothing' }],
  ['when it is ready it is released', at(held(), ready), { step: 'release', reason: 'Ready', paused: false }],
  [
    'a pause that its owner wants stays',
    at(held(updated, { userPaused: true }), ready),
    { step: 'release', reason: 'Ready', paused: true },
  ],
  [
    'a pause that was asked for during the hold stays',
    at(held(updated.annotate(KEEP_PAUSED_ANNOTATION, 'true')), ready),
    { step: 'release', reason: 'Ready', paused: true },
  ],
  [
    'after the deadline it is released if a node is ready',
    at(held(), overdue),
    { step: 'release', reason: 'DeadlineExceeded' },
  ],
  ['after the deadline it stays held if none is', at(held(), overdueWithNone), { step: 'fail' }],
  [
    'while nothing serves, one ready node is enough',
    at(nothingServes(), pulling),
    { step: 'release', reason: 'NothingServes', paused: false },
  ],
  [
    'while nothing serves, the first ready node is waited for',
    at(nothingServes(), pullingNone),
    { step: 'nothing' },
  ],
  ['a refusal is no release, even if nothing serves', at(nothingServes(), failed), { step: 'fail' }],
  [
    'scaled to zero while held it is released, so that the next scale-up starts the new version',
    at(toZero(), pullingNone),
    { step: 'release', reason: 'ScaledToZero', paused: false },
  ],
  ['a refusal keeps the hold of a Deployment at zero', at(toZero(), failed), { step: 'fail' }],
  ['so does the deadline with no node ready', at(toZero(), overdueWithNone), { step: 'fail' }],
  ['at zero, too, the preload is looked at first', at(toZero()), { step: 'preload' }],
  [
    'a failure that has passed is taken back before a release at zero',
    at({ ...toZero(), templateHash: toZero().templateHash, status: failedToo(failed) }, pullingNone),
    { step: 'recover' },
  ],
  ['without an eligible node it waits', at(held(), noNodesYet), { step: 'nothing' }],
  [
    'without an eligible node for 2 minutes it is released',
    at(held(), noNodes),
    { step: 'release', reason: 'NoEligibleNodes' },
  ],
  [
    "a refusal makes a waiting rollout status fail, with the registry's words",
    at(held(), failed),
    { step: 'fail' },
  ],
  ['a refusal that has been told is not told again', at(told(failed), failed), { step: 'nothing' }],
  ['a refusal in other words is told', at(told(overdueWithNone), failed), { step: 'fail' }],
  ['when it can go on, rollout status waits again', at(told(failed), pulling), { step: 'recover' }],
  [
    'what failed and is ready now first stops to be failed, so that its rollout does not begin so',
    at(told(failed), ready),
    { step: 'recover' },
  ],
  [
    'after a hold, a Deployment that stays paused does not stay failed',
    at(told(failed, updated.spec({ paused: true }).object)),
    { step: 'recover' },
  ],
  [
    'after a hold, the condition of one that is not paused is its controller’s',
    at(told(failed, updated.object)),
    { step: 'nothing' },
  ],
  [
    'a rollout that had failed before the hold does not make who waits for the held one fail',
    at(timedOut('2025-12-31T23:59:59Z')),
    { step: 'recover' },
  ],
  [
    'nor does a preload that had failed before the hold',
    at(timedOut('2025-12-31T23:59:59Z', 'pullgate: registry.test/app:typo: not found (NotFound)')),
    { step: 'recover' },
  ],
  ['nor does it when the preload is under way', at(timedOut(SINCE), pulling), { step: 'recover' }],
  [
    'a failure of this hold stays until its preload is looked at',
    at(timedOut('2026-01-01T00:00:01Z')),
    { step: 'preload' },
  ],
  [
    'a failure of the same second as the beginning of the hold is from before the hold',
    at(timedOut(SINCE)),
    { step: 'recover' },
  ],
  [
    'a refusal of its preload stays, even if the clocks of two replicas differ',
    at(timedOut('2025-12-31T23:59:50Z', `pullgate: ImagePreload ${holdOf().preload} was refused: quota`)),
    { step: 'preload' },
  ],
];
for (const [promise, input, want] of table) {
  test(promise, () => {
    assert.partialDeepStrictEqual(nextStep(input), want);
  });
}

test('what is told holds the image and the reason, the same whichever node failed first, and that it is from here', () => {
  assert.match(words(failed), /^pullgate: registry\.test\/app:2: .*not found \(NotFound\)$/);
  assert.match(words(overdueWithNone), /^pullgate: the deadline has passed with 0 of 2 nodes ready$/);
});

test('the condition makes rollout status exit at once, or wait again', () => {
  const time = '2026-01-01T00:00:00Z';
  const conditionOf = (failure: string | undefined) =>
    (progressCondition(held(), failure, Date.parse(time) + 123) as { status: { conditions: object[] } })
      .status.conditions;
  const times = { lastUpdateTime: time, lastTransitionTime: time };
  assert.deepEqual(conditionOf('pullgate: no'), [
    {
      type: 'Progressing',
      status: 'False',
      reason: 'ProgressDeadlineExceeded',
      message: 'pullgate: no',
      ...times,
    },
  ]);
  assert.partialDeepStrictEqual(conditionOf(undefined), [
    { type: 'Progressing', status: 'Unknown', reason: 'DeploymentPaused', ...times },
  ]);
});

test('the condition is refused by the API server if the Deployment has changed since it was read', () => {
  const read = held(updated.metadata({ resourceVersion: '42' }));
  assert.partialDeepStrictEqual(progressCondition(read, undefined, 0) as object, {
    metadata: { resourceVersion: '42' },
  });
});

test('what cannot even be asked for is told in the same way, once', () => {
  const first = failStep(held(), 'ImagePreload web-1 was refused: quota');
  assert.deepEqual(first, { step: 'fail', message: 'pullgate: ImagePreload web-1 was refused: quota' });
  assert.ok(first.step === 'fail');
  assert.deepEqual(failStep(after(first), 'ImagePreload web-1 was refused: quota'), { step: 'nothing' });
});

/** A rollout of the update, as the API server has it while it goes on. */
const rolling = { observedGeneration: 3, replicas: 3, updatedReplicas: 1, availableReplicas: 2 };
const progressing = (reason: string, status = 'True') => [{ type: 'Progressing', status, reason }];
function underWay(builder: DeploymentBuilder = updated, status: object = {}): Deployment {
  const conditions = progressing('ReplicaSetUpdated');
  return parseDeployment({ ...builder.object, status: { ...rolling, conditions, ...status } });
}
const updatedHash = templateHash(plain.template);
function decidedOn(
  decision: RecordedDecision,
  template = updatedHash,
  uid: string | undefined = UID,
): DeploymentBuilder {
  const decided = { uid, template, decision, by: 'a-developer', at: '2026-01-01T00:00:00Z', reason: '' };
  return updated.annotate(DECIDED_ANNOTATION, writeDecisionRecord(decided));
}
const caughtUp = {
  step: 'preload',
  preload: { name: preloadName(plain, updatedHash), why: 'Ungated' },
} as const;

test('a rollout that began without the gate being asked gets a preload, in every mode', () => {
  for (const mode of MODES) {
    assert.partialDeepStrictEqual(nextStep(at(underWay(), undefined, mode)), caughtUp, mode);
  }
});

test('of a decision on another template the same is true, of one on this template not', () => {
  assert.partialDeepStrictEqual(nextStep(at(underWay(decidedOn('Held', 'another')))), caughtUp);
  for (const decision of ['Held', 'Preloaded', 'Bypassed', 'NotNeeded', 'Reverted', 'OptedOut'] as const) {
    assert.deepEqual(nextStep(at(underWay(decidedOn(decision)))), { step: 'nothing' }, decision);
  }
});

test('of a decision on another Deployment, such as the one this was copied from, the same is true', () => {
  const copied = decidedOn('Held', updatedHash, 'another');
  assert.partialDeepStrictEqual(nextStep(at(underWay(copied))), caughtUp);
});

test('a decision of version 0.1, which named no Deployment, counts all the same', () => {
  const { uid: _, ...old } =
    parseDecisionRecord(parseDeployment(decidedOn('Held').object).annotations[DECIDED_ANNOTATION]) ?? {};
  const builder = updated.annotate(DECIDED_ANNOTATION, JSON.stringify(old));
  assert.deepEqual(nextStep(at(underWay(builder))), { step: 'nothing' });
});

test('a rollout that was audited gets a preload, too, and is not called ungated', () => {
  assert.partialDeepStrictEqual(nextStep(at(underWay(decidedOn('Audited')), undefined, 'audit')), {
    step: 'preload',
    preload: { name: preloadName(plain, updatedHash), why: 'Audit' },
  });
});

test('all images of its template are preloaded: nothing is known of what ran before', () => {
  const needed = preloadFor(underWay(), 'pause');
  assert.deepEqual(needed?.from.images, {});
});

const leftAlone: readonly (readonly [string, Deployment, Mode?])[] = [
  ['has finished', underWay(updated, { replicas: 2, updatedReplicas: 2, availableReplicas: 2 })],
  [
    'was complete before, and has a pod that fails or is scaled',
    underWay(updated, { conditions: progressing('NewReplicaSetAvailable') }),
  ],
  [
    'has exceeded its progress deadline',
    underWay(updated, { conditions: progressing('ProgressDeadlineExceeded', 'False') }),
  ],
  [
    'has no progress deadline, so that nothing tells whether it goes on',
    underWay(updated, { conditions: [] }),
  ],
  [
    'its controller has not seen yet: the revision is still that of before',
    underWay(updated, { observedGeneration: 2 }),
  ],
  ['its owner keeps paused', underWay(updated.spec({ paused: true }))],
  ['opted out', underWay(updated.label(MODE_LABEL, 'off'))],
  [
    'is the first one of its Deployment',
    underWay(updated.annotate('deployment.kubernetes.io/revision', '1')),
  ],
  ['has no revision yet', underWay(updated.annotate('deployment.kubernetes.io/revision', null))],
  ['pulls nothing', underWay(updated.policy('Never'))],
  ['is being deleted', underWay(updated.metadata({ deletionTimestamp: '2026-01-01T00:00:00Z' }))],
];
for (const [what, one] of leftAlone) {
  test(`a rollout that ${what} is left alone`, () => {
    for (const mode of MODES) assert.deepEqual(nextStep(at(one, undefined, mode)), { step: 'nothing' });
  });
}

test('where nobody opted in every rollout is left alone', () => {
  assert.deepEqual(nextStep({ deployment: underWay(), mode: undefined, assessment: undefined }), {
    step: 'nothing',
  });
});

test('whatever becomes of its preload, a rollout that is under way is never paused, failed or released', () => {
  for (const builder of [updated, decidedOn('Audited')]) {
    for (const assessment of [ready, pulling, failed, transient, noNodes, overdue, overdueWithNone]) {
      assert.deepEqual(nextStep(at(underWay(builder), assessment, 'audit')), { step: 'nothing' });
    }
  }
});

test('a hold needs its own preload, in whatever mode', () => {
  for (const mode of MODES) {
    assert.partialDeepStrictEqual(preloadFor(held(), mode), { name: holdOf().preload, why: 'Hold' });
  }
});
