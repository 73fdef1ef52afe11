import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, parseDocument } from 'yaml';
import {
  CERTIFICATES_SECRET,
  GATE_NAMESPACE,
  GATE_SERVICE_ACCOUNT,
  LEASE,
  WEBHOOK_CONFIGURATION,
} from '../../src/api/names.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DEPLOY = join(ROOT, 'deploy');
const text = (path: string) => readFileSync(join(DEPLOY, path), 'utf8');

function documents(path: string): JsonObject[] {
  return [...parseAllDocuments(text(path))].map((document) => asObject(document.toJS()));
}

const kustomization = documents('kustomization.yaml')[0] ?? {};
const base = asArray(kustomization['resources']).flatMap((name) => documents(String(name)));
const job = documents('uninstall/job.yaml')[0] ?? {};

const placeholder = (name: string) => `\${${name}}`;

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
    'FlowSchema',
    'MutatingWebhookConfiguration',
    'ValidatingAdmissionPolicy',
    'ValidatingAdmissionPolicyBinding',
  ];
  for (const object of [...base, job]) {
    const wanted = clusterWide.includes(asString(object['kind']) ?? '') ? undefined : GATE_NAMESPACE;
    assert.equal(at(object, 'metadata', 'namespace'), wanted, JSON.stringify(object['metadata']));
  }
});

test('no role that is aggregated to users lets them write a status, or bypass', () => {
  const roles = base.filter((object) =>
    Object.keys(asObject(at(object, 'metadata', 'labels'))).some((label) => label.includes('/aggregate-to-')),
  );
  const rules = roles.flatMap((role) => asArray(role['rules']));
  assert.ok(rules.length > 1);
  for (const rule of rules) {
    assert.deepEqual([at(rule, 'apiGroups'), at(rule, 'resources')], [['pullgate.io'], ['imagepreloads']]);
    const verbs = asArray(at(rule, 'verbs'));
    assert.ok(!verbs.includes('*') && !verbs.includes('bypass'), JSON.stringify(verbs));
  }
});

