import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isAtLeast, parseCountOrPercent, resolveCountOrPercent } from '../../src/api/count-or-percent.ts';

const valid = fc.oneof(
  fc.integer({ min: 1, max: 100_000 }),
  fc.integer({ min: 1, max: 100_000 }).map(String),
  fc.integer({ min: 1, max: 100 }).map((percent) => `${percent}%`),
);

function resolve(value: unknown, total: number): number {
  const parsed = parseCountOrPercent(value);
  assert.ok(parsed !== undefined);
  return resolveCountOrPercent(parsed, total);
}

for (const [value, total, expected] of [
  [3, 10, 3],
  ['3', 10, 3],
  [3, 2, 2],
  ['25%', 10, 3],
  ['25%', 8, 2],
  ['1%', 3, 1],
  ['29%', 100, 29],
  ['100%', 7, 7],
  ['100%', 0, 0],
  [1, 0, 0],
] as const) {
  test(`${JSON.stringify(value)} of ${total} is ${expected}`, () => {
    assert.equal(resolve(value, total), expected);
  });
}

for (const value of [
  0,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 60,
  '',
  '0',
  '0%',
  '101%',
  '-5%',
  '25 %',
  ' 25%',
  '25%\n',
  '2.5%',
  '%',
  '007',
  '1e3',
  '9999999999',
  'all',
  null,
  undefined,
  true,
  [3],
  {},
]) {
  test(`${typeof value === 'string' ? JSON.stringify(value) : String(value)} is neither count nor percentage`, () => {
    assert.equal(parseCountOrPercent(value), undefined);
  });
}

test('it is at least 1 and at most the total', () => {
  fc.assert(
    fc.property(valid, fc.integer({ min: 1, max: 20_000 }), (value, total) => {
      const count = resolve(value, total);
      assert.ok(Number.isInteger(count) && count >= 1 && count <= total);
    }),
  );
});

test('a percentage is the least count that is as much', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 20_000 }), (percent, total) => {
      const count = resolve(`${percent}%`, total);
      assert.ok(count * 100 >= percent * total);
      assert.ok((count - 1) * 100 < percent * total);
    }),
  );
});

test('what was read can be written and read again', () => {
  fc.assert(
    fc.property(valid, (value) => {
      const parsed = parseCountOrPercent(value);
      assert.equal(parseCountOrPercent(JSON.parse(JSON.stringify(parsed))), parsed);
    }),
  );
});

test('what is at least a floor resolves to at least as many, whatever the total; of two of one kind one is', () => {
  const parsed = valid.map((value) => parseCountOrPercent(value) ?? 1);
  fc.assert(
    fc.property(parsed, parsed, fc.integer({ min: 0, max: 200_000 }), (value, floor, total) => {
      if (isAtLeast(value, floor))
        assert.ok(resolveCountOrPercent(value, total) >= resolveCountOrPercent(floor, total));
      if (typeof value === typeof floor) assert.ok(isAtLeast(value, floor) || isAtLeast(floor, value));
    }),
  );
});
