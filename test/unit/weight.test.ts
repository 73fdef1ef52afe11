import assert from 'node:assert/strict';
import { test } from 'node:test';
import { weighsMoreThan } from '../../src/api/template/weight.ts';
import { leastRetainedBytes } from '../support/unit/retained-bytes.ts';

const COPIES = 40;
const list = <T>(length: number, entry: (n: number) => T): T[] => Array.from({ length }, (_, n) => entry(n));

/** The smallest limit that the value does not exceed. */
function weightOf(value: unknown): number {
  let [low, high] = [0, 2 ** 30];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (weighsMoreThan(middle, value)) low = middle;
    else high = middle;
  }
  return high;
}

/** As they come from an API server. The last is what makes V8 describe each object anew: names that no other object has. */
for (const [what, text] of [
  ['empty lists', JSON.stringify(list(2000, () => []))],
  ['empty objects', JSON.stringify(list(2000, () => ({})))],
  ['nested lists', '['.repeat(2000) + ']'.repeat(2000)],
  ['names', JSON.stringify(list(500, (n) => ({ name: `name-${n}` })))],
  ['tolerations', JSON.stringify(list(500, (n) => ({ key: `key-${n}`, tolerationSeconds: n + 0.5 })))],
  ['labels', JSON.stringify(Object.fromEntries(list(500, (n) => [`key-${n}`, `value-${n}`])))],
  ['one long text', JSON.stringify('x'.repeat(100_000))],
  ['one long text beyond Latin-1', JSON.stringify(`${'x'.repeat(100_000)}中`)],
  ['numbers', JSON.stringify(list(2000, (n) => n + 0.5))],
  [
    'maps of names of their own',
    JSON.stringify(list(30, (m) => Object.fromEntries(list(30, (n) => [`own-${m}-${n}`, 'v'])))),
  ],
] as const) {
  test(`the memory that ${what} take is never more than what was counted`, () => {
    // Each name has as many digits as any other.
    let made = 1000;
    const parse = (): unknown => {
      made += 1;
      return JSON.parse(text.replaceAll('own-', `own${made}-`));
    };
    const counted = weightOf(parse());
    // The copies are in a list, too.
    const enough = COPIES * (counted + 16);
    const bytes = leastRetainedBytes(() => list(COPIES, parse), enough);
    assert.ok(bytes <= enough, `${bytes / COPIES} bytes, ${counted} counted`);
  });
}

test('of a value that is far too large only the beginning is looked at', () => {
  let looked = 0;
  const entry = Object.defineProperty({}, 'a', {
    enumerable: true,
    get() {
      looked += 1;
      return 'x'.repeat(1000);
    },
  });
  assert.ok(
    weighsMoreThan(
      50_000,
      list(1000, () => entry),
    ),
  );
  assert.ok(looked < 100, `${looked}`);
});

test('it does not depend on how deep a value nests', () => {
  const deep = JSON.parse('['.repeat(500_000) + ']'.repeat(500_000));
  assert.ok(weighsMoreThan(1000, deep));
});
