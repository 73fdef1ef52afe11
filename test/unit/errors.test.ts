import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERRORS, type ErrorCode, GateError } from '../../src/errors.ts';

const codes = Object.keys(ERRORS) as ErrorCode[];

test('an error reads: code, what is wrong with the values filled in, what to do; on one line', () => {
  const error = new GateError('PG_LISTEN', { address: '127.0.0.1:1', detail: 'in\nuse' });
  const wanted = `PG_LISTEN: cannot listen on 127.0.0.1:1: in use. ${ERRORS.PG_LISTEN.remedy}`;
  assert.equal(error.message, wanted);
});

test('every remedy is a sentence', () => {
  for (const code of codes) assert.match(ERRORS[code].remedy, /^[A-Z].*\.$/, code);
});
