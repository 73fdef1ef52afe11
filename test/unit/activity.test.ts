import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import { type Hold, writeHold } from '../../src/api/hold.ts';
import type { ImagePreload } from '../../src/api/image-preload.ts';
import { runningTemplate } from '../../src/api/images-to-pull.ts';
import { HOLD_ANNOTATION, MODES, type Mode } from '../../src/api/names.ts';
import { preloadName } from '../../src/api/preload-name.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import { type Activity, activityOf, requestEndsAt } from '../../src/preloads/activity.ts';
import { deployment, UID } from '../support/unit/deployment-builder.ts';
import { at, preload } from '../support/unit/preload-builder.ts';

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
const NOW = at(0);

interface Around {
  readonly mode?: Mode | undefined;
  readonly siblings?: readonly ImagePreload[];
  readonly now?: number;
}
function of(object: unknown, itself: ImagePreload = itsOwn, around: Around = {}): Activity {
  const { siblings = [], now = NOW } = around;
  return activityOf({
    preload: itself,
    deployment: object === undefined ? undefined : parseDeployment(object),
    mode: 'mode' in around ? around.mode : 'pause',
    siblings: () => [itself, ...siblings],
    now,
  });
}
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
  for (const mode of MODES) assert.equal(of(undefined, byHand, { mode }), 'standalone');
  assert.equal(of(undefined, byHand, { mode: undefined }), 'unserved');
  const { owner: __, ...answered } = finished;
  assert.equal(of(undefined, answered), 'finished');
});

test('where nobody opted in none is served, whatever Deployment owns it and waits for it', () => {
  for (const object of [held.object, updated.object, running.object]) {
    assert.equal(of(object, itsOwn, { mode: undefined }), 'superseded');
  }
});

test('in every mode, one for the stored template goes on until the rollout has finished', () => {
  for (const mode of MODES) {
    assert.equal(of(rolledOut({ updatedReplicas: 1 }), itsOwn, { mode }), 'rolling');
    assert.equal(of(rolledOut({}), itsOwn, { mode }), 'finished');
    assert.equal(of(held.object, itsOwn, { mode }), 'holding');
  }
});

const reject = (itself = itsOwn, around: Around = {}) =>
  of(running.object, itself, { mode: 'reject', ...around });
/** For another template of that revision, unless told otherwise. */
function sibling(fields: Partial<ImagePreload>, revision = '3'): ImagePreload {
  const template = 'of another update';
  const sameOwner = { owner: itsOwn.owner } as Pick<ImagePreload, 'owner'>;
  return preload(
    { templateHash: template },
    {
      ...sameOwner,
      uid: 'uid-sibling',
      name: preloadName({ name: 'web', uid: UID, revision }, template),
      ...fields,
    },
  );
}

test('in mode reject, one for a template that is not stored yet has been requested', () => {
  assert.equal(reject(), 'requested');
  for (const mode of ['pause', 'audit'] as const)
    assert.equal(of(running.object, itsOwn, { mode }), 'superseded');
});

test('a request is for the revision that runs', () => {
  const later = running.annotate('deployment.kubernetes.io/revision', '4').object;
  assert.equal(of(later, itsOwn, { mode: 'reject' }), 'superseded');
  const another = preload({ templateHash: hash }, {
    owner: itsOwn.owner,
    name: 'web-of-no-revision',
  } as object);
  assert.equal(reject(another), 'superseded');
});

test('of several requests the newest one counts, and of two in the same second always the same one', () => {
  const older = sibling({ createdAt: itsOwn.createdAt - 1000 });
  const newer = sibling({ createdAt: itsOwn.createdAt + 1000 });
  assert.equal(reject(itsOwn, { siblings: [older] }), 'requested');
  assert.equal(reject(itsOwn, { siblings: [older, newer] }), 'superseded');
  const twin = sibling({ createdAt: itsOwn.createdAt });
  assert.deepEqual(
    new Set([reject(itsOwn, { siblings: [twin] }), reject(twin, { siblings: [itsOwn] })]),
    new Set(['requested', 'superseded']),
  );
});

test('a newer one that is being deleted, or is of another revision, supersedes nothing', () => {
  const createdAt = itsOwn.createdAt + 1000;
  assert.equal(reject(itsOwn, { siblings: [sibling({ createdAt, deleting: true })] }), 'requested');
  assert.equal(reject(itsOwn, { siblings: [sibling({ createdAt }, '2')] }), 'requested');
});

const readyAt = (seconds: number): ImagePreload => {
  const condition = {
    type: 'Ready',
    status: 'True',
    lastTransitionTime: new Date(at(seconds)).toISOString(),
  };
  return { ...itsOwn, status: { conditions: [condition] } as unknown as NonNullable<ImagePreload['status']> };
};

test('a request that is not made again ends at its time to live after it became ready', () => {
  assert.equal(requestEndsAt(readyAt(60)), at(60 + 3600));
  assert.equal(reject(readyAt(60), { now: at(60 + 3599) }), 'requested');
  assert.equal(reject(readyAt(60), { now: at(60 + 3600) }), 'finished');
});

test('one that does not become ready ends at its time to live after its deadline', () => {
  assert.equal(requestEndsAt(itsOwn), at(3600 + 3600));
  assert.equal(reject(itsOwn, { now: at(7199) }), 'requested');
  assert.equal(reject(itsOwn, { now: at(7200) }), 'finished');
});

test('a request that has ended stays so', () => {
  assert.equal(reject(finished), 'finished');
});

test('once the update has passed, the request has become its rollout', () => {
  assert.equal(of(rolledOut({ updatedReplicas: 1 }), readyAt(1), { mode: 'reject' }), 'rolling');
});

test('one that asks for more than the gate carries is needed by nobody', () => {
  const refused = 'tolerations has 101 entries, more than 100';
  const { owner: _, ...byHand } = itsOwn;
  assert.equal(of(undefined, { ...byHand, refused }), 'superseded');
  assert.equal(of(held.object, { ...itsOwn, refused }), 'superseded');
  assert.equal(of(undefined, { ...byHand, refused }, { mode: undefined }), 'unserved');
});
