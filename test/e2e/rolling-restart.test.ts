import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { API_VERSION, GATE_NAMESPACE, IMAGE_PRELOAD_KIND, LEASE } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { HUB_ADDRESS, REGISTRY_HOSTS } from '../cluster/lab/addresses.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { assertAllHeld, startLoad, summary } from '../support/e2e/admission-load.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { registryDouble } from '../support/e2e/registry-double.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';

const PODS = `/api/v1/namespaces/${GATE_NAMESPACE}/pods`;
const GATE = `/apis/apps/v1/namespaces/${GATE_NAMESPACE}/deployments/pullgate`;
const LEASE_PATH = `/apis/coordination.k8s.io/v1/namespaces/${GATE_NAMESPACE}/leases/${LEASE}`;
const LOAD = { perSecond: 50, atMostSeconds: 100 };

const scope = suiteScope();
let lab: Lab;
let api: ApiClient;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  // Fail: an update that the gate does not answer is refused, and so seen.
  const gate = await inClusterGate(scope, lab, ['fail-closed']);
  await gate.install();
});
after(() => api.close());

test('a rolling restart at 50 updates a second costs no admission', async (t) => {
  const load = await startLoad(t, await createNamespace(t, lab, api), LOAD);
  await replaceReplicas(['rollout', 'restart', 'deployment/pullgate']);
  const result = await load.stop();
  t.diagnostic(summary(result));
  assertAllHeld(result);
});

test('nor does it with a hold open, which the new leader carries on and releases when its image is there', (t) =>
  withHold(t, () => replaceReplicas(['rollout', 'restart', 'deployment/pullgate'])));

test('nor does an upgrade to another image of the gate', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const next = await retagged(await imageOfTheGate(), 'next');
  // A kubelet pulls one image at a time: behind the pull that the hold waits for, that of the gate would wait as well.
  await preloaded(shop, next);
  await withHold(t, () => replaceReplicas(['set', 'image', 'deployment/pullgate', `gate=${next}`]));
  assert.equal(await imageOfTheGate(), next);
});

/** Holds a rollout while all replicas are replaced under load. Its pull gets no answer until they have been. */
async function withHold(t: TestContext, replace: () => Promise<void>): Promise<void> {
  const shop = await createNamespace(t, lab, api);
  const load = await startLoad(t, shop, LOAD);
  const registry = await registryDouble(t, lab);
  registry.hang();
  const image = (await shop.push('v2')).replace(lab.registry, registry.address);
  const web = await deploy(shop, 'web');
  await web.setImage(image);
  await until(
    'every node pulls',
    20,
    shop.preloads,
    ([one]) => one?.status?.pullingNodes === lab.nodes().length,
  );
  const before = await leader();

  await replace();
  const next = await until('somebody leads', 20, leader, (name) => name !== '' && name !== before);
  assert.ok((await gatePods()).includes(next), 'one of the new replicas');
  assert.ok(isHeld(await web.read()), 'nobody released it early');
  registry.serve();
  await web.released(40);
  await assertOnEveryNode(lab, image);
  assert.equal(await releasedBy(shop), next);
  const result = await load.stop();
  t.diagnostic(summary(result));
  assertAllHeld(result);
  await web.rolledOut(40);
}

/** Until no pod is left that was there before: those that leave go on answering for a while. */
async function replaceReplicas(command: readonly string[]): Promise<void> {
  const old = await gatePods();
  for (const args of [command, ['rollout', 'status', 'deployment/pullgate', '--timeout=60s']]) {
    const { code, stderr } = await lab.kubectl(['-n', GATE_NAMESPACE, ...args], { timeoutSeconds: 90 });
    assert.equal(code, 0, stderr);
  }
  await until(
    'the old replicas are gone',
    // Their grace is 30 s, and a busy kubelet takes its time to say so.
    100,
    gatePods,
    (names) => names.length === 2 && !names.some((name) => old.includes(name)),
  );
}

async function gatePods(): Promise<string[]> {
  const list = await api.get(PODS, { labelSelector: 'app.kubernetes.io/component=gate' });
  return asArray(at(list, 'items')).map((pod) => asString(at(pod, 'metadata', 'name')) ?? '');
}

async function imageOfTheGate(): Promise<string> {
  const [container] = asArray(at(await api.get(GATE), 'spec', 'template', 'spec', 'containers'));
  return asString(at(container, 'image')) ?? '';
}

/** The pod that holds the Lease: an identity is its name and what tells two of its processes apart. */
async function leader(): Promise<string> {
  const holder = asString(at(await api.get(LEASE_PATH), 'spec', 'holderIdentity')) ?? '';
  return holder.replace(/_.*/, '');
}

async function releasedBy(shop: Namespace): Promise<string | undefined> {
  const events = await until(
    'the release is told',
    10,
    async () => asArray(at(await api.get(`/apis/events.k8s.io/v1/namespaces/${shop.name}/events`), 'items')),
    (all) => all.some((event) => at(event, 'reason') === 'RolloutReleased'),
  );
  const released = events.find((event) => at(event, 'reason') === 'RolloutReleased');
  return asString(at(released, 'reportingInstance'));
}

/** The same image under another tag, in the lab's registry. */
async function retagged(image: string, suffix: string): Promise<string> {
  const [, repository = '', tag = ''] = /\/([^:]+):([^:]+)$/.exec(image) ?? [];
  const manifests = `http://${HUB_ADDRESS}:${REGISTRY_HOSTS.registry.port}/v2/${repository}/manifests`;
  const accept = ['oci.image.manifest.v1', 'docker.distribution.manifest.v2']
    .map((kind) => `application/vnd.${kind}+json`)
    .join(', ');
  const got = await fetch(`${manifests}/${tag}`, { headers: { accept } });
  assert.equal(got.status, 200, `${manifests}/${tag}`);
  const headers = { 'content-type': got.headers.get('content-type') ?? '' };
  const body = await got.text();
  const put = await fetch(`${manifests}/${tag}-${suffix}`, { method: 'PUT', headers, body });
  assert.equal(put.status, 201, await put.text());
  return `${image}-${suffix}`;
}

async function preloaded(shop: Namespace, image: string): Promise<void> {
  const metadata = { name: 'gate' };
  await shop.apply({
    apiVersion: API_VERSION,
    kind: IMAGE_PRELOAD_KIND,
    metadata,
    spec: { images: [{ image }] },
  });
  await shop.kubectl('wait', '--for=condition=Ready', 'ipl/gate', '--timeout=60s');
}
