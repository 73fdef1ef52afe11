import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  APPROVAL_LABEL,
  APPROVED_ANNOTATION,
  BYPASS_ANNOTATION,
  MIN_NODES_ANNOTATION,
  MODE_LABEL,
  NODE_SELECTOR_ANNOTATION,
  PARALLELISM_ANNOTATION,
} from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { isForbidden } from '../../src/cluster/api-error.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { deploy, deploymentOf, isHeld, manifestOf } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { type InClusterGate, inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Namespace, type Scope } from '../support/e2e/namespace.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const scope = suiteScope();
const POLICIES = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies';
const OFF_DENIED = /ValidatingAdmissionPolicy 'pullgate-bypass-permission' .* needs the verb bypass/;
const STATUS_DENIED = /ValidatingAdmissionPolicy 'pullgate-status' .* Only Pullgate writes the status/;
const SETTING_IGNORED = /it must be a percentage of at least 100%, because --bypass-needs-permission is set/;

let lab: Lab;
let api: ApiClient;
let gate: InClusterGate;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  gate = await inClusterGate(scope, lab, ['bypass-permission']);
  await gate.install();
  // A policy is in effect some moments after it is stored.
  const yard = await createNamespace(scope, lab, api);
  await editor(yard, 'deployer');
  await until(
    'the policy is in effect',
    30,
    () => create(yard, 'probe', 'deployer', 'off', '--dry-run=server'),
    ({ stderr }) => OFF_DENIED.test(stderr),
  );
});
after(() => api.close());

/** Binds the built-in role `edit` to the user, and one of these rights of Pullgate's besides. */
async function editor(
  shop: Namespace,
  user: string,
  right?: { resource: string; verbs: string[] },
): Promise<void> {
  await shop.kubectl('create', 'rolebinding', user, '--clusterrole=edit', `--user=${user}`);
  if (right === undefined) return;
  await api.create(`/apis/rbac.authorization.k8s.io/v1/namespaces/${shop.name}/roles`, {
    metadata: { name: user },
    rules: [{ apiGroups: ['pullgate.io'], resources: [right.resource], verbs: right.verbs }],
  });
  await shop.kubectl('create', 'rolebinding', `${user}-right`, `--role=${user}`, `--user=${user}`);
}

async function create(shop: Namespace, name: string, user: string, mode?: string, ...flags: string[]) {
  const manifest = manifestOf(name);
  const labels = { app: name, ...(mode !== undefined && { [MODE_LABEL]: mode }) };
  const input = JSON.stringify({ ...manifest, metadata: { name, labels } });
  return await lab.kubectl(['-n', shop.name, `--as=${user}`, 'create', '-f', '-', ...flags], { input });
}

/** Held for an image that one node gets at once and the other one after it, some 10 s later. */
async function heldFor(
  t: Scope,
): Promise<{ shop: Namespace; web: Awaited<ReturnType<typeof deploy>>; image: string }> {
  const shop = await createNamespace(t, lab, api);
  await editor(shop, 'deployer');
  const web = await deploy(shop, 'web');
  const image = await shop.pushSlow('v2', 100);
  await shop.kubectl('annotate', 'deployment', 'web', `${PARALLELISM_ANNOTATION}=1`);
  await web.setImage(image);
  return { shop, web, image };
}

test('the API server has nothing to say against the expressions of the policies', async () => {
  for (const name of [
    'pullgate-bypass-permission',
    'pullgate-approval-permission',
    'pullgate-status',
    'pullgate-made-for',
  ]) {
    const policy = await until(
      `the API server has checked the types of ${name}`,
      20,
      () => api.get(`${POLICIES}/${name}`),
      (object) => at(object, 'status', 'typeChecking') !== undefined,
    );
    assert.deepEqual(asArray(at(policy, 'status', 'typeChecking', 'expressionWarnings')), []);
  }
});

