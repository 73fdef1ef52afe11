import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImagePreload, ImagePreloadSpec, ImagePreloadStatus } from '../../src/api/image-preload.ts';
import { assess } from '../../src/preloads/assess/assess.ts';
import { preloadStatus, RELEASE_ALLOWED } from '../../src/preloads/preload-status.ts';
import { requestProgress } from '../../src/preloads/request-progress.ts';
import {
  at,
  BACK_OFF,
  images,
  nodes,
  preload,
  puller,
  REFUSED,
  refusedOn,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';

/** The preload with the status that the controller writes there. */
function asStored(given: Situation): ImagePreload {
  const itself = given.preload ?? preload();
  const status = preloadStatus({
    preload: itself,
    assessment: assess(situation(given)),
    activity: 'requested',
    now: at(given.now ?? 0),
  });
  return { ...itself, status };
}
const progressOf = (given: Situation, seconds = given.now ?? 0) =>
  requestProgress(asStored(given), at(seconds));
const patient = (spec: Partial<ImagePreloadSpec> = {}) => preload({ nodeTimeoutSeconds: 86_400, ...spec });

test('one that nobody has looked at yet is waited for, and nothing is known of it but its age', () => {
  assert.deepEqual(requestProgress(preload(), at(7)), {
    outcome: { kind: 'wait' },
    readyNodes: 0,
    desiredNodes: 0,
    elapsedSeconds: 7,
    remainingSeconds: undefined,
  });
});

test('a clock that is behind the API server’s makes no negative age', () => {
  assert.equal(requestProgress(preload(), at(-3)).elapsedSeconds, 0);
});

test('while it pulls it is waited for, and so is one that fails in a way that may pass', () => {
  const pulling = progressOf({ nodes: nodes(2), pods: [puller('n1').pulled(5), puller('n2').pulling()] });
  assert.deepEqual([pulling.outcome.kind, pulling.readyNodes, pulling.desiredNodes], ['wait', 1, 2]);
  for (const words of [REFUSED, BACK_OFF]) {
    const given = { nodes: nodes(1), pods: [puller('n1').failing(words)] };
    assert.equal(progressOf(given).outcome.kind, 'wait', words);
  }
});

test('it is ready as soon as enough nodes are, and says how many', () => {
  const all = progressOf({ nodes: nodes(1), pods: [puller('n1').pulled(5)], now: 6 });
  assert.deepEqual(all.outcome, { kind: 'release', message: '1 of 1 nodes have every image' });
  const enough = { preload: preload({ minNodes: 1 }), nodes: nodes(3), pods: [puller('n1').pulled(5)] };
  assert.equal(progressOf(enough).outcome.kind, 'release');
});

test("a definitive answer of the registry fails, in the registry's words", () => {
  const { outcome } = progressOf({ nodes: nodes(2), pods: refusedOn(['n1', 'n2']) });
  assert.equal(outcome.kind, 'fail');
  assert.match(outcome.kind === 'fail' ? outcome.message : '', /app:2: not found \(NotFound\)$/);
});

test('after the deadline it passes if a node has every image, and fails if none has', () => {
  const given = { preload: patient(), nodes: nodes(2), now: 4000 };
  const some = progressOf({ ...given, pods: [puller('n1').pulled(5), puller('n2').pulling()] });
  assert.equal(some.outcome.kind, 'release');
  const none = progressOf(given);
  assert.equal(none.outcome.kind, 'fail');
  assert.match(none.outcome.kind === 'fail' ? none.outcome.message : '', /deadline has passed: 0 of 2/);
});

test('without an eligible node it waits for 2 minutes', () => {
  assert.deepEqual(
    [0, 119, 120, 500].map((now) => progressOf({ nodes: [], noNodesSince: 0, now }).outcome.kind),
    ['wait', 'wait', 'release', 'release'],
  );
});

test('a status that an earlier version wrote is waited for, whatever it says', () => {
  const stored = asStored({ nodes: nodes(1), pods: [puller('n1').pulled(5)], now: 6 });
  assert.ok(stored.status);
  const conditions = stored.status.conditions.filter(({ type }) => type !== RELEASE_ALLOWED);
  assert.deepEqual(requestProgress({ ...stored, status: { ...stored.status, conditions } }, at(6)).outcome, {
    kind: 'wait',
  });
});

test('what is left is estimated only once a node is ready', () => {
  const pulling = { nodes: nodes(2), pods: [puller('n1').pulling()] };
  assert.equal(progressOf(pulling).remainingSeconds, undefined);
  const shown = { nodes: nodes(2), pods: [puller('n1').pulled(20), puller('n2').pulling()], now: 20 };
  assert.equal(progressOf(shown).remainingSeconds, 20);
});

/** A status as another replica reads it. */
function told(fields: Partial<ImagePreloadStatus>, spec: Partial<ImagePreloadSpec> = {}) {
  const stored = asStored({ nodes: nodes(1), preload: preload(spec) });
  const status = { ...stored.status, ...fields } as ImagePreloadStatus;
  return requestProgress({ ...stored, status }, at(0)).remainingSeconds;
}
const slowest = (...seconds: number[]) =>
  images(...seconds.map((_, index) => `image-${index}`)).map(({ image }, index) => ({
    image,
    digests: [],
    alreadyPresent: 0,
    pulled: 1,
    failed: 0,
    slowest: { node: 'n1', seconds: seconds[index] ?? 0 },
  }));

test('the estimate is as many waves as are left, each as slow as the slowest node, image after image', () => {
  const counts = { desiredNodes: 10, readyNodes: 2, pullingNodes: 4 };
  assert.equal(told({ ...counts, images: slowest(30) }), 60);
  assert.equal(told({ ...counts, images: slowest(30, 5) }), 70);
  assert.equal(told({ ...counts, images: slowest(30) }, { minNodes: '50%' }), 30);
  assert.equal(told({ ...counts, pullingNodes: 0, images: slowest(30) }), 240);
});

test('it never promises a time before now, nor one where nothing was pulled', () => {
  const counts = { desiredNodes: 4, readyNodes: 3, pullingNodes: 1 };
  assert.equal(told({ ...counts, images: slowest(30) }, { minNodes: 1 }), 0);
  assert.equal(told({ ...counts, images: [] }), undefined);
  assert.equal(told({ ...counts, readyNodes: 0, images: slowest(30) }), undefined, 'who was ready has left');
});
