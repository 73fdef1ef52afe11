import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { API_VERSION, IMAGE_PRELOAD_KIND } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { gatePods } from '../bench/lab/gate-pods.ts';
import { previousSource } from '../cluster/lab/gate-source.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { assertAllHeld, startLoad, summary } from '../support/e2e/admission-load.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { type InClusterGate, inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { registryDouble } from '../support/e2e/registry-double.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';

/** The uninstallation at the end has to remove what either build installed. */
const scope = suiteScope();
let lab: Lab;
let api: ApiClient;
let previous: InClusterGate;
let current: InClusterGate;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  previous = await inClusterGate(scope, lab, [], await previousSource());
  current = await inClusterGate(scope, lab);
  await previous.install();
});
after(() => api.close());

test('an upgrade to this build, first its image and then its manifests, keeps open holds and loses no admission', (t) =>
  changeWithHoldsOpen(t, current));

test('a downgrade to the build before, first its image and then its manifests, keeps open holds and loses no admission', (t) =>
  changeWithHoldsOpen(t, previous));

/**
 * One hold waits for a registry that does not answer, and another has failed. The image of the other build replaces all
 * replicas while the CRD, the rights and the policies are still those of the build before it. In that state the registry
 * answers, the missing image is pushed, and a new update is held and released. Then the manifests follow, and another update
 * goes through. Both holds end as they would have without the change.
 */
async function changeWithHoldsOpen(t: TestContext, next: InClusterGate): Promise<void> {
  const shop = await createNamespace(t, lab, api);
  // A kubelet pulls one image at a time. Behind the pull that gets no answer, the image of the gate would wait.
  await shop.apply({
    apiVersion: API_VERSION,
    kind: IMAGE_PRELOAD_KIND,
    metadata: { name: 'gate' },
    spec: { images: [{ image: next.image }] },
  });
  await shop.kubectl('wait', '--for=condition=Ready', 'ipl/gate', '--timeout=60s');
  const load = await startLoad(t, shop, { perSecond: 20, atMostSeconds: 240 });

  const failing = await deploy(shop, 'failing');
  await failing.setImage(`${lab.registry}/${shop.name}/failing:late`);
  await until(
    'the missing image is reported',
    30,
    () => shop.events('failing'),
    (events) => events.some(({ reason }) => reason === 'PreloadFailed'),
  );
  const registry = await registryDouble(t, lab);
  registry.hang();
  const image = (await shop.push('v2')).replace(lab.registry, registry.address);
  const waiting = await deploy(shop, 'waiting');
  await waiting.setImage(image);
  await until('every node pulls', 20, shop.preloads, (preloads) =>
    preloads.some(({ status }) => status?.pullingNodes === lab.nodes().length),
  );

  const old = (await gatePods(api)).map(({ name }) => name);
  await next.replaceImage();
  await until(
    'the replicas of the other build are gone',
    100,
    () => gatePods(api),
    (pods) => pods.length === 2 && !pods.some(({ name }) => old.includes(name)),
  );
  for (const one of [failing, waiting]) assert.ok(isHeld(await one.read()), `${one.name} is still held`);

  registry.serve();
  await lab.pushImage({ repository: `${shop.name}/failing`, tag: 'late', base: 'scratch' });
  await waiting.released(40);
  await assertOnEveryNode(lab, image);
  await waiting.rolledOut(40);
  await assertHoldsAndReleases(shop, 'between');

  await next.install();
  await assertHoldsAndReleases(shop, 'afterwards');
  // The back-off between two attempts reaches a minute or two within the time that this test takes.
  await failing.released(150);
  await failing.rolledOut(40);
  const result = await load.stop();
  t.diagnostic(summary(result));
  assertAllHeld(result);
}

async function assertHoldsAndReleases(shop: Namespace, name: string): Promise<void> {
  const deployment = await deploy(shop, name);
  const image = await shop.push(name);
  const { stderr } = await deployment.setImage(image);
  assert.match(stderr, /held/, `the update of ${name} is held`);
  await deployment.released(40);
  await assertOnEveryNode(lab, image);
  await deployment.rolledOut(40);
}
