import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../src/json.ts';
import type { AuditedRequest } from '../cluster/lab/audit-log.ts';
import { neverGranted, rightsOfTheGate, spelled, unused } from '../support/e2e/granted-rights.ts';

const GATE = { kind: 'ServiceAccount', name: 'pullgate', namespace: 'pullgate' };

function role(kind: 'Role' | 'ClusterRole', name: string, ...rules: JsonObject[]): JsonObject {
  return { kind, metadata: { name }, rules };
}

function binding(kind: 'Role' | 'ClusterRole', name: string, subject: JsonObject = GATE): JsonObject {
  const namespace = kind === 'Role' ? { namespace: 'pullgate' } : {};
  return {
    kind: `${kind}Binding`,
    metadata: { name, ...namespace },
    roleRef: { kind, name },
    subjects: [subject],
  };
}

function request(verb: string, resource: string, rest: Partial<AuditedRequest> = {}): AuditedRequest {
  return { verb, resource, apiGroup: '', namespace: '', name: '', code: 200, forbidden: false, ...rest };
}

const NODES = { apiGroups: [''], resources: ['nodes'], verbs: ['list', 'watch'] };
const OWN_SECRET = { apiGroups: [''], resources: ['secrets'], resourceNames: ['own'], verbs: ['get'] };

test('a right that no request used is named, with its role', () => {
  const rights = rightsOfTheGate([role('ClusterRole', 'gate', NODES), binding('ClusterRole', 'gate')]);
  assert.deepEqual(unused(rights, []).map(spelled), [
    'list nodes (ClusterRole gate)',
    'watch nodes (ClusterRole gate)',
  ]);
  assert.deepEqual(unused(rights, [request('list', 'nodes')]).map(spelled), [
    'watch nodes (ClusterRole gate)',
  ]);
  assert.deepEqual(unused(rights, [request('list', 'nodes'), request('watch', 'nodes')]), []);
});

test('a request that failed has not used its right', () => {
  const rights = rightsOfTheGate([role('ClusterRole', 'gate', NODES), binding('ClusterRole', 'gate')]);
  for (const code of [0, 403, 404, 409, 500]) {
    assert.equal(
      unused(rights, [request('list', 'nodes', { code }), request('watch', 'nodes')]).length,
      1,
      `${code}`,
    );
  }
});

test('group, subresource, name and namespace have to be those of the right', () => {
  const status = { apiGroups: ['apps'], resources: ['deployments/status'], verbs: ['patch'] };
  const rights = rightsOfTheGate([
    ...[role('ClusterRole', 'gate', status), binding('ClusterRole', 'gate')],
    ...[role('Role', 'own', OWN_SECRET), binding('Role', 'own')],
  ]);
  const others = [
    request('patch', 'deployments/status', { apiGroup: 'extensions' }),
    request('patch', 'deployments', { apiGroup: 'apps' }),
    request('get', 'secrets', { name: 'other', namespace: 'pullgate' }),
    request('get', 'secrets', { name: 'own', namespace: 'shop' }),
  ];
  assert.deepEqual(unused(rights, others).map(spelled), [
    'patch deployments/status.apps (ClusterRole gate)',
    'get secrets own (Role own)',
  ]);
  const those = [
    request('patch', 'deployments/status', { apiGroup: 'apps', namespace: 'shop' }),
    request('get', 'secrets', { name: 'own', namespace: 'pullgate' }),
  ];
  assert.deepEqual(unused(rights, those), []);
});

test('a wildcard is never used', () => {
  const everything = { apiGroups: ['*'], resources: ['*'], verbs: ['*'] };
  const rights = rightsOfTheGate([role('ClusterRole', 'gate', everything), binding('ClusterRole', 'gate')]);
  assert.equal(unused(rights, [request('list', 'nodes')]).length, 1);
});

test('roles that are bound to others, or to nobody, are not the gate’s', () => {
  const somebody = { kind: 'ServiceAccount', name: 'pullgate', namespace: 'shop' };
  assert.deepEqual(
    rightsOfTheGate([
      ...[role('ClusterRole', 'theirs', NODES), binding('ClusterRole', 'theirs', somebody)],
      role('ClusterRole', 'aggregated', NODES),
    ]),
    [],
  );
});

test('a binding of a role that is not there is an error, and not a role without rights', () => {
  assert.throws(
    () => rightsOfTheGate([binding('ClusterRole', 'gone')]),
    /bind ClusterRole gone, but have none/,
  );
});

test('what was refused counts unless there is a right to it, which somebody must have taken away', () => {
  const rights = rightsOfTheGate([role('ClusterRole', 'gate', NODES), binding('ClusterRole', 'gate')]);
  const forbidden = { code: 403, forbidden: true };
  const refused = request('list', 'secrets', forbidden);
  const byQuota = request('create', 'pods', { code: 403 });
  assert.deepEqual(neverGranted(rights, [refused, request('list', 'nodes', forbidden), byQuota]), [refused]);
});
