import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { MEMORY_LIMIT_MB, memoryGrowth } from './memory.ts';
import { fuzzWatches, type WatchFuzzReport } from './watch/fuzz.ts';

/** Always the same objects here; `npm run test:fuzz -- watch` takes others, and more. */
const SEED = 20_260_101;
const OBJECTS = 1000;

describe(`the controllers before an API server, ${OBJECTS} hostile objects of seed ${SEED}`, () => {
  let report: WatchFuzzReport;
  before(async () => {
    report = await fuzzWatches({ seed: SEED, objects: OBJECTS });
  });

  test('none of them ends the gate, stops a watch, takes over 100 ms of CPU, or delays the hold of another namespace', () => {
    assert.equal(report.failures.length, 0, report.failures.join('\n'));
  });

  test('they are of all kinds: stored, removed, told without a change, and with the watches cut', () => {
    const { operations } = report;
    for (const [what, least] of Object.entries({ put: 800, remove: 50, say: 20, compact: 1, nextWatch: 1 }))
      assert.ok((operations[what] ?? 0) >= least, JSON.stringify(operations));
  });

  test('the gate works for their namespaces, too', () => {
    const { calls } = report;
    for (const call of [
      'POST imagepreloads',
      'POST pods',
      'PATCH imagepreloads',
      'PATCH deployments',
      'POST events',
    ])
      assert.ok((calls[call] ?? 0) >= 25, JSON.stringify(calls));
  });

  test(`the gate does not grow by more than ${MEMORY_LIMIT_MB} MB, with them or after them`, () => {
    const { before: start, during, after } = report;
    for (const end of [during, after]) {
      const { usedMb } = memoryGrowth({ before: start, after: end });
      assert.ok(usedMb <= MEMORY_LIMIT_MB, `${usedMb} MB`);
    }
  });
});
