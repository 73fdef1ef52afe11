import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { isSameData } from '../../src/cluster/same-data.ts';

const plain = fc.jsonValue({ maxDepth: 3 });

test('plain data is compared by value', () =>
  fc.assert(
    fc.property(plain, plain, (one, other) => {
      assert.equal(isSameData(one, structuredClone(one)), true);
      assert.equal(isSameData(one, other), isDeepStrictEqual(one, other));
    }),
  ));

test('a difference is seen at any place', () => {
  const pairs: [unknown, unknown][] = [
    [{ a: undefined }, {}],
    [{ a: 1 }, { b: 1 }],
    [[1, 2], [1]],
    [[], {}],
    [{}, null],
    [{ length: 0 }, []],
    [{ a: [{ b: 'x' }] }, { a: [{ b: 'y' }] }],
    [new Set(['a']), new Set(['b'])],
    [new Set(['a']), ['a']],
    [new Set(), {}],
    [{ toString: 1 }, { valueOf: 1 }],
  ];
  for (const [one, other] of pairs) {
    assert.equal(isSameData(one, other), false);
    assert.equal(isSameData(other, one), false);
  }
  assert.equal(isSameData(new Set(['a', 'b']), new Set(['b', 'a'])), true);
  assert.equal(isSameData(Number.NaN, Number.NaN), true);
});

/** `{"a":{"a":...}}`, so many levels. */
function deep(levels: number): unknown {
  return JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
}

test('nesting of any depth overflows nothing', () => {
  assert.equal(isSameData(deep(5000), deep(5000)), true);
  assert.equal(isSameData(deep(5000), deep(5001)), false);
  assert.equal(isSameData(deep(200_000), deep(200_000)), false, 'too much to compare counts as different');
});

test('what would take long to compare counts as different', () => {
  const large = () => ({
    many: Array.from({ length: 1_000_000 }, () => []),
    wide: Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [index, {}])),
    nested: Array.from({ length: 5000 }, () => Array.from({ length: 50 }, () => ({}))),
  });
  const [one, other] = [large(), large()];
  for (const part of ['many', 'wide', 'nested'] as const)
    assert.equal(isSameData(one[part], other[part]), false, part);
});