describe('edit a namespace without the verb bypass, with the component bypass-permission [bypass-permission]', {
  concurrency: true,
}, () => {
  test('`off` at creation is denied, and allowed with the verb', async (t) => {
    const shop = await createNamespace(t, lab, api);
    await editor(shop, 'deployer');
    await editor(shop, 'on-call', { resource: 'imagepreloads', verbs: ['bypass'] });
    const denied = await create(shop, 'api', 'deployer', 'off');
    assert.equal(denied.code, 1);
    assert.match(denied.stderr, OFF_DENIED);
    assert.equal((await create(shop, 'api', 'deployer')).code, 0);
    assert.equal((await create(shop, 'job', 'on-call', 'off')).code, 0);
    // What is out stays so for everybody.
    const scaled = await shop.tryKubectl('--as=deployer', 'scale', 'deployment', 'job', '--replicas=0');
    assert.equal(scaled.code, 0, scaled.stderr);
    const off = ['label', 'deployment', 'api', `${MODE_LABEL}=off`];
    const refused = await shop.tryKubectl('--as=deployer', ...off);
    assert.match(refused.stderr, /deployer may not opt a Deployment out|needs the verb bypass/);
    assert.equal((await deploymentOf(shop, 'api').read()).labels[MODE_LABEL], undefined);
    assert.equal((await shop.tryKubectl('--as=on-call', ...off)).code, 0);
  });

  test('an update beyond a limit is denied, and goes ahead with the verb', async (t) => {
    const shop = await createNamespace(t, lab, api);
    await editor(shop, 'deployer');
    await editor(shop, 'on-call', { resource: 'imagepreloads', verbs: ['bypass'] });
    const web = await deploy(shop, 'web');
    const before = await web.read();
    const image = await shop.push('v2');
    const tolerations = Array.from({ length: 101 }, (_, n) => ({ key: `key-${n}`, operator: 'Exists' }));
    const spec = { template: { spec: { tolerations, containers: [{ name: 'app', image }] } } };
    const patch = ['patch', 'deployment', 'web', '-p', JSON.stringify({ spec })];
    const denied = await shop.tryKubectl('--as=deployer', ...patch);
    assert.equal(denied.code, 1);
    assert.match(
      denied.stderr,
      /tolerations has 101 entries, more than 100, so Pullgate cannot hold the rollout, and deployer may not bypass/,
    );
    assert.equal((await web.read()).templateHash, before.templateHash);
    const passed = await shop.tryKubectl('--as=on-call', ...patch);
    assert.equal(passed.code, 0, passed.stderr);
    assert.match(passed.stderr, /continues without a preload: tolerations has 101 entries, more than 100/);
    assert.match((await told(shop, 'web', 'LimitExceeded')).note, /tolerations has 101 entries/);
  });

  test('an update whose review is too large to read is denied', async (t) => {
    const shop = await createNamespace(t, lab, api);
    const web = await deploy(shop, 'web');
    await shop.kubectl('scale', 'deployment', 'web', '--replicas=0');
    const image = await shop.push('v2');
    // API servers write six characters for each. A request has 3 MB at most, so two of them make the review that large.
    const value = '<'.repeat(450_000);
    const update = (name: string, more: JsonObject) => {
      const containers = [{ name: 'app', env: [{ name, value }], ...more }];
      return api.strategicPatch(`/apis/apps/v1/namespaces/${shop.name}/deployments/web`, {
        spec: { template: { spec: { containers } } },
      });
    };
    await update('FIRST', {});
    const before = await web.read();
    await assert.rejects(
      update('SECOND', { image }),
      (error) => isForbidden(error) && /Pullgate cannot read it/.test(error.apiMessage),
    );
    assert.equal((await web.read()).templateHash, before.templateHash);
  });

  test('looser settings are ignored with a warning, and so is a bypass', async (t) => {
    const { shop, web } = await heldFor(t);
    const annotate = (pair: string) =>
      shop.kubectl('--as=deployer', 'annotate', 'deployment', 'web', pair, '--overwrite');
    assert.match((await annotate(`${MIN_NODES_ANNOTATION}=1`)).stderr, SETTING_IGNORED);
    assert.match(
      (await annotate(`${NODE_SELECTOR_ANNOTATION}=no=node`)).stderr,
      /it must be absent, because/,
    );
    assert.match((await annotate(`${BYPASS_ANNOTATION}=now`)).stderr, /the bypass was refused/);
    const { note } = await told(shop, 'web', 'InvalidSetting');
    assert.match(note, /because --bypass-needs-permission is set/);
    await until('one node is ready', 90, shop.preloads, ([one]) => one?.status?.readyNodes === 1);
    assert.ok(isHeld(await web.read()));
    const { spec } = (await shop.preloads())[0] ?? {};
    assert.deepEqual([spec?.minNodes, spec?.scheduling.nodeSelector], ['100%', undefined]);
    await web.released(90);
    assert.match((await told(shop, 'web', 'RolloutReleased')).note, /\(Ready\)/);
  });

  test('an ImagePreload or a status of one’s own releases nothing', async (t) => {
    const { shop, web } = await heldFor(t);
    const [awaited] = await until('it is there', 10, shop.preloads, ({ length }) => length === 1);
    assert.ok(awaited);
    const path = `/apis/pullgate.io/v1alpha1/namespaces/${shop.name}/imagepreloads/${awaited.name}`;
    const stored = asObject(await api.get(path));
    await editor(shop, 'deployer-2', { resource: 'imagepreloads/status', verbs: ['get', 'patch'] });
    const patch = JSON.stringify({ status: { phase: 'Ready' } });
    const status = ['patch', 'ipl', awaited.name, '--subresource=status', '--type=merge', '-p', patch];
    assert.match((await shop.tryKubectl('--as=deployer-2', ...status)).stderr, STATUS_DENIED);

    await shop.kubectl('--as=deployer', 'delete', 'ipl', awaited.name);
    const forged = await forge(shop, stored, { minNodes: 1, deadlineSeconds: 1 });
    const [anew] = await until(
      'it is made anew',
      20,
      shop.preloads,
      ([one]) => one !== undefined && one.uid !== awaited.uid && one.uid !== forged,
    );
    assert.deepEqual([anew?.spec.minNodes, anew?.spec.deadlineSeconds], ['100%', 3600]);
    await until('one node is ready', 90, shop.preloads, ([one]) => one?.status?.readyNodes === 1);
    assert.ok(isHeld(await web.read()));
    await web.released(90);
  });

  test('where nobody asks the webhook, as while no gate answers, `off` is denied as well', async (t) => {
    const shop = await createNamespace(t, lab, api, {});
    await editor(shop, 'deployer');
    await deploy(shop, 'web');
    const off = await shop.tryKubectl('--as=deployer', 'label', 'deployment', 'web', `${MODE_LABEL}=off`);
    assert.equal(off.code, 1);
    assert.match(off.stderr, OFF_DENIED);
  });
});

