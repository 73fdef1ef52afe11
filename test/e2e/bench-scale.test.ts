import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scale } from '../bench/scale/scale.ts';

test('what a pull costs the gate, on 100 and on 1,000 nodes', { timeout: 300_000 }, async (t) => {
  const { ratios, rows } = await scale.run((line) => t.diagnostic(line), true);
  const atMost = (name: string, limit: number) =>
    t.test(`${name} is at most ${limit}`, () =>
      assert.ok((ratios[name] ?? Number.NaN) <= limit, JSON.stringify({ ratios, rows })),
    );
  await atMost('writesPerPull', 3);
  await atMost('cpuPerPull1000Over100', 1);
  await atMost('cpuOverApiServer', 1);
});
