import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseDeployment } from '../../src/api/deployment.ts';
import {
  APPROVAL_LABEL,
  APPROVED_ANNOTATION,
  BYPASS_ANNOTATION,
  DEADLINE_ANNOTATION,
  DEPLOYMENT_ANNOTATIONS,
  DEPLOYMENT_LABELS,
  GATE_NAMESPACE,
  GATE_SERVICE_ACCOUNT,
  KEEP_PAUSED_ANNOTATION,
  MIN_NODES_ANNOTATION,
  MODE_LABEL,
  NODE_TIMEOUT_ANNOTATION,
  NOT_BEFORE_ANNOTATION,
  PARALLELISM_ANNOTATION,
  REVERT_ANNOTATION,
} from '../../src/api/names.ts';
import { settingsOf } from '../../src/api/settings.ts';
import { admissionPolicy } from '../support/unit/admission-policy.ts';
import { type DeploymentBuilder, deployment } from '../support/unit/deployment-builder.ts';
import { heldObject } from '../support/unit/held-deployment.ts';

const policy = admissionPolicy('marks-policy.yaml');
const web = deployment();

function reviewOf(object: unknown, oldObject: unknown, username = 'a-developer') {
  const request = { userInfo: { username } };
  return { request, ...(JSON.parse(JSON.stringify({ object, oldObject })) as object) };
}

function warnings(next: DeploymentBuilder, stored: unknown = web.object): string[] {
  const review = reviewOf(next.object, stored);
  return policy.applies(review) ? policy.refusals(review) : [];
}

test('it warns and denies nothing', () => {
  assert.deepEqual(policy.actions(), ['Warn']);
});

test('the names that it knows are those of the gate', () => {
  const quoted = new Set(
    policy
      .expressions()
      .join()
      .match(/pullgate\.io\/[a-z-]+(?=')/g),
  );
  assert.deepEqual(quoted, new Set([...DEPLOYMENT_ANNOTATIONS, ...DEPLOYMENT_LABELS]));
});

const nothing: readonly (readonly [string, DeploymentBuilder, RegExp])[] = [
  [
    'an unknown annotation',
    web.annotate('pullgate.io/minnodes', '1'),
    /does not know the annotation pullgate\.io\/minnodes,/,
  ],
  [
    'an unknown label',
    web.label('pullgate.io/hold', 'x'),
    /does not know the label pullgate\.io\/hold on a Deployment/,
  ],
  ['mode Off', web.label(MODE_LABEL, 'Off'), /does nothing unless it is "off"/],
  ['mode audit', web.label(MODE_LABEL, 'audit'), /does nothing unless it is "off"/],
  ['keep-paused: yes', web.annotate(KEEP_PAUSED_ANNOTATION, 'yes'), /does nothing unless it is "true"/],
  ['an empty bypass', web.annotate(BYPASS_ANNOTATION, ''), /bypass is empty/],
  ['a revert without a hold', web.annotate(REVERT_ANNOTATION, 'x'), /this Deployment is not held/],
  ['approval: yes', web.label(APPROVAL_LABEL, 'yes'), /approval does nothing unless it is "required"/],
  ['an approval without a hold', web.annotate(APPROVED_ANNOTATION, 'x'), /this Deployment is not held/],
  [
    'a not-before without a time zone',
    web.annotate(NOT_BEFORE_ANNOTATION, '2027-01-31T22:00'),
    /not-before is not valid/,
  ],
  ['a count of nodes that is none', web.annotate(MIN_NODES_ANNOTATION, '0'), /min-nodes is not valid/],
  ['a time that is none', web.annotate(DEADLINE_ANNOTATION, '1h'), /deadline-seconds is not valid/],
];
for (const [what, next, words] of nothing) {
  test(`it warns of ${what}, on an update and when the Deployment is created`, () => {
    for (const stored of [web.object, null]) {
      const [message, ...others] = warnings(next, stored);
      assert.match(message ?? '', words);
      assert.deepEqual(others, []);
    }
  });
}

test('what means something is no reason to warn', () => {
  assert.deepEqual(warnings(web), []);
  const marked = web
    .label(MODE_LABEL, 'off')
    .label(APPROVAL_LABEL, 'required')
    .annotate(NOT_BEFORE_ANNOTATION, '2027-01-31T22:00:00+01:00')
    .annotate(KEEP_PAUSED_ANNOTATION, 'true')
    .annotate(BYPASS_ANNOTATION, 'urgent')
    .annotate(PARALLELISM_ANNOTATION, '25%')
    .annotate(NODE_TIMEOUT_ANNOTATION, '86400');
  for (const stored of [web.object, null]) assert.deepEqual(warnings(marked, stored), []);
});

test('a reason that was there before does not end a hold', () => {
  for (const annotation of [BYPASS_ANNOTATION, REVERT_ANNOTATION]) {
    const stored = heldObject(web.image('registry.test/app:2').annotate(annotation, 'urgent'));
    const again = web.image('registry.test/app:2').annotate(annotation, 'urgent');
    assert.match(
      warnings(again, stored).join(),
      /has the same value as before, so it does not end this hold/,
    );
    assert.deepEqual(warnings(again.annotate(annotation, 'urgent 2'), stored), []);
  }
});

test('it looks at no update of the gate or of the Deployment controller, and at none without marks', () => {
  const wrong = web.annotate(KEEP_PAUSED_ANNOTATION, 'yes').object;
  for (const username of [
    `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`,
    'system:serviceaccount:kube-system:deployment-controller',
  ])
    assert.equal(policy.applies(reviewOf(wrong, web.object, username)), false);
  assert.equal(policy.applies(reviewOf(web.object, web.object)), false);
});

const value = fc.oneof(
  fc.integer({ min: -2, max: 700_000 }).map(String),
  fc.integer({ min: -2, max: 200 }).map((count) => `${count}%`),
  fc.constantFrom(
    '',
    '007',
    '1e3',
    ' 3',
    '3 ',
    '0x3',
    '86400',
    '86401',
    '604800',
    '604801',
    '1234567890',
    '9'.repeat(30),
  ),
  fc.string({ maxLength: 6 }),
);

test('of counts and times it warns exactly where the gate does not use them', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(
        PARALLELISM_ANNOTATION,
        MIN_NODES_ANNOTATION,
        NODE_TIMEOUT_ANNOTATION,
        DEADLINE_ANNOTATION,
      ),
      value,
      (annotation, text) => {
        const next = web.annotate(annotation, text);
        const { invalid } = settingsOf(parseDeployment(next.object));
        assert.equal(warnings(next).length, invalid.length, `${annotation}: ${JSON.stringify(text)}`);
      },
    ),
    { numRuns: 300 },
  );
});