test('with the component bypass-permission the gate asks for the permission', () => {
  const [{ patches } = {}] = documents('components/bypass-permission/kustomization.yaml');
  const [patched] = asArray(patches).map((one) => asObject(parseDocument(String(at(one, 'patch'))).toJS()));
  const [patch] = asArray(at(patched, 'spec', 'template', 'spec', 'containers'));
  assert.equal(at(patch, 'name'), container['name']);
  const env = asArray(at(patch, 'env')).map((one) => [at(one, 'name'), at(one, 'value')]);
  assert.deepEqual(env, [['PULLGATE_BYPASS_NEEDS_PERMISSION', 'true']]);
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

test('what no later apply could change is as it was in the first release', () => {
  assert.deepEqual(at(gate, 'spec', 'selector', 'matchLabels'), {
    'app.kubernetes.io/name': 'pullgate',
    'app.kubernetes.io/component': 'gate',
  });
  assert.deepEqual(
    base
      .filter(({ kind }) => kind === 'PriorityClass')
      .map(({ metadata, ...rest }) => [at(metadata, 'name'), rest['value']]),
    [
      ['pullgate-preload', -10],
      ['pullgate', 1_000_000_000],
    ],
  );
  for (const { kind, metadata, roleRef } of base.filter((object) => object['roleRef'] !== undefined)) {
    assert.equal(at(roleRef, 'name'), at(metadata, 'name'), asString(kind));
  }
  // All of a Job is: the next release could not apply its own while this one is there.
  assert.ok(Number(at(job, 'spec', 'ttlSecondsAfterFinished')) > 0);
});

test('an upgrade and a drained node leave a replica that answers', () => {
  const replicas = Number(at(gate, 'spec', 'replicas'));
  assert.ok(replicas >= 2);
  assert.deepEqual(at(gate, 'spec', 'strategy', 'rollingUpdate'), { maxSurge: 1, maxUnavailable: 0 });
  const budget = at(find('PodDisruptionBudget', 'pullgate'), 'spec');
  assert.equal(at(budget, 'minAvailable'), replicas - 1);
  assert.equal(at(budget, 'unhealthyPodEvictionPolicy'), 'AlwaysAllow');
});

test('the gate and the Job say what they need, and are bounded in memory alone', () => {
  for (const object of [gate, job]) {
    for (const one of asArray(at(object, 'spec', 'template', 'spec', 'containers'))) {
      assert.deepEqual(Object.keys(asObject(at(one, 'resources', 'requests'))), ['cpu', 'memory']);
      assert.deepEqual(Object.keys(asObject(at(one, 'resources', 'limits'))), ['memory']);
    }
  }
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

test('API servers give its Lease the priority of their own, as its ServiceAccount may use it', () => {
  const { spec } = find('FlowSchema', 'pullgate-leader-election');
  assert.equal(at(spec, 'priorityLevelConfiguration', 'name'), 'leader-election');
  // Behind the one that API servers have for kube-system, before the one that they have for every ServiceAccount.
  const precedence = Number(at(spec, 'matchingPrecedence'));
  assert.ok(precedence > 100 && precedence < 9000);
  const [rule, ...rest] = asArray(at(spec, 'rules'));
  assert.deepEqual(rest, []);
  assert.deepEqual(at(rule, 'subjects'), [
    { kind: 'ServiceAccount', serviceAccount: { namespace: GATE_NAMESPACE, name: GATE_SERVICE_ACCOUNT } },
  ]);
  const verbs = asArray(find('Role', 'pullgate')['rules'])
    .filter((one) => asArray(at(one, 'resources')).includes('leases'))
    .flatMap((one) => asArray(at(one, 'verbs')));
  assert.deepEqual(at(rule, 'resourceRules'), [
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], namespaces: [GATE_NAMESPACE], verbs },
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
  assert.deepEqual(patched, ['pause.pullgate.io', 'reject.pullgate.io', 'approval.pullgate.io']);
});

test('component namespaced: takes away the binding of what it does to workloads, and names the role to bind', () => {
  const file = 'components/namespaced/kustomization.yaml';
  const [patch] = asArray(documents(file)[0]?.['patches']);
  assert.match(String(at(patch, 'patch')), /kind: ClusterRoleBinding\n.*\n +name: pullgate-workloads/);
  find('ClusterRoleBinding', 'pullgate-workloads');
  assert.ok(text(file).includes('--clusterrole=pullgate-workloads'));
  assert.ok(text(file).includes(`--serviceaccount=${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`));
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

test('every alert says what it means and what to do', () => {
  const [rule] = documents('components/prometheus/prometheus-rule.yaml');
  const alerts = asArray(at(rule, 'spec', 'groups')).flatMap((group) => asArray(at(group, 'rules')));
  assert.equal(alerts.length, 7);
  for (const alert of alerts) {
    for (const annotation of ['summary', 'description', 'runbook'])
      assert.ok(asString(at(alert, 'annotations', annotation)), `${at(alert, 'alert')}: ${annotation}`);
    assert.ok(['warning', 'critical'].includes(String(at(alert, 'labels', 'severity'))));
  }
});

const dashboard = JSON.parse(text('components/grafana/dashboard.json')) as JsonObject;
const panels = asArray(dashboard['panels']).map(asObject);

test('the dashboard is one that Grafana takes: of a schema, with a name that stays, and a data source to choose', () => {
  assert.ok(asString(dashboard['title']) && asString(dashboard['uid']));
  assert.ok(Number.isInteger(dashboard['schemaVersion']));
  // What Grafana itself sets: with it an import would fail, or overwrite another one.
  assert.equal(dashboard['id'] ?? null, null);
  const variables = asArray(at(dashboard, 'templating', 'list'));
  const sources = variables.filter((variable) => at(variable, 'type') === 'datasource');
  assert.deepEqual(
    sources.map((source) => [at(source, 'name'), at(source, 'query')]),
    [['datasource', 'prometheus']],
  );
  const used = JSON.stringify(panels).match(/\$\{(\w+)\}/g) ?? [];
  assert.deepEqual(
    new Set(used),
    new Set(variables.map((variable) => placeholder(String(at(variable, 'name'))))),
  );
});

test('every panel of the dashboard has a title, a data source, a unit, and queries with names of their own', () => {
  assert.ok(panels.length >= 10);
  for (const panel of panels) {
    const title = asString(panel['title']) ?? '';
    assert.ok(title !== '');
    assert.ok(['stat', 'timeseries'].includes(String(panel['type'])), title);
    assert.deepEqual(panel['datasource'], { type: 'prometheus', uid: placeholder('datasource') }, title);
    assert.ok(asString(at(panel, 'fieldConfig', 'defaults', 'unit')), title);
    const targets = asArray(panel['targets']);
    assert.ok(targets.length > 0, title);
    assert.equal(new Set(targets.map((target) => at(target, 'refId'))).size, targets.length, title);
    for (const target of targets)
      assert.ok(asString(at(target, 'refId')) && asString(at(target, 'expr')), title);
  }
});

test('the panels of the dashboard have a number and a place of their own', () => {
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

test('the image says what it is, of which version, licence and base', () => {
  const { description, license } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<
    string,
    string
  >;
  const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
  const labels = [...dockerfile.matchAll(/org\.opencontainers\.image\.([a-z.]+)="([^"]*)"/g)].map(
    ([, key, value]) => [key, value],
  );
  assert.deepEqual(Object.fromEntries(labels), {
    title: 'pullgate',
    description,
    licenses: license,
    // An ARG, of the package's version: see above.
    version: placeholder('VERSION'),
    'base.name': placeholder('NODE_IMAGE'),
  });
  assert.match(dockerfile, /^USER 65532:65532$/m);
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
