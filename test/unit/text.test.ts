import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginning, elide, TEXT_LIMIT } from '../../src/text.ts';
import { retainedBytes } from '../support/unit/retained-bytes.ts';

test('a text within the limit is returned as it is', () => {
  for (const text of ['', 'not found', 'x'.repeat(TEXT_LIMIT)]) assert.equal(elide(text), text);
});

test('of a longer one the beginning and the end are kept', () => {
  const cut = elide(`failed to pull${'.'.repeat(1_000_000)}not found`);
  assert.equal(cut.length, TEXT_LIMIT);
  assert.ok(cut.startsWith('failed to pull..') && cut.endsWith('..not found') && cut.includes('.….'));
  assert.equal(elide('0123456789', 5), '01…89');
});

test('of a text that is cut at its end the beginning is kept', () => {
  assert.equal(beginning('0123456789', 8), '01234...');
  assert.equal(beginning('0123456789', 10), '0123456789');
});

test('half a character is never left', () => {
  for (const limit of [8, 9, 10, 11]) assert.ok(elide('😀'.repeat(100), limit).isWellFormed());
});

test('the long text does not stay in memory', () => {
  const texts = () =>
    Array.from({ length: 100 }, (_, n) => elide(JSON.parse(`"${String(n).repeat(1_000_000)}"`)));
  const bytes = retainedBytes(texts);
  assert.ok(bytes < 100 * 2.5 * TEXT_LIMIT, `${bytes} bytes`);
});
