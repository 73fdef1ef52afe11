import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { parseAllDocuments } from 'yaml';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';
import {
  API_VERSION,
  CERTIFICATES_SECRET,
  GATE_NAMESPACE,
  GATE_SERVICE_ACCOUNT,
  LEASE,
  PRIORITY_CLASS,
  PULLER_LABEL,
  WEBHOOK_CONFIGURATION,
} from '../../src/names.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { exposeState } from '../../src/observe/state-metrics.ts';
import { pullerPod } from '../../src/preload/puller-pod.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEPLOY = join(ROOT, 'deploy');
const text = (path: string) => readFileSync(join(DEPLOY, path), 'utf8');

function documents(path: string): JsonObject[] {
  return [...parseAllDocuments(text(path))].map((document) => asObject(document.toJS()));
}

const kustomization = documents('kustomization.yaml')[0] ?? {};
const base = asArray(kustomization['resources']).flatMap((name) => documents(String(name)));
const job = documents('uninstall/job.yaml')[0] ?? {};

function find(kind: string, name: string, among: readonly JsonObject[] = base): JsonObject {
  const found = among.find((object) => object['kind'] === kind && at(object, 'metadata', 'name') === name);
  assert.ok(found, `no ${kind} ${name}`);
  return found;
}

const gate = find('Deployment', 'pullgate');
const podLabels = asObject(at(gate, 'spec', 'template', 'metadata', 'labels'));
const container = asObject(asArray(at(gate, 'spec', 'template', 'spec', 'containers'))[0]);
const ports = asArray(container['ports']).map(asObject);
const service = find('Service', 'pullgate');
const servicePorts = asArray(at(service, 'spec', 'ports')).map(asObject);
const webhooks = asArray(find('MutatingWebhookConfiguration', WEBHOOK_CONFIGURATION)['webhooks']);

const isSelected = (selector: unknown, labels: unknown) =>
  Object.entries(asObject(selector)).every(([name, value]) => at(labels, name) === value);

test('every kustomization lists every file beside it, and no other', () => {
  for (const path of globSync('**/kustomization.yaml', { cwd: DEPLOY })) {
    const [object] = documents(path);
    const generated = asArray(object?.['configMapGenerator']).flatMap((one) => asArray(at(one, 'files')));
    const listed = [...asArray(object?.['resources']), ...generated.map((one) => String(one).split('=')[1])];
    const here = readdirSync(join(DEPLOY, dirname(path)), { withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'kustomization.yaml')
      .map(({ name }) => name);
    assert.deepEqual(listed.toSorted(), here.toSorted(), path);
  }
});

test('each component is one, so that it can be listed beside others', () => {
  const folders = readdirSync(join(DEPLOY, 'components'));
  assert.ok(folders.length >= 6);
  for (const folder of folders) {
    assert.equal(documents(`components/${folder}/kustomization.yaml`)[0]?.['kind'], 'Component', folder);
  }
});

test('everything in a namespace is in that of the gate', () => {
  const clusterWide = [
    'Namespace',
    'ClusterRole',
    'ClusterRoleBinding',
    'CustomResourceDefinition',
    'PriorityClass',
    'MutatingWebhookConfiguration',
  ];
  for (const object of [...base, job]) {
    const wanted = clusterWide.includes(asString(object['kind']) ?? '') ? undefined : GATE_NAMESPACE;
    assert.equal(at(object, 'metadata', 'namespace'), wanted, JSON.stringify(object['metadata']));
  }
});

test('Service, budget, spreading and network policy select the pods of the gate', () => {
  const pod = asObject(at(gate, 'spec', 'template', 'spec'));
  const [term] = asArray(
    at(pod, 'affinity', 'podAntiAffinity', 'preferredDuringSchedulingIgnoredDuringExecution'),
  );
  const selectors = [
    at(gate, 'spec', 'selector', 'matchLabels'),
    at(service, 'spec', 'selector'),
    at(find('PodDisruptionBudget', 'pullgate'), 'spec', 'selector', 'matchLabels'),
    at(find('NetworkPolicy', 'pullgate'), 'spec', 'podSelector', 'matchLabels'),
    at(term, 'podAffinityTerm', 'labelSelector', 'matchLabels'),
    at(asArray(pod['topologySpreadConstraints'])[0], 'labelSelector', 'matchLabels'),
  ];
  for (const selector of selectors) {
    assert.ok(Object.keys(asObject(selector)).length > 0);
    assert.ok(isSelected(selector, podLabels), JSON.stringify(selector));
  }
});

test('the pod of the uninstall Job is neither called nor counted as a gate', () => {
  const labels = at(job, 'spec', 'template', 'metadata', 'labels');
  for (const selector of [
    at(service, 'spec', 'selector'),
    at(find('PodDisruptionBudget', 'pullgate'), 'spec', 'selector', 'matchLabels'),
  ]) {
    assert.equal(isSelected(selector, labels), false);
  }
});

test('webhooks call the Service, which calls the port where the gate listens', () => {
  for (const webhook of webhooks) {
    const called = asObject(at(webhook, 'clientConfig', 'service'));
    assert.deepEqual(
      [called['namespace'], called['name']],
      [GATE_NAMESPACE, at(service, 'metadata', 'name')],
    );
    // Without a port it is 443.
    assert.equal(servicePorts.find(({ port }) => port === (called['port'] ?? 443))?.['name'], 'admission');
  }
  assert.deepEqual(
    ports.map(({ name, containerPort }) => [name, containerPort]),
    [
      ['admission', 9443],
      ['health', 8081],
    ],
  );
  for (const { targetPort } of servicePorts) assert.ok(ports.some(({ name }) => name === targetPort));
});

test('probes, network policy and ServiceMonitor name ports that there are', () => {
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
    const path = probe === 'readinessProbe' ? '/readyz' : '/healthz';
    assert.deepEqual(at(container, probe, 'httpGet'), { path, port: 'health' });
  }
  const [ingress] = asArray(at(find('NetworkPolicy', 'pullgate'), 'spec', 'ingress'));
  assert.deepEqual(
    asArray(at(ingress, 'ports')).map((port) => at(port, 'port')),
    ports.map(({ containerPort }) => containerPort),
  );
  const [monitor] = documents('components/prometheus/service-monitor.yaml');
  assert.ok(isSelected(at(monitor, 'spec', 'selector', 'matchLabels'), at(service, 'metadata', 'labels')));
  for (const endpoint of asArray(at(monitor, 'spec', 'endpoints'))) {
    assert.ok(servicePorts.some(({ name }) => name === at(endpoint, 'port')));
  }
});

