import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asksForApproval } from '../../src/admission/decide.ts';
import type { Decision } from '../../src/admission/decision.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { ownHold } from '../../src/api/hold.ts';
import {
  APPROVAL_LABEL,
  APPROVED_ANNOTATION,
  DECIDED_ANNOTATION,
  NOT_BEFORE_ANNOTATION,
} from '../../src/api/names.ts';
import { templateDigest, templateHash } from '../../src/api/template/template-hash.ts';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { decideUpdate, NOW } from '../support/unit/decide-update.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';

const HASH = templateDigest(at(updated.object, 'spec', 'template'));
const held = heldObject();
const web = deployment();

function annotated(object: JsonObject, value: string | undefined, name = APPROVED_ANNOTATION): JsonObject {
  const metadata = asObject(object['metadata']);
  const annotations = { ...asObject(metadata['annotations']), [name]: value };
  return JSON.parse(JSON.stringify({ ...object, metadata: { ...metadata, annotations } })) as JsonObject;
}

const approvedOf = ({ object }: Decision) => ownHold(parseDeployment(object))?.approved;
const annotationOf = ({ object }: Decision) => parseDeployment(object).annotations[APPROVED_ANNOTATION];
const warningsOf = (decision: Decision) =>
  warningsFor(decision, { namespace: 'shop', name: 'web', oldObject: held }, NOW);

describe('an approval of the held template', () => {
  test('is recorded in the hold with the user and the time, and the Deployment stays held', () => {
    const decision = decideUpdate(held, annotated(held, HASH));
    assert.equal(decision.kind, 'Reheld');
    assert.deepEqual(approvedOf(decision), {
      template: HASH,
      by: 'a-developer',
      at: '2026-01-01T00:00:00.000Z',
    });
    assert.equal(annotationOf(decision), HASH);
    assert.equal(parseDeployment(decision.object).paused, true);
    assert.match(
      warningsOf(decision)[0] ?? '',
      /^pullgate: approved: the rollout of shop\/web starts when its nodes have the images$/,
    );
  });

  test('needs a permission where one is needed, and is not stored without it, so that another user can set it', () => {
    assert.equal(asksForApproval(held, annotated(held, HASH), NOW), true);
    const decision = decideUpdate(held, annotated(held, HASH), { mayApprove: false });
    assert.equal(approvedOf(decision), undefined);
    assert.equal(annotationOf(decision), undefined);
    assert.match(
      warningsOf(decision)[0] ?? '',
      /^pullgate: the approval was refused: it needs the verb approve on imagepreloads.pullgate.io, which this user does not have$/,
    );
    assert.ok(approvedOf(decideUpdate(decision.object, annotated(decision.object, HASH))));
  });

  test('stays through later updates of others, also without the annotation', () => {
    const stored = decideUpdate(held, annotated(held, HASH)).object;
    for (const next of [stored, annotated(stored, 'x', 'example.com/note'), annotated(stored, undefined)])
      assert.deepEqual(approvedOf(decideUpdate(stored, next, { username: 'another' }))?.by, 'a-developer');
  });

  test('is the same when admission is called again for the request', () => {
    const first = decideUpdate(held, annotated(held, HASH));
    const again = decideUpdate(held, first.object, { now: NOW + 500 });
    assert.deepEqual(again.object, first.object);
  });

  test('goes with the hold: another template needs a new one, and so does the same template later', () => {
    const stored = decideUpdate(held, annotated(held, HASH)).object;
    const other = updated.image('registry.test/app:3').object;
    const superseded = decideUpdate(stored, {
      ...stored,
      spec: { ...asObject(other['spec']), paused: true },
    });
    assert.equal(superseded.kind, 'Superseded');
    assert.equal(approvedOf(superseded), undefined);
    assert.equal(annotationOf(superseded), undefined);
    const bypassed = decideUpdate(stored, annotated(stored, 'urgent', 'pullgate.io/bypass'));
    assert.equal(bypassed.kind, 'Bypassed');
    assert.equal(annotationOf(bypassed), undefined);
  });

  test('counts in the update that brings the template, where its author may approve', () => {
    const next = annotated(updated.object, HASH);
    assert.equal(decideUpdate(web.object, next).kind, 'Held');
    assert.ok(approvedOf(decideUpdate(web.object, next)));
    assert.equal(approvedOf(decideUpdate(web.object, next, { mayApprove: false })), undefined);
  });
});

