import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { asObject } from '../../../src/json.ts';
import { readAudit } from '../../cluster/lab/audit-log.ts';
import { neverGranted, rightsOfTheGate, spelled, unused } from '../../support/e2e/granted-rights.ts';

/** Set by test/main.ts, which runs this file after all others of the gate. */
const suite = process.env['PULLGATE_AUDITED_SUITE'];
const skip = suite === undefined ? 'it judges a whole suite: npm test' : false;

const rights = rightsOfTheGate(
  ['rbac', 'rbac-in-cluster'].flatMap((name) => {
    const text = readFileSync(new URL(`../../../deploy/${name}.yaml`, import.meta.url), 'utf8');
    return [...parseAllDocuments(text)].map((document) => asObject(document.toJS()));
  }),
);

test('the gate has used every right that it is given', { skip }, async () => {
  const requests = await readAudit(suite ?? '');
  assert.ok(rights.length > 0 && requests.length > 0, 'nothing to compare');
  assert.deepEqual(unused(rights, requests).map(spelled), [], 'no request of this suite used these');
});

test('the gate has asked for nothing that it is given no right to', { skip }, async () => {
  assert.deepEqual(neverGranted(rights, await readAudit(suite ?? '')), []);
});
