import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPodIndex, podKey } from '../../src/preloads/pods/pod-index.ts';
import { pullOutcome } from '../../src/preloads/pods/pull-result.ts';
import type { PullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { at, IMAGE, puller, REFUSED } from '../support/unit/preload-builder.ts';

/** As the controller makes it before it asks the API server. */
const expected = (seconds = 0, node = 'n1') => puller(node).with({ uid: '', createdAt: at(seconds) }).pod;
const pull = (image = IMAGE) => ({ namespace: 'shop', pull: image });
const found = (index: ReturnType<typeof createPodIndex>, node = 'n1') => index.findOf(pull())(node);

test('pods are found by what they pull and where', () => {
  const index = createPodIndex({ now: () => at(0) });
  for (const node of ['n1', 'n2']) index.observe(`shop/${node}`, puller(node).pulling().pod);
  index.observe('shop/other', puller('n1').image('other:1').pulling().pod);
  assert.deepEqual(
    found(index).map(({ name }) => name),
    [puller('n1').pod.name],
  );
  assert.equal(index.ofPull(pull()).length, 2);
  assert.deepEqual(index.findOf(pull('nothing'))('n1'), []);
});

test('a pod of another namespace is never found, whatever it claims to pull', () => {
  const index = createPodIndex({ now: () => at(0) });
  const stranger = puller('n1').pulled(5).with({ namespace: 'evil' }).pod;
  index.observe(podKey(stranger), stranger);
  assert.deepEqual([found(index), index.ofPull(pull())], [[], []]);
  assert.deepEqual(index.findOf({ namespace: 'evil', pull: IMAGE })('n1'), [stranger]);
});

test('a pod that was just asked for counts, and the real one takes its place', () => {
  const index = createPodIndex({ now: () => at(0) });
  assert.equal(index.expect(expected()), true);
  assert.deepEqual([found(index).length, index.running], [1, 1]);
  const real = puller().pulling().pod;
  index.observe(podKey(real), real);
  assert.deepEqual([found(index), index.running], [[real], 1]);
  index.forget(expected());
  assert.deepEqual(found(index), [real], 'what has been seen is not forgotten');
});

test('a pod that is being deleted is not found, and its name is not free yet', () => {
  const index = createPodIndex({ now: () => at(0) });
  const real = puller().pulling().with({ deleting: true }).pod;
  index.observe(podKey(real), real);
  assert.deepEqual([found(index), index.running], [[], 0]);
  assert.equal(index.expect(expected()), false);
  index.observe(podKey(real), undefined);
  assert.equal(index.expect(expected()), true);
});

test('a refused pod stays as a failure with the words of the refusal, and runs no more', () => {
  const index = createPodIndex({ now: () => at(0) });
  index.expect(expected());
  index.refuse(expected(), 'exceeded quota: pods=10');
  const [pod] = found(index);
  assert.ok(pod);
  const outcome = pullOutcome(pod);
  assert.deepEqual([outcome.state, index.running], ['failed', 0]);
  assert.match(outcome.state === 'failed' ? outcome.message : '', /exceeded quota/);
  assert.equal(index.expire(at(10_000)), undefined);
  assert.equal(found(index).length, 1, 'a failure does not expire');
  index.forget(expected());
  assert.deepEqual(found(index), []);
});

test('a refusal that comes after the pod was seen is no refusal of that pod', () => {
  const index = createPodIndex({ now: () => at(0) });
  index.expect(expected());
  const real = puller().pulling().pod;
  index.observe(podKey(real), real);
  index.refuse(expected(), 'late');
  assert.deepEqual(found(index), [real]);
});

test('what was expected and not seen for a minute is forgotten, and it is told when that will be', () => {
  const index = createPodIndex({ now: () => at(0) });
  index.expect(expected(0));
  index.expect(expected(20, 'n2'));
  assert.equal(index.expire(at(59)), at(60));
  assert.equal(found(index).length, 1);
  assert.equal(index.expire(at(60)), at(80));
  assert.deepEqual([found(index).length, found(index, 'n2').length, index.running], [0, 1, 1]);
  assert.equal(index.expire(at(80)), undefined);
  assert.equal(index.running, 0);
});

test('what waits for its turn to be created is not forgotten', () => {
  const index = createPodIndex({ now: () => at(0) });
  index.expect(expected(0));
  assert.equal(
    index.expire(at(600), () => true),
    at(660),
  );
  assert.equal(index.running, 1);
  assert.equal(index.expire(at(660)), undefined);
  assert.equal(index.running, 0);
});

const anyPod = fc
  .record({
    node: fc.constantFrom('n1', 'n2'),
    image: fc.constantFrom('a:1', 'b:1'),
    state: fc.constantFrom('new', 'pulling', 'pulled', 'failing', 'deleting'),
  })
  .map(({ node, image, state }): PullerPod => {
    const pod = puller(node).image(image);
    if (state === 'pulling') return pod.pulling().pod;
    if (state === 'pulled') return pod.pulled(5).pod;
    if (state === 'failing') return pod.failing(REFUSED).pod;
    return pod.with({ deleting: state === 'deleting' }).pod;
  });
const anyStep = fc.record({
  act: fc.constantFrom(
    'observe' as const,
    'gone' as const,
    'expect' as const,
    'refuse' as const,
    'forget' as const,
  ),
  pod: anyPod,
});

test('whatever happens, the running count is what a recount says, and every pod is found in one place', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => {
      const index = createPodIndex({ now: () => at(0) });
      for (const { act, pod } of steps) {
        if (act === 'observe') index.observe(podKey(pod), pod);
        else if (act === 'gone') index.observe(podKey(pod), undefined);
        else if (act === 'expect') index.expect({ ...pod, uid: '' });
        else if (act === 'refuse') index.refuse(pod, 'no');
        else index.forget(pod);

        const all = ['a:1', 'b:1'].flatMap((image) => index.ofPull(pull(image)));
        const running = all.filter(
          (one) => !one.deleting && ['starting', 'pulling'].includes(pullOutcome(one).state),
        );
        assert.equal(index.running, running.length);
        assert.equal(new Set(all.map(podKey)).size, all.length);
        const places = ['a:1', 'b:1'].flatMap((image) =>
          ['n1', 'n2'].flatMap((node) => index.findOf(pull(image))(node)),
        );
        assert.deepEqual(new Set(places), new Set(all.filter(({ deleting }) => !deleting)));
      }
    }),
  );
});

