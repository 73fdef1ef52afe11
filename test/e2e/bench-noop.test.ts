import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noop } from '../bench/lab/noop.ts';

test('what an update that needs nothing takes more with the webhook than without it', async (t) => {
  const { ratios, rows } = await noop.run(() => undefined, true);
  t.diagnostic(JSON.stringify({ ratios, rows }));
  assert.ok((ratios['withOverWithout'] ?? Number.NaN) <= 2, JSON.stringify(rows));
});
