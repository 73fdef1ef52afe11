import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createLane } from '../../src/cluster/lane.ts';

/** Calls that end when they are told to. */
function calls(atATime: number, count: number) {
  const lane = createLane(atATime);
  const begun: number[] = [];
  const ends: PromiseWithResolvers<number>[] = [];
  const results = Array.from({ length: count }, (_, index) => {
    const end = Promise.withResolvers<number>();
    ends.push(end);
    return lane(() => {
      begun.push(index);
      return end.promise;
    });
  });
  return { begun, ends, results };
}

test('so many run at a time, at once, and the others in order as places become free', async () => {
  const { begun, ends, results } = calls(2, 5);
  assert.deepEqual(begun, [0, 1]);
  ends[1]?.resolve(1);
  await nextTurn();
  assert.deepEqual(begun, [0, 1, 2]);
  for (const [index, { resolve }] of ends.entries()) resolve(index);
  assert.deepEqual(await Promise.all(results), [0, 1, 2, 3, 4]);
  assert.deepEqual(begun, [0, 1, 2, 3, 4]);
});

test('a call that fails gives its place on, and its error to its caller', async () => {
  const { begun, ends, results } = calls(1, 2);
  ends[0]?.reject(new Error('refused'));
  await assert.rejects(results[0] ?? Promise.resolve(), /refused/);
  await nextTurn();
  assert.deepEqual(begun, [0, 1]);
  ends[1]?.resolve(1);
  assert.equal(await results[1], 1);
});
