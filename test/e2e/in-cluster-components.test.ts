import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { WEBHOOK_CONFIGURATION } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';
import { HUB_ADDRESS, REGISTRY_HOSTS } from '../cluster/lab/addresses.ts';
import { buildGateImage } from '../cluster/lab/gate-image.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { type InClusterGate, inClusterGate, rendered } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace } from '../support/e2e/namespace.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';

const scope = suiteScope();
const CONFIGURATION = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`;
const COMPONENTS = readdirSync(resolve(import.meta.dirname, '../../deploy/components'));
let lab: Lab;
let api: ApiClient;
let gate: InClusterGate;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  gate = await inClusterGate(scope, lab, ['fail-closed', 'namespaced']);
  // Left by gates that ran as a process, and by nothing that is applied taken away: see the component.
  await admin('delete', 'clusterrolebinding', 'pullgate-workloads', '--ignore-not-found');
  await gate.install();
});
after(() => api.close());

async function admin(...args: string[]): Promise<void> {
  const { code, stderr } = await lab.kubectl(args);
  assert.equal(code, 0, stderr);
}

for (const component of COMPONENTS) {
  test(`kubectl builds the manifests with ${component}, and they are others than without it`, async (t) => {
    const without = await rendered(t, lab, []);
    assert.notDeepEqual(await rendered(t, lab, [component]), without);
  });
}

test('every image of the manifests is the one that was set', async (t) => {
  const images = (await rendered(t, lab, COMPONENTS)).flatMap((object) =>
    asArray(at(object, 'spec', 'template', 'spec', 'containers')).map((one) => asString(at(one, 'image'))),
  );
  assert.deepEqual(images, ['registry.test/gate:1']);
});

/** What an API server, a registry's client and a scanner see of the image. */
async function ofRegistry(path: string): Promise<JsonObject> {
  const url = `http://${HUB_ADDRESS}:${REGISTRY_HOSTS.registry.port}/v2/pullgate/${path}`;
  const accept = [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ];
  const answer = await fetch(url, { headers: { accept: accept.join(', ') } });
  assert.equal(answer.status, 200, url);
  return asObject(await answer.json());
}

test('the image is at most 90 MB over its base, as it is pulled, and runs as nobody', async (t) => {
  const reference = await buildGateImage(lab);
  const manifest = await ofRegistry(`manifests/${reference.slice(reference.lastIndexOf(':') + 1)}`);
  // The base is one layer, the first: test/cluster/lab/node-base.ts.
  const [base = 0, ...ours] = asArray(manifest['layers']).map((layer) => Number(at(layer, 'size')) / 1e6);
  const megabytes = ours.reduce((sum, size) => sum + size, 0);
  t.diagnostic(`${megabytes.toFixed(1)} MB over a base of ${base.toFixed(1)} MB`);
  assert.ok(megabytes > 1 && megabytes <= 90);
  const { config } = await ofRegistry(`blobs/${asString(at(manifest, 'config', 'digest'))}`);
  assert.equal(at(config, 'User'), '65532:65532');
  assert.deepEqual(at(config, 'Entrypoint'), ['node', '--max-semi-space-size=16', 'dist/main.js']);
  assert.equal(asObject(at(config, 'Labels'))['org.opencontainers.image.title'], 'pullgate');
});

test('applying the manifests again changes nothing: not the authority that is trusted, no pod', async () => {
  const read = async () => {
    const configuration = await api.get(CONFIGURATION);
    const deployment = await api.get('/apis/apps/v1/namespaces/pullgate/deployments/pullgate');
    return [
      asArray(at(configuration, 'webhooks')).map((webhook) => at(webhook, 'clientConfig', 'caBundle')),
      at(configuration, 'metadata', 'generation'),
      at(deployment, 'metadata', 'generation'),
    ];
  };
  const before = await read();
  assert.ok(asArray(before[0]).every((bundle) => typeof bundle === 'string' && bundle !== ''));
  await gate.install();
  assert.deepEqual(await read(), before);
});

test('namespaced: where it was given no rights a rollout waits, and goes on when it has them', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const web = await deploy(shop, 'web');
  await web.setImage(await shop.push('v2'));
  const { stdout } = await lab.kubectl([
    ...['auth', 'can-i', 'create', 'pods', '--as', 'system:serviceaccount:pullgate:pullgate'],
    ...['-n', shop.name],
  ]);
  assert.equal(stdout.trim(), 'no');
  assert.ok(isHeld(await web.read()));
  const role = ['--clusterrole=pullgate-workloads', '--serviceaccount=pullgate:pullgate'];
  await shop.kubectl('create', 'rolebinding', 'pullgate', ...role);
  await web.released(90);
  await web.rolledOut(60);
});

test('fail-closed: while no replica runs an update is refused, elsewhere and with audit it is not', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const audited = await createNamespace(t, lab, api, { 'pullgate.io/mode': 'audit' });
  const other = await createNamespace(t, lab, api, {});
  for (const namespace of [shop, audited, other]) await deploy(namespace, 'web');
  await admin('-n', 'pullgate', 'scale', 'deployment/pullgate', '--replicas=0');
  await until(
    'no replica is left',
    40,
    () => api.get('/api/v1/namespaces/pullgate/pods'),
    (pods) => asArray(at(pods, 'items')).length === 0,
  );
  const setImage = ['set', 'image', 'deployment/web', `app=${lab.registry}/none:1`];
  const refused = await shop.tryKubectl(...setImage);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /failed calling webhook "pause\.pullgate\.io"/);
  await audited.kubectl(...setImage);
  await other.kubectl(...setImage);
  await gate.install();
  await until(
    'it is held again',
    30,
    () => shop.kubectl(...setImage),
    ({ stderr }) => /is held/.test(stderr),
  );
});
