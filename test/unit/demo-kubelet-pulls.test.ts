import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kubeletPulls } from '../demo/kubelet-pulls.ts';

function pulls(message: string, image = 'r/app:v2') {
  const event = { message, involvedObject: { name: 'pod' }, source: { host: 'node-1' } };
  return kubeletPulls({ items: [event] }, image);
}

test('the time of a pull is the one that the kubelet tells', () => {
  const pull = { pod: 'pod', node: 'node-1' };
  assert.deepEqual(pulls('Successfully pulled image "r/app:v2" in 30.612s'), [
    { ...pull, seconds: 30.612, secondsWithWaiting: 30.612 },
  ]);
  assert.deepEqual(pulls('Successfully pulled image "r/app:v2" in 1m2.5s'), [
    { ...pull, seconds: 62.5, secondsWithWaiting: 62.5 },
  ]);
});

test('a wait in the queue of the kubelet is told apart where the kubelet does', () => {
  const text =
    'Successfully pulled image "r/app:v2" in 500ms (30.5s including waiting). Image size: 5 bytes.';
  assert.deepEqual(pulls(text), [{ pod: 'pod', node: 'node-1', seconds: 0.5, secondsWithWaiting: 30.5 }]);
});

test('an image that was there, another image and words that say no time are no pull', () => {
  assert.deepEqual(pulls('Container image "r/app:v2" already present on machine'), []);
  assert.deepEqual(pulls('Successfully pulled image "r/app:v2" in 1s', 'r/app:v'), []);
  assert.deepEqual(pulls('Successfully pulled image "r/app:v2" in a while'), []);
  assert.deepEqual(kubeletPulls(undefined, 'r/app:v2'), []);
});
