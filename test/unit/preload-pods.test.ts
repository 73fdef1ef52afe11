import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Mode } from '../../src/api/names.ts';
import type { Node } from '../../src/preloads/nodes/node.ts';
import { podKey } from '../../src/preloads/pods/pod-index.ts';
import { PULLER_RESOURCES } from '../../src/preloads/pods/puller-resources.ts';
import { createPreloadPods } from '../../src/preloads/preload-pods.ts';
import { at, images, node, preload, puller } from '../support/unit/preload-builder.ts';
import { KEY, preloadParts } from '../support/unit/preload-parts.ts';

function withPods(given: { grant?: number; nodes?: readonly Node[]; mode?: Mode } = {}) {
  const { nodes = [node('n1'), node('n2')], mode, ...rest } = given;
  const parts = preloadParts(rest);
  const woken: string[] = [];
  const preloadPods = createPreloadPods({
    ...parts,
    nodes: { get: (name) => nodes.find((one) => one.name === name) },
    modeOf: () => mode,
    pullerResources: PULLER_RESOURCES,
    wake: (key) => void woken.push(key),
  });
  return { ...parts, preloadPods, woken };
}

function planOf(...names: string[]) {
  const [image] = images('registry.test/app:2');
  assert.ok(image);
  const wanted = names.map((name) => ({ node: name, image, attempt: 1, firstAttemptAt: at(0) }));
  return { wanted, running: 3, remove: [], timedOut: [], creating: [], wakeAt: undefined };
}

test('as many pulls of a plan start as the budget grants, the most important first', () => {
  const { preloadPods, created, demands, stored, state } = withPods({ grant: 2 });
  preloadPods.start(KEY, stored, state, planOf('n2', 'n1', 'n3'), []);
  assert.deepEqual(
    created.map((pod) => pod.node),
    ['n2', 'n1'],
  );
  assert.deepEqual(demands, [{ key: KEY, namespace: 'shop', urgent: true, running: 3, wanted: 3 }]);
});

test('when a pod does not come after all, its preload is looked at again and its place is shared', () => {
  const { preloadPods, created, woken, calls, stored, state } = withPods();
  preloadPods.start(KEY, stored, state, planOf('n1'), []);
  assert.deepEqual([woken, calls], [[], []]);
  created[0]?.settled();
  assert.deepEqual([woken, calls], [[KEY], ['share']]);
});

test('a pull ends if its node counts for no preload any more', () => {
  const { preloadPods, calls, seen, state } = withPods({
    nodes: [node('n1'), node('n2', { unschedulable: true })],
  });
  for (const name of ['n1', 'n2', 'gone']) seen(puller(name).pulling());
  seen(puller('n2').attempt(2, 5).pulled(9));
  preloadPods.endStray(state);
  assert.deepEqual(calls, ['delete n2', 'delete gone']);
});

test('a pull goes on if its node counts for another live preload', () => {
  const { preloadPods, calls, seen, over, state, states, sharers } = withPods();
  seen(puller('n1').pulling());
  const other = states.of('shop/api-1', preload({}, { name: 'api-1', uid: 'uid-api-1' }));
  over();
  preloadPods.endStray(state);
  assert.deepEqual(calls, []);
  sharers.use(other, { live: false, urgent: false });
  preloadPods.endStray(state);
  assert.deepEqual(calls, ['delete n1']);
});

test('a pod that a live preload needs is not deleted', async () => {
  const { preloadPods, calls, seen, over } = withPods();
  const found = [seen(puller('n1').pulled(5))];
  assert.equal(await preloadPods.removeUnneeded(found), true);
  assert.deepEqual(calls, []);
  over();
  assert.equal(await preloadPods.removeUnneeded(found), true);
  assert.deepEqual(calls, ['delete n1']);
});

test('somebody comes back for a pod that could not be deleted', async () => {
  const { preloadPods, undeletable, seen, over, state, found } = withPods();
  undeletable.add('n2');
  const seenPods = ['n1', 'n2'].map((name) => seen(puller(name).pulled(5)));
  assert.equal(await preloadPods.retireSuccesses(state), 1000);
  found.misnamed.push(...seenPods);
  assert.equal(await preloadPods.sweep(KEY), 60_000);
  over();
  assert.equal(await preloadPods.removeUnneeded(seenPods), false);
});

test('the pod of a success is deleted, and its node goes on counting', async () => {
  const { preloadPods, calls, pods, seen, state } = withPods();
  const pod = seen(puller('n1').pulled(5));
  seen(puller('n2').pulling());
  assert.equal(await preloadPods.retireSuccesses(state), undefined);
  assert.deepEqual(calls, ['delete n1']);
  pods.observe(podKey(pod), undefined);
  assert.deepEqual(pods.findOf(pod)('n1'), [pod]);
});

test('an orphan is deleted where nobody opted in, and left to the garbage collector elsewhere', async () => {
  const deletes = async (given: { mode?: Mode }) => {
    const { preloadPods, found, calls } = withPods(given);
    found.orphans.push(puller('n1').pod);
    assert.equal(await preloadPods.removeOrphans(KEY), undefined);
    return calls;
  };
  assert.deepEqual(await deletes({ mode: 'pause' }), []);
  assert.deepEqual(await deletes({}), ['delete n1']);
});

test('a pod that never showed up is forgotten after a minute, and its place is shared', () => {
  const { preloadPods, pods, clock, calls, podOf } = withPods();
  pods.expect({ ...podOf(puller('n1')), uid: '' });
  assert.equal(preloadPods.expire(), at(60));
  assert.deepEqual(calls, []);
  clock.advance(60_000);
  assert.equal(preloadPods.expire(), undefined);
  assert.deepEqual([pods.running, calls], [0, ['share']]);
});
