import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endsGating } from '../../src/admission/decide.ts';
import type { Decision } from '../../src/admission/decision.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { ownDecisionRecord, writeDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { ownHold, writeHold } from '../../src/api/hold.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { decideUpdate, NOW } from '../support/unit/decide-update.ts';
import { deployment, UID } from '../support/unit/deployment-builder.ts';
import { holdOf } from '../support/unit/held-deployment.ts';

const DAY = 86_400_000;
const BYPASS = 'pullgate.io/bypass';
const DECIDED = 'pullgate.io/decided';
const HOLD = 'pullgate.io/hold';
const KEEP_PAUSED = 'pullgate.io/keep-paused';
const MIN_NODES = 'pullgate.io/min-nodes';
const REVISION = 'deployment.kubernetes.io/revision';

const web = deployment();
const v2 = web.image('registry.test/app:2');
const v3 = web.image('registry.test/app:3');

const annotationsOf = (object: unknown) => parseDeployment(object).annotations;

/** With these annotations instead of its own. */
function annotated(object: JsonObject, annotations: object): JsonObject {
  return { ...object, metadata: { ...asObject(object['metadata']), annotations } };
}

/** A client that sends only what it changes: apply, set image, patch, Helm, Argo CD. */
function merged(stored: JsonObject, { object }: typeof web, marks: object = {}): JsonObject {
  const spec = { ...asObject(stored['spec']), template: asObject(object['spec'])['template'] };
  return annotated({ ...stored, spec }, { ...annotationsOf(stored), ...marks });
}

/** `kubectl rollout undo`: template and annotations of a ReplicaSet; of the Deployment's own only those of its controller stay. */
function undone(stored: JsonObject, { object }: typeof web, ofReplicaSet: object): JsonObject {
  const own = { [REVISION]: annotationsOf(stored)[REVISION] };
  const { [REVISION]: _, ...restored } = ofReplicaSet as Record<string, string>;
  return annotated(merged(stored, { ...web, object }), { ...restored, ...own });
}

/** v2 came days ago with these marks, and v3 an hour ago, with others. */
function twice(at2: object, at3: object): { readonly stored: JsonObject; readonly replicaSet: object } {
  const second = decideUpdate(web.object, merged(web.object, v2, at2), { now: NOW - 3 * DAY }).object;
  const running = { ...second, spec: { ...asObject(second['spec']), paused: undefined } };
  const { [HOLD]: _, ...marks } = annotationsOf(running);
  const released = annotated(running, marks);
  const third = decideUpdate(released, merged(released, v3, at3), {
    now: NOW - 3600_000,
    mode: 'audit',
  }).object;
  return { stored: third, replicaSet: annotationsOf(second) };
}

const words = (decision: Decision) =>
  warningsFor(decision, { namespace: 'shop', name: 'web' }, NOW).join('\n');

