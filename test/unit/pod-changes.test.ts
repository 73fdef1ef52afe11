import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPodChanges } from '../../src/preloads/pod-changes.ts';
import { createEndedPulls } from '../../src/preloads/pods/ended-pulls.ts';
import { podKey } from '../../src/preloads/pods/pod-index.ts';
import { pullOutcome } from '../../src/preloads/pods/pull-result.ts';
import type { PullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { puller } from '../support/unit/preload-builder.ts';
import { KEY, preloadParts } from '../support/unit/preload-parts.ts';

function withChanges() {
  const parts = preloadParts();
  const woken: string[] = [];
  const ended: string[] = [];
  const endedPulls = createEndedPulls(parts.clock, ({ result }) => void ended.push(result));
  endedPulls.start();
  const changes = createPodChanges({
    ...{ ...parts, endedPulls },
    wakeSharers: ({ pull }, withinMs) =>
      void woken.push(`${pull === parts.pull.pull ? 'sharers' : pull} ${withinMs}`),
    wake: (key, withinMs) => void woken.push(`${key} ${withinMs}`),
  });
  const known = new Map<string, PullerPod>();
  return {
    ...{ ...parts, changes, ended },
    /** The watch shows the pod; undefined for one that is gone. Returns who was woken. */
    shows(key: string, pod: PullerPod | undefined): string[] {
      const before = known.get(key);
      if (pod === undefined) known.delete(key);
      else known.set(key, pod);
      changes.observe(key, pod, before);
      return woken.splice(0);
    },
  };
}

test('a pull that begins is looked at within a second, and one that ends at once', () => {
  const { shows, podOf } = withChanges();
  const key = podKey(podOf(puller()));
  assert.deepEqual(shows(key, podOf(puller())), ['sharers 1000', `${KEY} 1000`]);
  assert.deepEqual(shows(key, podOf(puller().pulling())), ['sharers 1000', `${KEY} 1000`]);
  assert.deepEqual(shows(key, podOf(puller().pulled(5))), ['sharers 0', `${KEY} 0`]);
});

test('a pod that is gone is looked at at once, and its place is shared', () => {
  const { shows, podOf, calls } = withChanges();
  const key = podKey(podOf(puller()));
  shows(key, podOf(puller().pulling()));
  calls.length = 0;
  assert.deepEqual(shows(key, undefined), ['sharers 0', `${KEY} 0`]);
  assert.deepEqual(calls, ['share']);
  assert.deepEqual(shows('shop/never-seen', undefined), []);
});

test('a pull whose place was taken back because it took too long is a failure, reported once', () => {
  const { shows, podOf, pods, pull, overdue, ended } = withChanges();
  const pod = podOf(puller().pulling());
  shows(podKey(pod), pod);
  overdue.add(pod.uid);
  shows(podKey(pod), undefined);
  const [left, ...others] = pods.ofPull(pull);
  assert.ok(left);
  const outcome = pullOutcome(left);
  assert.deepEqual([outcome.state, 'reason' in outcome && outcome.reason, others], ['failed', 'Timeout', []]);
  assert.deepEqual(ended, ['TimedOut']);
});

test('a pull that ended before it could be taken back is no failure', () => {
  const { shows, podOf, pods, pull, overdue, ended } = withChanges();
  const pod = podOf(puller().pulled(5));
  shows(podKey(pod), pod);
  overdue.add(pod.uid);
  shows(podKey(pod), undefined);
  assert.deepEqual([pods.ofPull(pull), ended], [[], ['Pulled']]);
});

test('a pod that somebody else deletes goes at once if no preload needs it', () => {
  const { shows, podOf, calls, over } = withChanges();
  const pod = podOf(puller().pulling());
  shows(podKey(pod), { ...pod, deleting: true });
  assert.deepEqual(calls, ['share']);
  over();
  shows(podKey(pod), { ...pod, deleting: true });
  assert.deepEqual(calls, ['share', 'delete n1', 'share']);
});

test('a pod that has its image and does not end is deleted after 30 s, again if that fails, and its node goes on counting', async () => {
  const { shows, podOf, clock, calls, undeletable, pods, pull, changes } = withChanges();
  undeletable.add('n1');
  const pod = podOf(puller().pulled(5).with({ phase: 'Running' }));
  shows(podKey(pod), pod);
  calls.length = 0;
  for (const deletes of [0, 1, 2]) {
    assert.deepEqual(calls, Array(deletes).fill('delete n1'));
    clock.advance(30_000);
    await Promise.resolve();
    await Promise.resolve();
  }
  shows(podKey(pod), undefined);
  assert.deepEqual(pods.ofPull(pull), [pod]);
  changes.stop();
  assert.deepEqual(clock.timers(), []);
});
