import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { asObject, asString, at, type JsonObject } from '../../src/json.ts';
import { schemaViolations } from '../support/unit/manifest-schema.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));

const objects = globSync('**/*.yaml', { cwd: DEPLOY })
  .filter((path) => basename(path) !== 'kustomization.yaml')
  .toSorted()
  .flatMap((path) => documents(path).map((object) => ({ path, object })));

function documents(path: string): JsonObject[] {
  return [...parseAllDocuments(readFileSync(join(DEPLOY, path), 'utf8'))].map((one) => asObject(one.toJS()));
}

function first(kind: string): JsonObject {
  const found = objects.find(({ object }) => object['kind'] === kind);
  assert.ok(found, `no ${kind}`);
  return found.object;
}

function withSpec(object: JsonObject, spec: JsonObject): JsonObject {
  return { ...object, spec: { ...asObject(object['spec']), ...spec } };
}

for (const { path, object } of objects) {
  const name = `${asString(object['kind'])} ${asString(at(object, 'metadata', 'name'))}`;
  test(`${path}: ${name} is as its schema says, without any other field`, async () => {
    assert.deepEqual(await schemaViolations(object), []);
  });
}

test('a field that no schema has is found, wherever it is', async () => {
  for (const kind of ['Certificate', 'Issuer', 'ServiceMonitor', 'PrometheusRule', 'PodDisruptionBudget']) {
    assert.deepEqual(
      await schemaViolations(withSpec(first(kind), { unheardOf: 1 })),
      ['/spec/unheardOf'],
      kind,
    );
  }
  const policy = withSpec(first('ValidatingAdmissionPolicy'), {
    validations: [{ expression: 'true', massage: 'a slip' }],
  });
  assert.deepEqual(await schemaViolations(policy), ['/spec/validations/0/massage']);
  const webhooks = [
    { name: 'a.test', sideEffects: 'None', admissionReviewVersions: ['v1'], matchCondition: [] },
  ];
  const withClient = webhooks.map((webhook) => ({ ...webhook, clientConfig: { url: 'https://a.test' } }));
  const configuration = { ...first('MutatingWebhookConfiguration'), webhooks: withClient };
  assert.deepEqual(await schemaViolations(configuration), ['/webhooks/0/matchCondition']);
});

test('a value of another type, or none of those that there are, is found', async () => {
  const certificate = first('Certificate');
  assert.match(
    String(await schemaViolations(withSpec(certificate, { duration: 5 }))),
    /duration must be string/,
  );
  const key = { algorithm: 'none', size: 256 };
  assert.match(
    String(await schemaViolations(withSpec(certificate, { privateKey: key }))),
    /algorithm must be equal/,
  );
  const { issuerRef: _, ...incomplete } = asObject(certificate['spec']);
  assert.match(String(await schemaViolations({ ...certificate, spec: incomplete })), /required.*issuerRef/);
});
