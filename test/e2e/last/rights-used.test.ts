import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { asObject } from '../../../src/json.ts';
import { type AuditedRequest, readAudit } from '../../cluster/lab/audit-log.ts';
import { neverGranted, rightsOfTheGate, spelled, unused } from '../../support/e2e/granted-rights.ts';

/** Set by test/main.ts, which runs this file after all others of the gate: since when, and where the labs' logs are. */
const suite = process.env['PULLGATE_AUDITED_SUITE'];
const skip = suite === undefined ? 'it judges a whole suite: npm test' : false;

const rights = rightsOfTheGate(
  ['rbac', 'rbac-in-cluster'].flatMap((name) => {
    const text = readFileSync(new URL(`../../../deploy/${name}.yaml`, import.meta.url), 'utf8');
    return [...parseAllDocuments(text)].map((document) => asObject(document.toJS()));
  }),
);

async function requestsOf(audited: string): Promise<AuditedRequest[]> {
  const { period, folders } = JSON.parse(audited) as { period: string; folders: string[] };
  return (await Promise.all(folders.map((folder) => readAudit(period, folder)))).flat();
}

test('the gate has used every right that it is given', { skip }, async () => {
  const requests = await requestsOf(suite ?? '');
  assert.ok(rights.length > 0 && requests.length > 0, 'nothing to compare');
  assert.deepEqual(unused(rights, requests).map(spelled), [], 'no request of this suite used these');
});

test('the gate has asked for nothing that it is given no right to', { skip }, async () => {
  assert.deepEqual(neverGranted(rights, await requestsOf(suite ?? '')), []);
});
