import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogLimit } from '../../src/log-limit.ts';
import { manualClock } from './manual-clock.ts';

test('one line a minute is written, and the next one says how many were left out', () => {
  const clock = manualClock();
  const limit = createLogLimit(clock);
  const written: unknown[] = [];
  const cause = (times: number) => {
    for (let time = 0; time < times; time += 1) limit((fields) => written.push(fields));
  };
  cause(3);
  clock.advance(59_999);
  cause(2);
  assert.deepEqual(written, [{}]);
  clock.advance(1);
  cause(1);
  assert.deepEqual(written, [{}, { leftOut: 4 }]);
  clock.advance(60_000);
  cause(1);
  assert.deepEqual(written, [{}, { leftOut: 4 }, {}]);
});
