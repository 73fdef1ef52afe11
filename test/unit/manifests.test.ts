import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  API_VERSION,
  APPROVAL_LABEL,
  APPROVAL_REQUIRED,
  DECIDED_ANNOTATION,
  GATE_NAMESPACE,
  GATE_SERVICE_ACCOUNT,
  GROUP,
  HELD_LABEL,
  HOLD_ANNOTATION,
  IMAGE_PRELOAD_KIND,
  MODE_LABEL,
  MODE_OFF,
  type Mode,
  PRIORITY_CLASS,
} from '../../src/api/names.ts';
import { locate, readManifests } from '../../src/install/manifests.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';

const { base, crd, policies, webhookConfiguration } = await readManifests();

function find(kind: string, name?: string): JsonObject {
  const found = base.find(
    (object) => object['kind'] === kind && (name === undefined || at(object, 'metadata', 'name') === name),
  );
  assert.ok(found, `no ${kind} ${name ?? ''}`);
  return found;
}

/** Every `verb resource.group` of a ClusterRole. */
function grants(role: JsonObject): string[] {
  return asArray(role['rules']).flatMap((rule) =>
    asArray(at(rule, 'apiGroups')).flatMap((group) =>
      asArray(at(rule, 'resources')).flatMap((resource) =>
        asArray(at(rule, 'verbs')).map((verb) => `${verb} ${resource}${group === '' ? '' : `.${group}`}`),
      ),
    ),
  );
}

test('the manifests carry the names that the gate goes by', () => {
  assert.equal(at(find('Namespace'), 'metadata', 'name'), GATE_NAMESPACE);
  assert.equal(at(find('ServiceAccount'), 'metadata', 'name'), GATE_SERVICE_ACCOUNT);
  assert.equal(at(find('ServiceAccount'), 'metadata', 'namespace'), GATE_NAMESPACE);
  assert.equal(at(find('PriorityClass'), 'metadata', 'name'), PRIORITY_CLASS);
  for (const binding of base.filter(({ kind }) => kind === 'ClusterRoleBinding')) {
    assert.deepEqual(asArray(binding['subjects']), [
      { kind: 'ServiceAccount', name: GATE_SERVICE_ACCOUNT, namespace: GATE_NAMESPACE },
    ]);
  }
  const version = at(asArray(at(crd, 'spec', 'versions'))[0], 'name');
  assert.equal(`${at(crd, 'spec', 'group')}/${version}`, API_VERSION);
  assert.equal(at(crd, 'spec', 'names', 'kind'), IMAGE_PRELOAD_KIND);
  assert.equal(at(crd, 'metadata', 'name'), `${at(crd, 'spec', 'names', 'plural')}.${GROUP}`);
});

test('puller pods yield to everything and preempt nothing', () => {
  const priority = find('PriorityClass');
  assert.ok(Number(priority['value']) < 0);
  assert.equal(priority['preemptionPolicy'], 'Never');
  assert.equal(priority['globalDefault'], false);
});

test('the gate may do this and nothing else', () => {
  assert.deepEqual(
    [...grants(find('ClusterRole', 'pullgate')), ...grants(find('ClusterRole', 'pullgate-workloads'))].sort(),
    [
      'create events.events.k8s.io',
      'create imagepreloads.pullgate.io',
      'create pods',
      'create subjectaccessreviews.authorization.k8s.io',
      'delete imagepreloads.pullgate.io',
      'delete pods',
      'get deployments.apps',
      'get imagepreloads.pullgate.io',
      'get namespaces',
      'get runtimeclasses.node.k8s.io',
      'get serviceaccounts',
      'list deployments.apps',
      'list events',
      'list imagepreloads.pullgate.io',
      'list limitranges',
      'list namespaces',
      'list nodes',
      'list pods',
      'list replicasets.apps',
      'list resourcequotas',
      'patch deployments.apps',
      'patch deployments/status.apps',
      'patch imagepreloads/status.pullgate.io',
      'watch deployments.apps',
      'watch imagepreloads.pullgate.io',
      'watch namespaces',
      'watch nodes',
      'watch pods',
    ],
  );
  assert.deepEqual(
    base.filter(({ kind }) => kind === 'ClusterRoleBinding').map((binding) => at(binding, 'roleRef', 'name')),
    ['pullgate', 'pullgate-workloads'],
  );
});