describe('rollout undo', () => {
  test('asks for no bypass, although that of the old revision is another one than is stored', () => {
    const { stored, replicaSet } = twice({ [BYPASS]: 'urgent A' }, { [BYPASS]: 'urgent B' });
    const decision = decideUpdate(stored, undone(stored, v2, replicaSet));
    assert.deepEqual([decision.kind, decision.bypassRefused], ['Held', false]);
    assert.equal(annotationsOf(decision.object)[BYPASS], 'urgent B');
    assert.equal(
      endsGating(stored, undone(stored, v2, replicaSet), NOW),
      false,
      'nobody has to be asked for it',
    );
    assert.match(
      words(decision),
      /^pullgate: annotations of an earlier version of shop\/web were ignored: pullgate\.io\/bypass; .*Set them again/m,
    );
  });

  test('does not bring back an annotation that has been taken off, nor take off one that is new', () => {
    const old = { [BYPASS]: 'urgent A', [KEEP_PAUSED]: 'true', [MIN_NODES]: '1' };
    const { stored, replicaSet } = twice(old, {});
    const { [BYPASS]: _, [KEEP_PAUSED]: __, [MIN_NODES]: ___, ...left } = annotationsOf(stored);
    const now = annotated(stored, { ...left, 'pullgate.io/deadline-seconds': '7200' });
    const decision = decideUpdate(now, undone(now, v2, replicaSet));
    const { [HOLD]: hold, [DECIDED]: decided, ...rest } = annotationsOf(decision.object);
    assert.ok(hold && decided);
    const { [DECIDED]: ____, ...before } = annotationsOf(now);
    assert.deepEqual(rest, before);
    assert.deepEqual(decision.ignored, [BYPASS, 'pullgate.io/deadline-seconds', KEEP_PAUSED, MIN_NODES]);
  });

  test('begins a hold of its own: neither `since` nor the decision is that of the hold before', () => {
    const { stored, replicaSet } = twice({}, {});
    assert.ok(HOLD in replicaSet);
    const { kind, object, hold } = decideUpdate(stored, undone(stored, v2, replicaSet));
    assert.deepEqual([kind, hold?.since], ['Held', '2026-01-01T00:00:00.000Z']);
    assert.equal(ownDecisionRecord(parseDeployment(object))?.at, '2026-01-01T00:00:00.000Z');
  });

  test('in mode reject waits for a preload with the settings that are stored', () => {
    const { stored, replicaSet } = twice({ [MIN_NODES]: '1' }, { [MIN_NODES]: '100%' });
    const { asks, denial } = decideUpdate(stored, undone(stored, v2, replicaSet), { mode: 'reject' });
    assert.equal(denial?.code, 429);
    assert.equal(annotationsOf(asks?.object)[MIN_NODES], '100%');
  });

  test('to a revision of before the first decision brings back nothing either', () => {
    const { stored } = twice({}, {});
    const decision = decideUpdate(
      stored,
      undone(stored, web, { [BYPASS]: 'of the first day', [MIN_NODES]: '1' }),
    );
    assert.deepEqual([decision.kind, decision.ignored], ['Held', [BYPASS, MIN_NODES]]);
  });

  test('brings back nothing where the gate was not asked about the rollout in between', () => {
    const { stored: decided, replicaSet } = twice({ [BYPASS]: 'urgent A' }, {});
    const record = { [DECIDED]: (replicaSet as Record<string, string>)[DECIDED] };
    const stored = annotated(decided, { [REVISION]: '7', ...record });
    const decision = decideUpdate(stored, undone(stored, v2, replicaSet));
    assert.deepEqual([decision.kind, decision.ignored], ['Held', [BYPASS]]);
  });

  test('that restores nothing but records is silent about it', () => {
    const { stored, replicaSet } = twice({}, {});
    const decision = decideUpdate(stored, undone(stored, v2, replicaSet));
    assert.deepEqual(decision.ignored, []);
    assert.doesNotMatch(words(decision), /ignored/);
  });
});

describe('a bypass that comes with its update counts', () => {
  const { stored } = twice({ [BYPASS]: 'urgent A' }, {});
  const next = web.image('registry.test/app:4');
  const urgent = { [BYPASS]: 'urgent B' };

  test('from a client that sends only what it changes', () => {
    assert.equal(decideUpdate(stored, merged(stored, next, urgent)).kind, 'Bypassed');
  });

  test('from one that sends the whole object as it is stored: edit, replace', () => {
    const { object } = next;
    const whole = annotated({ ...stored, spec: object['spec'] }, { ...annotationsOf(stored), ...urgent });
    assert.equal(decideUpdate(stored, whole).kind, 'Bypassed');
  });

  test('from a manifest in Git that replaces everything, and once: kept there, it is none', () => {
    const manifest = annotated(next.object, urgent);
    const first = decideUpdate(stored, manifest);
    assert.deepEqual([first.kind, first.ignored], ['Bypassed', []]);
    const after = annotated(first.object, { ...annotationsOf(first.object), [REVISION]: '9' });
    const later = annotated(web.image('registry.test/app:5').object, urgent);
    assert.equal(decideUpdate(after, later, { now: NOW + 1000 }).kind, 'Held');
  });

  test('where nothing was ever decided', () => {
    assert.equal(decideUpdate(web.object, merged(web.object, v2, urgent)).kind, 'Bypassed');
  });

  test('when the update that was decided on is of this second', () => {
    const before = decideUpdate(web.object, v2.object).object;
    assert.equal(decideUpdate(before, merged(before, v2, urgent)).kind, 'Bypassed');
  });

  test('when admission is called again, by a replica whose clock is behind', () => {
    const before = decideUpdate(web.object, v2.object, { now: NOW + 3000 }).object;
    const first = decideUpdate(before, merged(before, v2, urgent), { now: NOW });
    const second = decideUpdate(before, first.object, { now: NOW + 20 });
    assert.equal(first.kind, 'Bypassed');
    assert.deepEqual(second, first);
  });
});

