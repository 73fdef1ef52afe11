import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERRORS, type ErrorCode, GateError } from '../../src/errors.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| `PG_'));
const codes = Object.keys(ERRORS) as ErrorCode[];

/** `{name}` in a message is a value; in the docs it is shown as `<name>`. */
function row(code: ErrorCode): string {
  const { message, remedy } = ERRORS[code];
  return `| \`${code}\` | ${message.replace(/\{(\w+)\}/g, '<$1>')} | ${remedy} |`.replaceAll('<', '&lt;');
}

test('the docs have a line for every error code, in the words of the table', () => {
  assert.deepEqual(new Set(rows), new Set(codes.map(row)));
});

test('an error reads: code, what is wrong with the values filled in, what to do; on one line', () => {
  const error = new GateError('PG_LISTEN', { address: '127.0.0.1:1', detail: 'in\nuse' });
  const wanted = `PG_LISTEN: cannot listen on 127.0.0.1:1: in use. ${ERRORS.PG_LISTEN.remedy}`;
  assert.equal(error.message, wanted);
});

test('every remedy is a sentence', () => {
  for (const code of codes) assert.match(ERRORS[code].remedy, /^[A-Z].*\.$/, code);
});