describe('approve another pod template, or without the verb `approve` [approval-refused]', () => {
  test('ignored with a warning; a user with the verb approves, and the requirement stays', async (t) => {
    const shop = await createNamespace(t, lab, api);
    await editor(shop, 'deployer');
    await editor(shop, 'lead', { resource: 'imagepreloads', verbs: ['approve'] });
    const web = await deploy(shop, 'web');
    const require = `${APPROVAL_LABEL}=required`;
    assert.equal((await shop.tryKubectl('--as=deployer', 'label', 'deployment', 'web', require)).code, 0);
    const image = await shop.push('v2');
    await shop.kubectl('--as=deployer', 'set', 'image', 'deployment/web', `app=${image}`);
    const { note } = await told(shop, 'web', 'WaitingForApproval', 60);
    const [, value = ''] = /pullgate\.io\/approved=([0-9a-f]+)/.exec(note) ?? [];
    const approve = (user: string, template: string) =>
      shop.tryKubectl(
        ...[
          'annotate',
          'deployment',
          'web',
          `${APPROVED_ANNOTATION}=${template}`,
          '--overwrite',
          `--as=${user}`,
        ],
      );
    assert.match(
      (await approve('lead', 'another')).stderr,
      /it names another pod template than the held one/,
    );
    assert.match(
      (await approve('deployer', value)).stderr,
      /the approval was refused: it needs the verb approve/,
    );
    const removed = await shop.tryKubectl(
      '--as=deployer',
      'label',
      'deployment',
      'web',
      `${APPROVAL_LABEL}-`,
    );
    assert.match(removed.stderr, /ValidatingAdmissionPolicy 'pullgate-approval-permission' .* verb approve/);
    assert.ok(isHeld(await web.read()));
    assert.match((await approve('lead', value)).stderr, /approved: the rollout of .* starts/);
    await web.released(10);
    assert.match((await told(shop, 'web', 'RolloutApproved')).note, /^approved by lead$/);
    const ended = await shop.tryKubectl('--as=lead', 'label', 'deployment', 'web', `${APPROVAL_LABEL}-`);
    assert.equal(ended.code, 0, ended.stderr);
  });
});

/** Returns its uid; undefined if the gate's own was there first. */
async function forge(shop: Namespace, stored: JsonObject, spec: JsonObject): Promise<string | undefined> {
  const { name, ownerReferences } = asObject(stored['metadata']);
  const object = {
    apiVersion: stored['apiVersion'],
    kind: stored['kind'],
    metadata: { name, ownerReferences },
    spec: { ...asObject(stored['spec']), ...spec },
  };
  const input = JSON.stringify(object);
  const args = ['-n', shop.name, '--as=deployer', 'create', '-o', 'jsonpath={.metadata.uid}', '-f', '-'];
  const { code, stdout } = await lab.kubectl(args, { input });
  return code === 0 ? stdout : undefined;
}