describe('an approval that does not count', () => {
  const cases: readonly (readonly [string, JsonObject])[] = [
    ['for another template', annotated(held, 'of-another-template')],
    ['empty', annotated(held, '')],
  ];
  for (const [what, next] of cases) {
    test(`${what}: is not stored, and needs no permission`, () => {
      const decision = decideUpdate(held, next);
      assert.equal(approvedOf(decision), undefined);
      assert.equal(annotationOf(decision), undefined);
      assert.equal(asksForApproval(held, next, NOW), false);
    });
  }

  test('for another template: a warning has the command to approve the held one', () => {
    const [first, command] = warningsOf(decideUpdate(held, annotated(held, 'of-another-template')));
    assert.match(
      first ?? '',
      /the approval of shop\/web does not count: it names another pod template than the held one/,
    );
    assert.equal(
      command,
      `Approve it: kubectl -n shop annotate deployment web pullgate.io/approved=${HASH} --overwrite`,
    );
  });

  test('brought back by rollout undo or a copied manifest: ignored with a warning', () => {
    const record = (seconds: number) =>
      JSON.stringify({
        v: 1,
        uid: parseDeployment(held).uid,
        template: HASH,
        decision: 'Held',
        by: 'a-developer',
        at: new Date(NOW - seconds * 1000).toISOString(),
        reason: '',
      });
    const stored = annotated(held, record(500), DECIDED_ANNOTATION);
    const copied = annotated(annotated(stored, HASH), record(1000), DECIDED_ANNOTATION);
    const decision = decideUpdate(stored, copied);
    assert.equal(approvedOf(decision), undefined);
    assert.deepEqual(decision.ignored, [APPROVED_ANNOTATION]);
    assert.equal(asksForApproval(stored, copied, NOW), false);
  });

  test('left from before: it is removed from the next hold', () => {
    const old = annotated(web.object, HASH);
    const decision = decideUpdate(old, annotated(updated.object, HASH));
    assert.equal(decision.kind, 'Held');
    assert.equal(approvedOf(decision), undefined);
    assert.equal(annotationOf(decision), undefined);
  });
});

test('in mode reject, an update that waits for an approval or a time is held', () => {
  for (const next of [
    updated.label(APPROVAL_LABEL, 'required'),
    updated.annotate(NOT_BEFORE_ANNOTATION, '2027-01-31T22:00:00Z'),
  ])
    assert.equal(decideUpdate(web.object, next.object, { mode: 'reject' }).kind, 'Held');
  assert.equal(decideUpdate(web.object, updated.object, { mode: 'reject' }).kind, 'Rejected');
});

test('a user who changes a Deployment that requires approvals reads how to approve', () => {
  const decision = decideUpdate(web.object, updated.label(APPROVAL_LABEL, 'required').object);
  const lines = warningsOf(decision);
  assert.ok(lines.includes('pullgate: the rollout of shop/web also waits for an approval'), lines.join('\n'));
  assert.ok(lines.some((line) => line.startsWith('Approve it: kubectl -n shop annotate deployment web ')));
});

test('an approval that is removed or overwritten counts all the same, and a warning says how to stop the rollout', () => {
  const stored = decideUpdate(held, annotated(held, HASH)).object;
  for (const value of [undefined, 'no']) {
    const decision = decideUpdate(stored, annotated(stored, value), { username: 'another' });
    assert.equal(approvedOf(decision)?.by, 'a-developer');
    assert.match(
      warningsOf(decision)[0] ?? '',
      /^pullgate: shop\/web stays approved by a-developer. To stop the rollout, go back to the running version$/,
    );
  }
});

test('an approval that an earlier version dropped from the hold has to be set again, and a warning says so', () => {
  const stored = annotated(held, HASH);
  const decision = decideUpdate(stored, stored);
  assert.equal(approvedOf(decision), undefined);
  assert.equal(annotationOf(decision), undefined);
  assert.match(
    warningsOf(decision)[0] ?? '',
    /does not count: it was set before. It is removed; set it again$/,
  );
});

test('a time in the past does not turn mode reject into holds', () => {
  const next = updated.annotate(NOT_BEFORE_ANNOTATION, '2020-01-01T00:00:00Z');
  assert.equal(decideUpdate(web.object, next.object, { mode: 'reject' }).kind, 'Rejected');
});

test('a template with the same short hash as the running one is another template', () => {
  const [first, second] = sameShortHash();
  assert.equal(templateHash(at(first, 'spec', 'template')), templateHash(at(second, 'spec', 'template')));
  assert.equal(decideUpdate(first, second).kind, 'Held');
  const stored = decideUpdate(web.object, first).object;
  const swapped = { ...stored, spec: { ...asObject(second['spec']), paused: true } };
  assert.equal(decideUpdate(stored, swapped).kind, 'Superseded');
});

test('an approval is for its template alone, also if another one has the same short hash', () => {
  const approved = { template: 'digest of another template', by: 'a-lead', at: '2026-01-01T00:00:00Z' };
  const stored = heldObject(updated, { approved });
  assert.equal(approvedOf(decideUpdate(stored, stored)), undefined);
});

test('going back needs no approval', () => {
  const required = heldObject(updated.label(APPROVAL_LABEL, 'required'));
  const running = { kind: 'found', template: asObject(at(web.object, 'spec', 'template')) } as const;
  const next = annotated(required, 'not now', 'pullgate.io/revert');
  assert.equal(decideUpdate(required, next, { mayApprove: false, running }).kind, 'Reverted');
});

/** Two Deployments whose templates have the same short hash: 20 million tries found these numbers within a minute. */
function sameShortHash(): [JsonObject, JsonObject] {
  const other = updated.image('registry.test/app:3');
  return [updated.restartedAt('14271227').object, other.restartedAt('6050641').object];
}
