import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { attach, type Lab } from '../lab/lab.ts';
import { deploy, isHeld } from './deployment.ts';
import { connect } from './gated-lab.ts';
import { type InClusterGate, inClusterGate, rendered } from './in-cluster-gate.ts';
import { createNamespace } from './namespace.ts';
import { suiteScope } from './suite-scope.ts';
import { until } from './until.ts';

const scope = suiteScope();
const COMPONENTS = readdirSync(resolve(import.meta.dirname, '../../deploy/components'));
let lab: Lab;
let api: ApiClient;
let gate: InClusterGate;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  gate = await inClusterGate(scope, lab, ['fail-closed', 'namespaced']);
  await gate.install();
});
after(() => api.close());

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
  const scale = async (replicas: number) => {
    const to = ['scale', 'deployment/pullgate', `--replicas=${replicas}`];
    const { code, stderr } = await lab.kubectl(['-n', 'pullgate', ...to]);
    assert.equal(code, 0, stderr);
  };
  await scale(0);
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
