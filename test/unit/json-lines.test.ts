import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonLines } from '../../src/cluster/json-lines.ts';

async function* chunked(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (const size of sizes) {
    yield bytes.subarray(start, start + size);
    start += size;
  }
  yield bytes.subarray(start);
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const value of values) seen.push(value);
  return seen;
}

test('lines come out whole wherever the chunks end', () =>
  fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue()), fc.array(fc.nat(9)), async (values, sizes) => {
      const text = values.map((value) => `${JSON.stringify(value)}\n`).join('');
      const seen = await all(jsonLines(chunked(Buffer.from(text), sizes), 1e6));
      assert.deepEqual(seen, JSON.parse(JSON.stringify(values)));
    }),
  ));

test('a last line that was cut off is left out', async () => {
  assert.deepEqual(await all(jsonLines(chunked(Buffer.from('1\n{"a":'), []), 100)), [1]);
});

test('a line that does not end is given up at the bound', async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(1000, 'x');
  }
  await assert.rejects(all(jsonLines(endless(), 10_000)), RangeError);
});
