import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Deployment, parseDeployment } from '../../src/hold/deployment.ts';
import { type Hold, writeHold } from '../../src/hold/hold.ts';
import { runningTemplate } from '../../src/hold/needs-pull.ts';
import { preloadName } from '../../src/hold/preload-name.ts';
import { HOLD_ANNOTATION } from '../../src/names.ts';
import { activityOf } from '../../src/preload/activity.ts';
import type { ImagePreload } from '../../src/preload/image-preload.ts';
import { templateHash } from '../../src/template/template-hash.ts';
import { deployment, UID } from './deployment-builder.ts';
import { preload } from './preload-builder.ts';

const running = deployment();
const updated = running.image('registry.test/app:2');
const hash = templateHash(parseDeployment(updated.object).template);
const name = preloadName(parseDeployment(updated.object), hash);
const itsOwn = preload(
  { templateHash: hash },
  { name, owner: { kind: 'Deployment', name: 'web', uid: UID } },
);

const hold: Hold = {
  v: 1,
  uid: UID,
  preload: name,
  template: hash,
  from: runningTemplate(parseDeployment(running.object).template),
  since: '2026-01-01T00:00:00Z',
  userPaused: false,
};
const held = updated.annotate(HOLD_ANNOTATION, writeHold(hold)).spec({ paused: true });
const of = (object: unknown, itself: ImagePreload = itsOwn) =>
  activityOf(itself, object === undefined ? undefined : parseDeployment(object), true);
const finishedAt = '2026-01-01T01:00:00Z';
const finished: ImagePreload = { ...itsOwn, status: { finishedAt } as NonNullable<ImagePreload['status']> };

function rolledOut(status: Partial<Deployment['status']>): unknown {
  const done = { observedGeneration: 3, replicas: 2, updatedReplicas: 2, availableReplicas: 2 };
  return { ...updated.object, status: { ...done, ...status } };
}

test('while its Deployment waits for it, it holds', () => {
  assert.equal(of(held.object), 'holding');
});

test('once let go, it goes on until the rollout has finished', () => {
  for (const status of [
    { observedGeneration: 2 },
    { updatedReplicas: 1 },
    { replicas: 3 },
    { availableReplicas: 1 },
  ]) {
    assert.equal(of(rolledOut(status)), 'rolling', JSON.stringify(status));
  }
  assert.equal(of(rolledOut({})), 'finished');
});

test('a rollout that has exceeded its progress deadline is over', () => {
  const conditions = [{ type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded' }];
  assert.equal(of({ ...updated.object, status: { observedGeneration: 3, conditions } }), 'finished');
});

test('while its owner keeps the Deployment paused, the rollout is still to come', () => {
  assert.equal(of(updated.spec({ paused: true }).object), 'rolling');
});

test('once finished it stays so: a pod that fails later, or a scaling, is no rollout', () => {
  assert.equal(of(rolledOut({ availableReplicas: 1 }), finished), 'finished');
  assert.equal(of(rolledOut({ updatedReplicas: 1 }), finished), 'finished');
});

test('a hold that waits for it again takes it up again', () => {
  assert.equal(of(held.object, finished), 'holding');
});

const overtaken: readonly (readonly [string, unknown])[] = [
  ['another template is stored', running.object],
  ['another template is held', held.image('registry.test/app:3').object],
  [
    'the hold waits for another preload',
    held.annotate(HOLD_ANNOTATION, writeHold({ ...hold, preload: 'x' })).object,
  ],
  ['the Deployment is gone', undefined],
  ['the Deployment is being deleted', held.metadata({ deletionTimestamp: '2026-01-01T00:00:00Z' }).object],
  ['another Deployment has the name', held.metadata({ uid: 'another' }).object],
];
for (const [when, object] of overtaken) {
  test(`it is superseded if ${when}`, () => {
    assert.equal(of(object), 'superseded');
  });
}

test("another Deployment's hold is none", () => {
  const copied = held.annotate(HOLD_ANNOTATION, writeHold({ ...hold, uid: 'another' }));
  assert.equal(of(copied.object), 'rolling');
});

test('one made by hand is served where the namespace opted in, until it has its answer', () => {
  const { owner: _, ...byHand } = itsOwn;
  assert.equal(activityOf(byHand, undefined, true), 'standalone');
  assert.equal(activityOf(byHand, undefined, false), 'unserved');
  const { owner: __, ...answered } = finished;
  assert.equal(activityOf(answered, undefined, true), 'finished');
});