test('no role grants bypass, not even by a wildcard', () => {
  for (const role of base.filter(({ kind }) => kind === 'ClusterRole')) {
    for (const grant of grants(role)) assert.doesNotMatch(grant, /bypass|approve|\*/);
  }
});

const of = (mode: Mode) => ({ key: MODE_LABEL, operator: 'In', values: [mode] });
const approval = (operator: 'In' | 'NotIn') => ({
  key: APPROVAL_LABEL,
  operator,
  values: [APPROVAL_REQUIRED],
});
const WEBHOOKS = [
  { name: 'pause', calls: 'pause', namespace: [of('pause')] },
  { name: 'reject', calls: 'reject', namespace: [of('reject'), approval('NotIn')] },
  { name: 'approval', calls: 'pause', namespace: [of('reject'), approval('In')] },
  { name: 'audit', calls: 'audit', namespace: [of('audit')] },
] as const;

const webhooks = asArray(webhookConfiguration['webhooks']).map(asObject);

test('each namespace with a mode has one webhook, which sees updates of Deployments that are not opted out', () => {
  assert.deepEqual(
    webhooks.map((webhook) => ({
      name: at(webhook, 'name'),
      path: at(webhook, 'clientConfig', 'service', 'path'),
      namespace: at(webhook, 'namespaceSelector', 'matchExpressions'),
    })),
    WEBHOOKS.map(({ name, calls, namespace }) => ({
      name: `${name}.${GROUP}`,
      path: `/admit/${calls}`,
      namespace,
    })),
  );
  assert.partialDeepStrictEqual(webhooks[0], {
    // YAML 1.1, which kubectl reads as well, takes a bare `off` for false: the manifest has to quote it.
    objectSelector: { matchExpressions: [{ key: MODE_LABEL, operator: 'NotIn', values: [MODE_OFF] }] },
    rules: [
      {
        operations: ['UPDATE'],
        apiGroups: ['apps'],
        apiVersions: ['v1'],
        resources: ['deployments'],
        scope: 'Namespaced',
      },
    ],
    failurePolicy: 'Ignore',
    sideEffects: 'NoneOnDryRun',
    reinvocationPolicy: 'IfNeeded',
    timeoutSeconds: 5,
  });
});

test('the webhooks differ in nothing but name, path and namespaces', () => {
  const [first, ...others] = webhooks.map(({ name: _n, clientConfig: _c, namespaceSelector: _s, ...rest }) =>
    JSON.stringify(rest),
  );
  for (const other of others) assert.equal(other, first);
});

test('the match condition names the marks of the gate and of opting out', () => {
  const [condition] = asArray(webhooks[0]?.['matchConditions']);
  const expression = asString(at(condition, 'expression')) ?? '';
  const names = new Set([...expression.matchAll(/'([^']*)'/g)].map(([, name]) => name));
  names.delete('');
  assert.deepEqual(names, new Set([HELD_LABEL, HOLD_ANNOTATION, DECIDED_ANNOTATION, MODE_LABEL, MODE_OFF]));
});

test('every manifest has a place at the API server', () => {
  assert.deepEqual(
    [...base, crd, ...policies, webhookConfiguration].map((object) => locate(object).path),
    [
      '/api/v1/namespaces/pullgate',
      '/api/v1/namespaces/pullgate/serviceaccounts/pullgate',
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/pullgate',
      '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/pullgate',
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/pullgate-workloads',
      '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/pullgate-workloads',
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/pullgate-edit',
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/pullgate-view',
      '/apis/scheduling.k8s.io/v1/priorityclasses/pullgate-preload',
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/imagepreloads.pullgate.io',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullgate-puller-pods',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/pullgate-puller-pods',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullgate-status',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/pullgate-status',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullgate-marks',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/pullgate-marks',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullgate-made-for',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/pullgate-made-for',
      '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pullgate',
    ],
  );
});
