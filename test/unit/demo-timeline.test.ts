import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTimeline, type DeploymentView, type PodView } from '../demo/timeline.ts';

const starting: PodView = { namespace: 'n', app: 'a', name: 'p', image: 'v1', running: false, ready: false };
const ready: PodView = { ...starting, running: true, ready: true };
const held: DeploymentView = { namespace: 'n', name: 'a', image: 'v2', held: true, complete: false };
const released: DeploymentView = { ...held, held: false };

test('the time without a ready pod is counted between the two moments only', () => {
  const timeline = createTimeline();
  timeline.podChanged(1, 'n/p', starting);
  timeline.podChanged(3, 'n/p', ready);
  timeline.podChanged(10, 'n/p', { ...ready, ready: false });
  timeline.podChanged(11, 'n/p', undefined);
  timeline.podChanged(12, 'n/q', { ...starting, name: 'q' });
  timeline.podChanged(15, 'n/q', { ...ready, name: 'q' });
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 5, 20), 5);
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 12, 14), 2);
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 3, 10), 0);
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 0, 20), 7);
});

test('one ready pod of several is enough', () => {
  const timeline = createTimeline();
  timeline.podChanged(0, 'n/p', ready);
  timeline.podChanged(0, 'n/q', { ...ready, name: 'q' });
  timeline.podChanged(5, 'n/p', undefined);
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 0, 10), 0);
  assert.equal(timeline.readyPods('n', 'a'), 1);
  assert.equal(timeline.downSince('n', 'a'), undefined);
});

test('a Deployment that is down is so since its last ready pod was gone', () => {
  const timeline = createTimeline();
  timeline.podChanged(0, 'n/p', ready);
  timeline.podChanged(5, 'n/p', { ...ready, ready: false });
  timeline.podChanged(7, 'n/p', undefined);
  assert.equal(timeline.downSince('n', 'a'), 5);
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 0, 9), 4);
});

test('the pods of other Deployments and namespaces do not count', () => {
  const timeline = createTimeline();
  timeline.podChanged(0, 'n/p', ready);
  timeline.podChanged(0, 'm/p', { ...ready, namespace: 'm' });
  timeline.podChanged(0, 'n/b', { ...ready, app: 'b', name: 'b' });
  timeline.podChanged(4, 'n/p', undefined);
  assert.equal(timeline.secondsWithoutReadyPod('n', 'a', 0, 10), 6);
});

test('a pod starts when it is first seen running, and counts by its image', () => {
  const timeline = createTimeline();
  timeline.podChanged(1, 'n/p', starting);
  timeline.podChanged(2.5, 'n/p', { ...starting, running: true });
  timeline.podChanged(4, 'n/p', ready);
  timeline.podChanged(5, 'n/q', { ...starting, name: 'q' });
  timeline.podChanged(6, 'n/r', { ...starting, name: 'r', image: 'v2' });
  assert.deepEqual(timeline.starts('n', 'a', 'v1'), [
    { pod: 'p', seconds: 1.5 },
    { pod: 'q', seconds: Number.POSITIVE_INFINITY },
  ]);
});

test('a held rollout begins with its release', () => {
  const timeline = createTimeline();
  assert.equal(timeline.rollout('n', 'a', 'v2'), undefined);
  timeline.deploymentChanged(1, { ...held, image: 'v1', held: false, complete: true });
  timeline.deploymentChanged(2, held);
  timeline.deploymentChanged(33, released);
  const expected = { askedAt: 2, wasHeld: true, releasedAt: 33 };
  assert.deepEqual(timeline.rollout('n', 'a', 'v2'), { ...expected, completeAt: undefined });
  timeline.deploymentChanged(36, { ...released, complete: true });
  timeline.deploymentChanged(40, { ...released, complete: true });
  assert.deepEqual(timeline.rollout('n', 'a', 'v2'), { ...expected, completeAt: 36 });
});

test('a rollout that nobody held is one from its update on', () => {
  const timeline = createTimeline();
  timeline.deploymentChanged(2, released);
  timeline.deploymentChanged(36, { ...released, complete: true });
  const expected = { askedAt: 2, wasHeld: false, releasedAt: 2, completeAt: 36 };
  assert.deepEqual(timeline.rollout('n', 'a', 'v2'), expected);
});
