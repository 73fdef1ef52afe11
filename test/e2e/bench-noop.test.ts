import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noop } from '../bench/lab/noop.ts';

/** Measured 1.38, a millisecond in the median. Where the ratio doubles this fails. */
const WITH_OVER_WITHOUT = 2;

test(`an update that needs nothing takes at most ${WITH_OVER_WITHOUT} times as long with the webhook`, async (t) => {
  const { ratios, rows } = await noop.run(() => undefined, true);
  t.diagnostic(JSON.stringify(ratios));
  assert.ok((ratios['withOverWithout'] ?? Number.NaN) <= WITH_OVER_WITHOUT, JSON.stringify(rows));
});