test('the gate and the Job act as its account, with a priority that there is', () => {
  for (const object of [gate, job]) {
    const pod = asObject(at(object, 'spec', 'template', 'spec'));
    assert.equal(pod['serviceAccountName'], GATE_SERVICE_ACCOUNT);
    find('PriorityClass', asString(pod['priorityClassName']) ?? '');
  }
});

test('the gate and the Job are as restricted as their namespace asks for, on a root that is read-only', () => {
  const labels = at(find('Namespace', GATE_NAMESPACE), 'metadata', 'labels');
  assert.equal(at(labels, 'pod-security.kubernetes.io/enforce'), 'restricted');
  for (const object of [gate, job]) {
    const pod = asObject(at(object, 'spec', 'template', 'spec'));
    assert.partialDeepStrictEqual(pod['securityContext'], {
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    for (const one of asArray(pod['containers'])) {
      assert.deepEqual(at(one, 'securityContext'), {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
  }
});

test('the image is named in one place of each kustomization, with the version of the package', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  for (const path of ['kustomization.yaml', 'uninstall/kustomization.yaml']) {
    assert.deepEqual(documents(path)[0]?.['images'], [
      { name: 'pullgate', newName: 'pullgate', newTag: version },
    ]);
  }
  for (const object of [gate, job]) {
    const containers = asArray(at(object, 'spec', 'template', 'spec', 'containers'));
    assert.deepEqual(
      containers.map((one) => at(one, 'image')),
      ['pullgate'],
    );
  }
  assert.match(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'), new RegExp(`ARG VERSION=${version}\n`));
});

const roles = base.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role');

test('every rule says in a comment what it is for', () => {
  for (const file of ['rbac.yaml', 'rbac-in-cluster.yaml']) {
    for (const document of text(file).split('\n---\n')) {
      const lines = document.split('\n');
      const rules = lines.flatMap((line, index) => (line.startsWith('  - apiGroups:') ? [index] : []));
      for (const rule of rules) {
        // A role of one rule may say it above.
        const above = [lines[rule - 1], rules.length === 1 ? lines[0] : undefined];
        assert.ok(
          above.some((line) => /^ *# /.test(line ?? '')),
          `${file}: ${lines.slice(rule, rule + 4).join(' ')}`,
        );
      }
    }
  }
});

test('outside of its namespace it reads no secret, and of webhook configurations only its own', () => {
  for (const role of roles) {
    for (const rule of asArray(role['rules']).map(asObject)) {
      const resources = asArray(rule['resources']);
      if (resources.includes('secrets')) assert.equal(role['kind'], 'Role');
      if (resources.includes('mutatingwebhookconfigurations')) {
        assert.deepEqual(rule['resourceNames'], [WEBHOOK_CONFIGURATION]);
        assert.deepEqual(rule['verbs'], ['get', 'patch']);
      }
    }
  }
});

test('in its namespace it may read and change one Lease and one Secret', () => {
  const rules = asArray(find('Role', 'pullgate')['rules']).map((rule) => [
    asArray(at(rule, 'resources'))[0],
    asArray(at(rule, 'resourceNames')),
    asArray(at(rule, 'verbs')),
  ]);
  assert.deepEqual(rules, [
    ['leases', [], ['create']],
    ['leases', [LEASE], ['get', 'patch']],
    ['secrets', [], ['create']],
    ['secrets', [CERTIFICATES_SECRET], ['get', 'patch']],
  ]);
});

test('no right is given to it but by roles that are here, and no role of the gate is given to anybody else', () => {
  const bindings = base.filter(({ kind }) => kind === 'ClusterRoleBinding' || kind === 'RoleBinding');
  for (const binding of bindings) {
    find(asString(at(binding, 'roleRef', 'kind')) ?? '', asString(at(binding, 'roleRef', 'name')) ?? '');
    assert.deepEqual(binding['subjects'], [
      { kind: 'ServiceAccount', name: GATE_SERVICE_ACCOUNT, namespace: GATE_NAMESPACE },
    ]);
  }
  assert.equal(bindings.length, 4);
});

test('component fail-closed: refuses in the modes that hold, and leaves audit alone', () => {
  const [{ patches } = {}] = documents('components/fail-closed/kustomization.yaml');
  const patched = [...String(at(asArray(patches)[0], 'patch')).matchAll(/webhooks\/(\d)/g)].map(([, index]) =>
    at(webhooks[Number(index)], 'name'),
  );
  assert.deepEqual(patched, ['pause.pullgate.io', 'reject.pullgate.io']);
});

test('component namespaced: takes away the binding of what it does to workloads, and names the role to bind', () => {
  const file = 'components/namespaced/kustomization.yaml';
  const [patch] = asArray(documents(file)[0]?.['patches']);
  assert.match(String(at(patch, 'patch')), /kind: ClusterRoleBinding\n.*\n +name: pullgate-workloads/);
  find('ClusterRoleBinding', 'pullgate-workloads');
  assert.ok(text(file).includes('--clusterrole=pullgate-workloads'));
  assert.ok(text(file).includes(`--serviceaccount=${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`));
});

test('component before-1.28: takes the match conditions off every webhook', () => {
  const [patch] = asArray(documents('components/before-1.28/kustomization.yaml')[0]?.['patches']);
  const removed = [
    ...String(at(patch, 'patch')).matchAll(/remove, path: \/webhooks\/(\d)\/matchConditions/g),
  ];
  assert.deepEqual(
    removed.map(([, index]) => Number(index)),
    webhooks.map((_, index) => index),
  );
});

test('component cert-manager: writes the Secret that the gate serves, for the name that API servers call', () => {
  const objects = documents('components/cert-manager/certificates.yaml');
  assert.partialDeepStrictEqual(find('Certificate', 'pullgate', objects)['spec'], {
    secretName: CERTIFICATES_SECRET,
    dnsNames: [`pullgate.${GATE_NAMESPACE}.svc`],
  });
  for (const { spec } of objects.filter(({ kind }) => kind === 'Certificate')) {
    find('Issuer', asString(at(spec, 'issuerRef', 'name')) ?? '', objects);
  }
});

test('component pod-shape: lets the puller pod through that the gate makes', () => {
  const [policy, binding] = documents('components/pod-shape/admission-policy.yaml');
  assert.equal(at(binding, 'spec', 'policyName'), at(policy, 'metadata', 'name'));
  const account = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
  const [condition] = asArray(at(policy, 'spec', 'matchConditions'));
  assert.equal(at(condition, 'expression'), `request.userInfo.username == '${account}'`);

  const pod = pullerPod({
    spec: {
      namespace: 'shop',
      image: 'registry.test/app:1',
      imagePullPolicy: 'IfNotPresent',
      imagePullSecrets: [],
      serviceAccountName: '',
      tolerations: [],
    },
    preload: { name: 'web', uid: 'uid-1' },
    node: 'node-1',
    attempt: 1,
    firstAttemptAt: 0,
    random: (0.123456789).toString(36).slice(2),
  });
  const [pull] = asArray(at(pod, 'spec', 'containers'));
  const expressions = asArray(at(policy, 'spec', 'validations'))
    .map((one) => at(one, 'expression'))
    .join('\n');
  const command = /command\[0\]\.matches\('([^']+)'\)/.exec(expressions)?.[1] ?? 'missing';
  assert.match(String(asArray(at(pull, 'command'))[0]), new RegExp(command));
  // What the policy compares with, and what there has to be in the pod. There is no CEL here to ask.
  const compared = [...expressions.matchAll(/'([^']*)'/g)].flatMap(([, value]) =>
    value && value !== command ? [value] : [],
  );
  const expected = [API_VERSION, 'ImagePreload', PULLER_LABEL, at(pull, 'name'), PRIORITY_CLASS];
  for (const value of [...expected, 'RuntimeDefault', 'Never', 'ALL'])
    assert.ok(compared.includes(String(value)));
  assert.match(expressions, new RegExp(`runAsUser == ${at(pod, 'spec', 'securityContext', 'runAsUser')}\\b`));
  for (const value of compared) assert.ok(JSON.stringify(pod).includes(value), value);
  for (const absent of [
    'volumes',
    'initContainers',
    'hostNetwork',
    'hostPID',
    'hostIPC',
    'shareProcessNamespace',
  ])
    assert.equal(at(pod, 'spec', absent), undefined);
  for (const absent of ['args', 'env', 'envFrom', 'volumeMounts', 'ports', 'lifecycle', 'livenessProbe'])
    assert.equal(at(pull, absent), undefined);
});

const registry = new Registry();
createMetrics(registry);
exposeState(registry, {
  holds: () => undefined,
  pulls: () => undefined,
  watches: () => [],
  isLeader: () => false,
  certificates: () => [],
});

test('alerts and dashboard ask for metrics that there are', () => {
  for (const file of ['components/prometheus/prometheus-rule.yaml', 'components/grafana/dashboard.json']) {
    const asked = new Set([...text(file).matchAll(/\bpullgate_[a-z_]+/g)].map(([name]) => name));
    assert.ok(asked.size >= 5);
    for (const name of asked) {
      assert.ok(registry.getSingleMetric(name.replace(/_(bucket|count|sum)$/, '')), `${file}: ${name}`);
    }
  }
});

test('every alert says what it means and what to do', () => {
  const [rule] = documents('components/prometheus/prometheus-rule.yaml');
  const alerts = asArray(at(rule, 'spec', 'groups')).flatMap((group) => asArray(at(group, 'rules')));
  assert.equal(alerts.length, 6);
  for (const alert of alerts) {
    for (const annotation of ['summary', 'description', 'runbook'])
      assert.ok(asString(at(alert, 'annotations', annotation)), `${at(alert, 'alert')}: ${annotation}`);
    assert.ok(asString(at(alert, 'for')));
    assert.ok(['warning', 'critical'].includes(String(at(alert, 'labels', 'severity'))));
  }
});

test('the dashboard is one: panels with a number and a place of their own', () => {
  const dashboard = JSON.parse(text('components/grafana/dashboard.json')) as JsonObject;
  const panels = asArray(dashboard['panels']).map(asObject);
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { gridPos, title } of panels) {
    const [x, y, w, h] = ['x', 'y', 'w', 'h'].map((name) => Number(at(gridPos, name)));
    for (let column = x ?? 0; column < (x ?? 0) + (w ?? 0); column += 1) {
      for (let row = y ?? 0; row < (y ?? 0) + (h ?? 0); row += 1) {
        assert.ok(column < 24 && !taken.has(`${column} ${row}`), `${title} lies over another one`);
        taken.add(`${column} ${row}`);
      }
    }
  }
});

test('the build sees every file that the Dockerfile copies, and nothing else of the checkout', () => {
  const copied = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
    .flatMap((line) => line.split(' ').slice(1, -1));
  const [all, ...seen] = readFileSync(join(ROOT, '.dockerignore'), 'utf8').trim().split('\n');
  assert.equal(all, '*');
  assert.deepEqual(seen.toSorted(), [...new Set(copied)].map((path) => `!${basename(path)}`).toSorted());
});
