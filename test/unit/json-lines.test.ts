import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonLines, type LongLine } from '../../src/cluster/json-lines.ts';

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
      const seen = await all(jsonLines(chunked(Buffer.from(text), sizes), 1e6, () => assert.fail()));
      assert.deepEqual(seen, JSON.parse(JSON.stringify(values)));
    }),
  ));

test('a last line that was cut off is left out', async () => {
  assert.deepEqual(await all(jsonLines(chunked(Buffer.from('1\n{"a":'), []), 100, () => assert.fail())), [1]);
});

test('a line beyond the bound is reported and skipped, wherever the chunks end', () =>
  fc.assert(
    fc.asyncProperty(fc.array(fc.nat(40)), fc.array(fc.nat(9)), async (lengths, sizes) => {
      const lines = lengths.map((length, index) => JSON.stringify(`${index} `.padEnd(length, 'x')));
      const long: LongLine[] = [];
      const seen = await all(
        jsonLines(chunked(Buffer.from(lines.map((line) => `${line}\n`).join('')), sizes), 20, (line) => {
          long.push(line);
        }),
      );
      const isLong = (line: string) => line.length > 20;
      assert.deepEqual(
        seen,
        lines.filter((line) => !isLong(line)).map((line) => JSON.parse(line) as string),
      );
      assert.deepEqual(
        long.map(({ bytes }) => bytes),
        lines.filter(isLong).map(({ length }) => length),
      );
      for (const [index, line] of lines.filter(isLong).entries())
        assert.ok(line.startsWith(long[index]?.beginning ?? '?'));
    }),
  ));

test('a line that does not end takes no memory beyond the bound', async () => {
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (let sent = 0; sent < 500; sent += 1) yield Buffer.from(chunk);
    yield Buffer.from('\n1\n');
  }
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const seen = await all(
    jsonLines(endless(), 4 * chunk.length, ({ bytes, beginning }) => {
      assert.equal(bytes, 500 * chunk.length);
      assert.equal(beginning, 'x'.repeat(300));
      most = process.memoryUsage().arrayBuffers - before;
    }),
  );
  assert.deepEqual(seen, [1]);
  assert.ok(most < 300 * chunk.length, `${most} bytes`);
});

test('of an object that nests too deep, whatever its depth, only its names are left', async () => {
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  const lines = `{"type":"ADDED","object":{"metadata":{"name":"a","labels":${deep}}}}\n${deep}\n{"type":"ADDED"}\n`;
  const values = await all(jsonLines(chunked(Buffer.from(lines), []), 1e6, () => assert.fail()));
  assert.equal(
    JSON.stringify(values),
    '[{"type":"ADDED","object":{"metadata":{"name":"a"}}},null,{"type":"ADDED"}]',
  );
});
