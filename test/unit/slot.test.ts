import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PULL_TIMES } from '../../src/preloads/assess/pull-times.ts';
import { judgeSlot, overtaken, type Slot } from '../../src/preloads/assess/slot.ts';
import {
  at,
  BACK_OFF,
  DENIED,
  DIGEST,
  NOT_FOUND,
  type PullerBuilder,
  puller,
  REFUSED,
} from '../support/unit/preload-builder.ts';

const judge = (...pods: PullerBuilder[]): Slot =>
  judgeSlot(
    pods.map(({ pod }) => pod),
    () => undefined,
    PULL_TIMES,
  );

function failed(slot: Slot): Slot & { state: 'failed' } {
  assert.equal(slot.state, 'failed');
  return slot as Slot & { state: 'failed' };
}

test('without a pod the image is missing', () => {
  assert.deepEqual(judge(), { state: 'missing' });
});

test('a pull runs from when the kubelet took the pod on, before that from when the pod was made', () => {
  assert.deepEqual(judge(puller()), { state: 'pulling', since: at(0) });
  const taken = puller()
    .pulling()
    .with({ startedAt: at(4) });
  assert.deepEqual(judge(taken), { state: 'pulling', since: at(4), creating: taken.pod });
});

test('a success says what was pulled, when, and how long it took', () => {
  const imageID = `registry.test/app@${DIGEST}`;
  assert.deepEqual(judge(puller().pulled(7)), { state: 'pulled', imageID, finishedAt: at(7), seconds: 7 });
});

test('a success counts, whatever other attempts came to', () => {
  const first = puller().failing(NOT_FOUND);
  const second = puller().attempt(2, 30).pulled(40);
  assert.equal(judge(first, second).state, 'pulled');
  assert.equal(judge(second, first).state, 'pulled');
  assert.equal(judge(puller().pulled(3), puller().attempt(2, 30).failing(REFUSED)).state, 'pulled');
});

test('a failure lasts until a later attempt has succeeded', () => {
  const first = puller().failing(NOT_FOUND);
  const running = failed(judge(first, puller().attempt(2, 30).pulling()));
  assert.equal(running.failure.reason, 'NotFound');
  assert.deepEqual([running.attempt, running.failedAttempts], [2, 1]);
  assert.deepEqual([running.retryAt, running.retryingSince], [undefined, at(30)]);
});

test('of several failures the latest one is told', () => {
  const slot = failed(judge(puller().attempt(2, 30).failing(REFUSED), puller().failing(NOT_FOUND)));
  assert.equal(slot.failure.reason, 'ConnectionRefused');
  assert.equal(slot.failedAttempts, 2);
});

for (const [attempt, wait] of [
  [1, 30],
  [2, 60],
  [3, 120],
  [4, 240],
  [5, 300],
  [50, 300],
] as const) {
  test(`after attempt ${attempt} the next one is due ${wait} s after it was made`, () => {
    const slot = failed(judge(puller().attempt(attempt, 1000).failing(REFUSED)));
    assert.equal(slot.retryAt, at(1000 + wait));
    assert.equal(slot.retryingSince, undefined);
  });
}

test('a first "unauthorized" is doubted and asked again after 2 s, a second one is believed', () => {
  const first = failed(judge(puller().failing(DENIED)));
  assert.deepEqual([first.failure.definitive, first.retryAt], [false, at(2)]);
  const second = failed(judge(puller().failing(DENIED), puller().attempt(2, 2).failing(DENIED)));
  assert.deepEqual([second.failure.definitive, second.retryAt], [true, at(2 + 30)]);
});

test('after the back-off "unauthorized" is asked again after 2 s, too: the secret may be new to the node', () => {
  const third = failed(judge(puller().attempt(3, 32).failing(DENIED)));
  assert.deepEqual([third.failure.definitive, third.retryAt], [true, at(32 + 2)]);
  const fourth = failed(judge(puller().attempt(4, 34).failing(DENIED)));
  assert.equal(fourth.retryAt, at(34 + 60));
});

test('a first "not found" is told, and asked for again after 5 s; a second one is believed', () => {
  const first = failed(judge(puller().failing(NOT_FOUND)));
  assert.deepEqual([first.failure.reason, first.failure.definitive], ['NotFound', false]);
  assert.equal(first.retryAt, at(5));
  const second = failed(judge(puller().failing(NOT_FOUND), puller().attempt(2, 5).failing(NOT_FOUND)));
  assert.deepEqual([second.failure.definitive, second.retryAt], [true, at(5 + 30)]);
});

test("the registry's words are kept while the kubelet says no more than that it backs off", () => {
  const known = { reason: 'NotFound', definitive: true, message: 'app:2: not found' } as const;
  const pods = [puller().attempt(2, 5).failing(BACK_OFF).pod];
  assert.deepEqual(failed(judgeSlot(pods, () => known, PULL_TIMES)).failure, known);
  assert.equal(failed(judgeSlot(pods, () => undefined, PULL_TIMES)).failure.reason, 'Unknown');
});

test('what kept the pod from its pull is not taken for the reason why the pull failed', () => {
  const known = { reason: 'PodNotStarted', definitive: false, message: 'FailedMount: not there' } as const;
  const { failure } = failed(judgeSlot([puller().failing(BACK_OFF).pod], () => known, PULL_TIMES));
  assert.equal(failure.reason, 'Unknown');
});

test('new words replace the known ones, even if nobody knows what they mean', () => {
  const known = { reason: 'NotFound', definitive: true, message: 'app:2: not found' } as const;
  const pods = [puller().failing('failed to extract layer: something odd').pod];
  const { failure } = failed(judgeSlot(pods, () => known, PULL_TIMES));
  assert.deepEqual([failure.reason, failure.definitive], ['Unknown', false]);
  assert.match(failure.message, /something odd/);
});

test('what is known is looked up only where it is needed', () => {
  const unexpected = () => assert.fail('looked up');
  for (const pod of [puller(), puller().pulled(1), puller().failing(NOT_FOUND)])
    judgeSlot([pod.pod], unexpected, PULL_TIMES);
});

test('a pod that the node rejected is a failure of that node, with its words', () => {
  const { failure } = failed(judge(puller().rejected('OutOfpods', 'Node has no room')));
  assert.deepEqual(failure, {
    reason: 'PodRejected',
    definitive: false,
    message: 'OutOfpods: Node has no room',
  });
});

test('an attempt is overtaken once a later one has an outcome of its own, not before', () => {
  const first = puller().failing(NOT_FOUND).pod;
  const second = puller().attempt(2, 30);
  assert.deepEqual(overtaken([first]), []);
  assert.deepEqual(overtaken([first, second.pulling().pod]), []);
  assert.deepEqual(overtaken([first, second.failing(NOT_FOUND).pod]), [first]);
  assert.deepEqual(overtaken([second.pulled(40).pod, first]), [first]);
});
