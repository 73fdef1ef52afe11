import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Decided,
  ownDecisionRecord,
  parseDecisionRecord,
  writeDecisionRecord,
} from '../../src/api/decision-record.ts';
import { DECIDED_ANNOTATION } from '../../src/api/names.ts';

const DECIDED: Decided = {
  uid: '8f2d1c1e-0000-4000-8000-000000000001',
  template: '614cd7d6cd3e',
  decision: 'Held',
  by: 'jane',
  at: '2026-01-01T00:00:00.000Z',
  reason: 'registry.test/app:2',
};
const own = (record: string, uid = DECIDED.uid ?? '') =>
  ownDecisionRecord({ uid, annotations: { [DECIDED_ANNOTATION]: record } });

test('a record reads back as it was written, and is compact JSON with its version first', () => {
  const text = writeDecisionRecord(DECIDED);
  assert.deepEqual(parseDecisionRecord(text), DECIDED);
  assert.match(
    text,
    /^\{"v":1,"uid":"8f2d1c1e-[^ ]*","template":"614cd7d6cd3e","decision":"Held","by":"jane",/,
  );
});

test('a record says how its hold has ended, and an end that is none does not spoil it', () => {
  const ended = { reason: 'Ready', at: '2026-01-01T00:01:00.000Z' };
  assert.deepEqual(parseDecisionRecord(writeDecisionRecord({ ...DECIDED, ended })), { ...DECIDED, ended });
  for (const junk of ['Ready', { reason: 'x'.repeat(33), at: ended.at }, { ...ended, at: 'then' }, {}]) {
    assert.deepEqual(parseDecisionRecord(JSON.stringify({ v: 1, ...DECIDED, ended: junk })), DECIDED);
  }
});

test('a record of version 0.1 names no Deployment, and is of whichever carries it', () => {
  const { uid: _, ...fields } = DECIDED;
  const old = JSON.stringify(fields);
  assert.deepEqual(parseDecisionRecord(old), { ...DECIDED, uid: undefined });
  assert.deepEqual(own(old), { ...DECIDED, uid: undefined });
});

test('one with a version has to name its Deployment, and is believed on that one alone', () => {
  assert.equal(parseDecisionRecord(JSON.stringify({ ...DECIDED, v: 1, uid: undefined })), undefined);
  assert.equal(parseDecisionRecord(JSON.stringify({ ...DECIDED, v: 1, uid: '' })), undefined);
  assert.deepEqual(own(writeDecisionRecord(DECIDED)), DECIDED);
  assert.equal(own(writeDecisionRecord(DECIDED), 'another'), undefined);
});

test('names and reasons are cut, however long they are and whatever they hold', () => {
  for (const text of ['x'.repeat(300_000), '\u0000'.repeat(300_000), '"'.repeat(300_000)]) {
    const written = writeDecisionRecord({ ...DECIDED, by: text, reason: text });
    assert.ok(written.length < 5500, `${written.length}`);
    assert.deepEqual(parseDecisionRecord(written), {
      ...DECIDED,
      by: text.slice(0, 340),
      reason: text.slice(0, 512),
    });
  }
});

test('what admission never writes is not read', () => {
  const { uid: _, ...fields } = DECIDED;
  for (const junk of [
    '',
    'junk',
    '[]',
    'null',
    '{}',
    JSON.stringify({ ...fields, decision: 'Forged' }),
    JSON.stringify({ ...fields, at: 'long ago' }),
    JSON.stringify({ ...fields, template: '' }),
    JSON.stringify({ ...fields, reason: 'x'.repeat(6000) }),
    `${'['.repeat(100_000)}`,
  ]) {
    assert.equal(parseDecisionRecord(junk), undefined, junk.slice(0, 100));
  }
});
