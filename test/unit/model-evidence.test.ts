import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evidenceText } from '../stress/model/evidence.ts';

const FROM = Date.parse('2026-03-01T12:00:00Z');

test('a failed sequence shows who was let past the gate, and what the gate said of it', () => {
  const update = { namespace: 'shop', name: 'web', user: 'a-developer', code: 200 };
  const text = evidenceText({
    namespace: 'shop',
    from: FROM,
    to: FROM + 60_000,
    updates: [
      { ...update, at: FROM + 1000, failedOpen: [] },
      { ...update, at: FROM + 7500, failedOpen: ['reject.pullgate.io'] },
    ],
    apiServer: [
      'W0301 12:00:07 Failed calling webhook, failing open reject.pullgate.io: timeout',
      'something else',
    ],
    gate: [
      { level: 30, time: FROM + 2000, deployment: 'shop/web', msg: 'held' },
      { level: 30, time: FROM + 2000, deployment: 'other/web', msg: 'held' },
      { level: 50, time: FROM + 7000, msg: 'PG_INTERNAL' },
      { level: 50, time: FROM - 1, msg: 'before' },
    ],
  });
  assert.deepEqual(text, [
    'updates, by the audit log of the API server:',
    '1.0 s web by a-developer: 200',
    '7.5 s web by a-developer: 200, FAILED OPEN: reject.pullgate.io',
    'webhooks that failed, by the log of the API server:',
    'W0301 12:00:07 Failed calling webhook, failing open reject.pullgate.io: timeout',
    'the gate:',
    '2.0 s {"level":30,"deployment":"shop/web","msg":"held"}',
    '7.0 s {"level":50,"msg":"PG_INTERNAL"}',
  ]);
});