describe('a manifest that was read from the cluster days ago', () => {
  const { stored, replicaSet } = twice({ [BYPASS]: 'urgent A', [MIN_NODES]: '1' }, { [MIN_NODES]: '100%' });
  const copy = annotated(merged(stored, v2), replicaSet);

  test('asks for nothing by its annotations', () => {
    const decision = decideUpdate(stored, annotated(copy, { ...replicaSet, [BYPASS]: 'urgent C' }));
    assert.deepEqual([decision.kind, decision.ignored], ['Held', [BYPASS, MIN_NODES]]);
    assert.equal(annotationsOf(decision.object)[MIN_NODES], '100%');
  });

  test('nor does that of another Deployment', () => {
    const foreign = {
      uid: 'another',
      template: 't',
      decision: 'Held',
      by: 'x',
      at: new Date(NOW).toISOString(),
    } as const;
    const record = { [DECIDED]: writeDecisionRecord({ ...foreign, reason: '' }), [BYPASS]: 'urgent C' };
    assert.equal(decideUpdate(stored, annotated(copy, record)).kind, 'Held');
  });

  test('and was held then keeps nothing paused that was not', () => {
    const { stored, replicaSet } = twice({}, {});
    const copy = annotated(merged(stored, v2), replicaSet);
    const held = { ...copy, spec: { ...asObject(copy['spec']), paused: true } };
    const { object, hold } = decideUpdate(stored, held);
    assert.equal(hold?.userPaused, false);
    const { kind, object: same } = decideUpdate(stored, {
      ...annotated(stored, replicaSet),
      spec: { ...asObject(stored['spec']), paused: true },
    });
    assert.deepEqual(
      [kind, parseDeployment(same).paused, annotationsOf(same)],
      ['Unchanged', false, annotationsOf(stored)],
    );
    assert.equal(ownHold(parseDeployment(object))?.since, '2026-01-01T00:00:00.000Z');
  });
});

describe('what was written while a Deployment was opted out', () => {
  const off = v2.label('pullgate.io/mode', 'off');
  const forged = {
    uid: UID,
    template: holdOf().template,
    decision: 'Bypassed',
    by: 'admin',
    at: new Date(NOW - 1000).toISOString(),
    reason: 'x',
  } as const;

  test('names nobody once it is opted in again', () => {
    const decision = decideUpdate(
      off.annotate(DECIDED, writeDecisionRecord(forged)).object,
      v2.annotate(DECIDED, writeDecisionRecord(forged)).object,
    );
    assert.equal(decision.kind, 'NotNeeded');
    const { by, reason } = ownDecisionRecord(parseDeployment(decision.object)) ?? {};
    assert.deepEqual([by, reason], ['a-developer', 'label pullgate.io/mode=off removed']);
  });

  test('is no hold: a template is not let through because it says that its image runs', () => {
    const running = holdOf(v2, { from: { template: 'x', images: { app: 'registry.test/app:3' } } });
    const planted = off.annotate(HOLD, writeHold(running)).spec({ paused: true });
    const decision = decideUpdate(
      planted.object,
      planted.label('pullgate.io/mode', null).image('registry.test/app:3').object,
    );
    assert.deepEqual([decision.kind, decision.hold?.from.images], ['Held', { app: 'registry.test/app:2' }]);
    assert.equal(decision.hold?.userPaused, false);
    const same = decideUpdate(planted.object, planted.label('pullgate.io/mode', null).object);
    const { paused, annotations } = parseDeployment(same.object);
    assert.deepEqual([same.kind, paused, annotations[HOLD]], ['NotNeeded', false, undefined]);
  });
});
