import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type FuzzReport, fuzz } from './fuzz.ts';
import { MEMORY_LIMIT_MB, memoryGrowth } from './memory.ts';

/** Always the same reviews here; `npm run test:fuzz` takes others, and more. */
const SEED = 20_260_101;
const RUNS = 2000;

describe(`the admission endpoint over TLS, ${RUNS} hostile reviews of seed ${SEED}`, () => {
  let report: FuzzReport;
  before(async () => {
    report = await fuzz({ seed: SEED, runs: RUNS });
  });

  test('never ends, never answers 5xx, refuses with a code of the table, patches only what is its own', () => {
    assert.equal(report.failures.length, 0, report.failures.join('\n'));
  });

  test('they are of all kinds: reviews that are answered, refused, too large, too slow, dropped', () => {
    const { outcomes, deliveries } = report;
    for (const [outcome, least] of Object.entries({
      200: 500,
      400: 500,
      408: 3,
      413: 1,
      415: 20,
      dropped: 10,
    }))
      assert.ok((outcomes[outcome] ?? 0) >= least, JSON.stringify(outcomes));
    assert.ok(Object.keys(deliveries).length >= 17, JSON.stringify(deliveries));
  });

  test(`does not grow by more than ${MEMORY_LIMIT_MB} MB`, () => {
    const { usedMb } = memoryGrowth(report);
    assert.ok(usedMb <= MEMORY_LIMIT_MB, `${usedMb} MB`);
  });
});
