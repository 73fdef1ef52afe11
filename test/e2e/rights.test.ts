import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CERTIFICATES_SECRET, GROUP, LEASE, WEBHOOK_CONFIGURATION } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { at } from '../../src/json.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { createNamespace } from '../support/e2e/namespace.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';

const scope = suiteScope();
const GATE = 'system:serviceaccount:pullgate:pullgate';
const REVIEWS = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
const [ACCOUNT = '', ...RIGHTS] = ['service-account', 'rbac', 'rbac-in-cluster'].map((name) =>
  fileURLToPath(new URL(`../../deploy/${name}.yaml`, import.meta.url)),
);
let lab: Lab;
let api: ApiClient;
let shop: string;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  shop = (await createNamespace(scope, lab, api)).name;
  const files = RIGHTS.flatMap((file) => ['-f', file]);
  // The namespace stays, as after a gate that ran as a process: to begin in one that is being deleted, a gate would have to wait.
  scope.after(() => admin('delete', '--ignore-not-found', ...files));
  await admin('apply', '-f', ACCOUNT, ...files);
  for (const role of ['admin', 'edit', 'view']) {
    await admin('-n', shop, 'create', 'rolebinding', role, `--clusterrole=${role}`, `--user=${role}`);
  }
});
after(() => api.close());

async function admin(...args: string[]): Promise<void> {
  const { code, stderr } = await lab.kubectl(args);
  assert.equal(code, 0, stderr);
}

interface Attempt {
  readonly verb: string;
  readonly resource: string;
  readonly group?: string;
  readonly subresource?: string;
  /** Undefined is the whole cluster. */
  readonly namespace?: string | undefined;
  readonly name?: string;
}

/** `kubectl auth can-i` asks the same. */
async function may(user: string, attempt: Attempt, groups: readonly string[] = []): Promise<boolean> {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user, groups: ['system:authenticated', ...groups], resourceAttributes: attempt },
  };
  return at(await api.create(REVIEWS, review), 'status', 'allowed') === true;
}

const gateMay = (attempt: Attempt) =>
  may(GATE, attempt, ['system:serviceaccounts', 'system:serviceaccounts:pullgate']);

/** The roles that take over others are filled in by a controller, some moments later. */
async function soon(user: string, attempt: Attempt): Promise<void> {
  await until(
    `${user} may ${attempt.verb} ${attempt.resource}`,
    20,
    () => may(user, attempt),
    (allowed) => allowed,
  );
}

test('the gate reads no secret but its own: not of the cluster, not of a workload, not another in its namespace', async () => {
  for (const verb of ['get', 'list', 'watch', 'create', 'patch', 'update', 'delete']) {
    for (const namespace of [undefined, shop, 'kube-system']) {
      assert.equal(await gateMay({ verb, resource: 'secrets', namespace }), false, `${verb} in ${namespace}`);
    }
  }
  const namespace = 'pullgate';
  for (const verb of ['get', 'patch']) {
    assert.ok(await gateMay({ verb, resource: 'secrets', namespace, name: CERTIFICATES_SECRET }));
    assert.equal(await gateMay({ verb, resource: 'secrets', namespace, name: 'other' }), false);
  }
  for (const verb of ['list', 'watch', 'delete', 'update']) {
    assert.equal(await gateMay({ verb, resource: 'secrets', namespace }), false, verb);
  }
});

test('of webhook configurations it may change its own, and no lease but its own', async () => {
  const configurations = { group: 'admissionregistration.k8s.io', resource: 'mutatingwebhookconfigurations' };
  const leases = { group: 'coordination.k8s.io', resource: 'leases', namespace: 'pullgate' };
  for (const [own, name] of [
    [configurations, WEBHOOK_CONFIGURATION],
    [leases, LEASE],
  ] as const) {
    for (const verb of ['get', 'patch']) {
      assert.ok(await gateMay({ ...own, verb, name }), `${verb} ${own.resource}`);
      assert.equal(await gateMay({ ...own, verb, name: 'other' }), false, `${verb} any ${own.resource}`);
    }
    for (const verb of ['list', 'watch', 'update', 'delete']) {
      assert.equal(await gateMay({ ...own, verb, name }), false, `${verb} ${own.resource}`);
    }
  }
  assert.equal(await gateMay({ ...configurations, verb: 'create' }), false);
  assert.equal(
    await gateMay({ ...configurations, resource: 'validatingwebhookconfigurations', verb: 'get' }),
    false,
  );
});

test('it cannot raise its rights, act as somebody else, or run anything', async () => {
  const rbac = 'rbac.authorization.k8s.io';
  for (const attempt of [
    { verb: 'impersonate', resource: 'users' },
    { verb: 'impersonate', resource: 'serviceaccounts', namespace: shop },
    { verb: 'create', resource: 'serviceaccounts', subresource: 'token', namespace: shop },
    ...['create', 'patch', 'bind', 'escalate'].map((verb) => ({
      verb,
      group: rbac,
      resource: 'clusterroles',
    })),
    { verb: 'create', group: rbac, resource: 'rolebindings', namespace: shop },
    { verb: 'create', resource: 'pods', subresource: 'exec', namespace: shop },
    { verb: 'get', resource: 'pods', subresource: 'log', namespace: shop },
    { verb: 'patch', resource: 'pods', namespace: shop },
    { verb: 'patch', resource: 'nodes' },
    { verb: 'delete', group: 'apps', resource: 'deployments', namespace: shop },
    { verb: 'get', resource: 'configmaps', namespace: shop },
  ]) {
    assert.equal(await gateMay(attempt), false, JSON.stringify(attempt));
  }
  // What it is there for, so that none of the above is a mistake in the question.
  assert.ok(await gateMay({ verb: 'patch', group: 'apps', resource: 'deployments', namespace: shop }));
  assert.ok(await gateMay({ verb: 'create', resource: 'pods', namespace: shop }));
});

const preloads = (verb: string): Attempt => ({
  verb,
  group: GROUP,
  resource: 'imagepreloads',
  namespace: shop,
});

test('who may edit a namespace may make ImagePreloads in it, who may view it may see them, others neither', async () => {
  await soon('edit', preloads('create'));
  await soon('view', preloads('list'));
  for (const verb of ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch']) {
    const reads = ['get', 'list', 'watch'].includes(verb);
    await soon('admin', preloads(verb));
    await soon('edit', preloads(verb));
    assert.equal(await may('view', preloads(verb)), reads, `view ${verb}`);
    assert.equal(await may('somebody', preloads(verb)), false, `somebody ${verb}`);
  }
  assert.equal(
    await may('edit', { ...preloads('patch'), subresource: 'status' }),
    false,
    'the status is the gate’s',
  );
});

test('nobody may bypass but an admin of the cluster, and who was given that very right', async () => {
  for (const user of ['admin', 'edit', 'view', 'somebody', GATE]) {
    assert.equal(await may(user, preloads('bypass')), false, user);
  }
  assert.ok(await may('root', preloads('bypass'), ['system:masters']));
  const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${shop}`;
  await api.create(`${rbac}/roles`, {
    metadata: { name: 'bypass' },
    rules: [{ apiGroups: [GROUP], resources: ['imagepreloads'], verbs: ['bypass'] }],
  });
  await admin('-n', shop, 'create', 'rolebinding', 'bypass', '--role=bypass', '--user=on-call');
  await soon('on-call', preloads('bypass'));
  assert.equal(await may('on-call', { ...preloads('bypass'), namespace: 'default' }), false);
});
