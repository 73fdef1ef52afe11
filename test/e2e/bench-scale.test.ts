import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scale } from '../bench/scale/scale.ts';

/** Limits of ratios within one run of the short form; what was measured is that of a machine with nothing else to do. */
const LIMITS = {
  // 2.1: a create and a delete for each pull, and a status each second.
  writesPerPull: 3,
  // 0.93, and 1.26 where five holds of 1,000 nodes are open at once.
  cpuPerPull1000Over100: 1.8,
  // 0.27, and 0.31 with both cores overloaded.
  cpuOverApiServer: 0.5,
};
/** A minute and a half; each of the two points has 400 s of patience, and says then what it waited for. */
const TIMEOUT_MS = 900_000;

test('what a pull costs on 100 and on 1,000 nodes', { timeout: TIMEOUT_MS }, async (t) => {
  const { ratios, rows } = await scale.run((line) => t.diagnostic(line), true);
  for (const [name, limit] of Object.entries(LIMITS)) {
    await t.test(`${name} is at most ${limit}`, () => {
      assert.ok((ratios[name] ?? Number.NaN) <= limit, JSON.stringify({ ratios, rows }));
    });
  }
});
