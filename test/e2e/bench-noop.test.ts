import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Measured } from '../bench/bench.ts';
import { noop } from '../bench/lab/noop.ts';

/** Measured 1.0 to 1.2. A webhook that is called adds a millisecond to three, which more than doubles the time. */
const WITH_OVER_WITHOUT = 2;

let measured: Measured;
before(async () => {
  measured = await noop.run(() => undefined, true);
});

test('an update that needs nothing never reaches the webhook', () => {
  assert.equal(measured.ratios['callsPerUpdate'], 0, JSON.stringify(measured.rows));
});

test(`an update that needs nothing takes at most ${WITH_OVER_WITHOUT} times as long with the webhook`, (t) => {
  t.diagnostic(JSON.stringify(measured.ratios));
  assert.ok(
    (measured.ratios['withOverWithout'] ?? Number.NaN) <= WITH_OVER_WITHOUT,
    JSON.stringify(measured.rows),
  );
});
