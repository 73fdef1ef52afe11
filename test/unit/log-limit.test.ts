import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogLimit } from '../../src/log-limit.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

function world() {
  const clock = manualClock();
  const limit = createLogLimit(clock, { burst: 2, everyMs: 60_000 });
  const written: unknown[] = [];
  const cause = (kind: string, times: number) => {
    for (let time = 0; time < times; time += 1) limit(kind, (fields) => written.push([kind, fields]));
  };
  return { clock, written, cause };
}

test('a burst of lines is written, then one a minute, which says how many were left out before it', () => {
  const { clock, written, cause } = world();
  cause('a', 5);
  assert.deepEqual(written.splice(0), [
    ['a', {}],
    ['a', {}],
  ]);
  clock.advance(59_999);
  cause('a', 1);
  assert.deepEqual(written, []);
  clock.advance(1);
  cause('a', 2);
  assert.deepEqual(written.splice(0), [['a', { leftOut: 4 }]]);
  clock.advance(3_600_000);
  cause('a', 3);
  assert.deepEqual(written, [
    ['a', { leftOut: 1 }],
    ['a', {}],
  ]);
});

test('one kind of line takes none from another', () => {
  const { written, cause } = world();
  cause('a', 1000);
  cause('b', 1);
  assert.deepEqual(written.at(-1), ['b', {}]);
});