test('of the successes that are kept the oldest go first, and count all the same until they are forgotten', () => {
  const index = createPodIndex({ now: () => at(0) });
  const pods = ['n1', 'n2', 'n3'].map((node) => puller(node).pulled(5).pod);
  const failing = puller('n4').failing(REFUSED).pod;
  for (const pod of [failing, ...pods]) index.observe(podKey(pod), pod);
  assert.deepEqual(index.retire(3), []);
  const [oldest] = pods;
  assert.ok(oldest);
  assert.deepEqual(index.retire(2), [oldest]);
  assert.deepEqual(index.retire(2), [], 'once');

  index.observe(podKey(oldest), { ...oldest, deleting: true });
  index.observe(podKey(oldest), undefined);
  assert.deepEqual(found(index), [oldest]);
  index.forget(oldest);
  assert.deepEqual(found(index), []);
  assert.equal(index.ofPull(pull()).length, 3);
});

test('whoever has many successes does not have those of another namespace deleted', () => {
  const index = createPodIndex({ now: () => at(0) });
  const small = puller('n1').pulled(5).pod;
  index.observe(podKey(small), small);
  for (let n = 0; n < 10; n += 1) {
    const pod = puller(`n${n}`).pulled(5).with({ namespace: 'large' }).pod;
    index.observe(podKey(pod), pod);
  }
  const nodes = index.retire(8).map(({ namespace, node }) => `${namespace} ${node}`);
  assert.deepEqual(nodes, ['large n0', 'large n1', 'large n2']);
});

test('how long a pull has its place is told by our clock', () => {
  let now = at(0);
  const index = createPodIndex({ now: () => now });
  const since = () => [...index.underWay()].map(([{ node }, time]) => [node, time]);
  index.expect(expected(0));
  now = at(20);
  const real = puller().attempt(1, 5).pulling().pod;
  index.observe(podKey(expected()), { ...real, startedAt: at(-5000) });
  const ofAnother = puller('n2').attempt(1, -60).pulling().pod;
  index.observe(podKey(ofAnother), ofAnother);
  const ahead = puller('n3').attempt(1, 3600).pulling().pod;
  index.observe(podKey(ahead), ahead);
  assert.deepEqual(since(), [
    ['n1', at(0)],
    ['n2', at(-60)],
    ['n3', at(20)],
  ]);
});

test('a pull that was ended as it took too long is a failure until it is forgotten', () => {
  const index = createPodIndex({ now: () => at(0) });
  const { pod } = puller().pulling();
  index.observe(podKey(pod), pod);
  index.observe(podKey(pod), undefined);
  index.timedOut(pod, 'too long');
  const [failed] = found(index);
  assert.ok(failed);
  assert.partialDeepStrictEqual(pullOutcome(failed), {
    state: 'failed',
    reason: 'Timeout',
    message: 'too long',
  });
  assert.deepEqual([index.running, index.expire(at(1000))], [0, undefined]);
  index.forget(failed);
  assert.deepEqual(found(index), []);
});
