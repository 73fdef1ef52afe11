import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { PULLER_LABEL } from '../../src/api/names.ts';
import { asArray, at, type JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { deploy } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const POLICY = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullgate-puller-pods';
const RESERVED = /The label pullgate\.io\/puller is reserved for the pods that Pullgate creates/;
const labels = { [PULLER_LABEL]: 'true' };
const container = { name: 'pull', image: PAUSE_IMAGE };
const forged: JsonObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'forged', labels },
  spec: { containers: [container] },
};

before(async () => {
  await until(
    'the policy is in effect',
    30,
    () => refusal(world.api.create('/api/v1/namespaces/default/pods', forged, { dryRun: 'All' })),
    (words) => RESERVED.test(words),
  );
});

/** The words of the API server; empty if it does not refuse. */
async function refusal(request: Promise<unknown>): Promise<string> {
  return await request.then(
    () => '',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

/** A puller pod that stays, as its image is missing. */
async function pulling(shop: Namespace): Promise<string> {
  const web = await deploy(shop, 'web');
  await web.setImage(`${world.lab.registry}/${shop.name}:missing`);
  const names = await until('a puller pod', 20, shop.pullerPods, ({ length }) => length > 0);
  return names[0] ?? '';
}

test('the API server has nothing to say against the expressions of the policy', async () => {
  const policy = await until(
    'the API server has checked the types',
    20,
    () => world.api.get(POLICY),
    (object) => at(object, 'status', 'typeChecking') !== undefined,
  );
  assert.deepEqual(asArray(at(policy, 'status', 'typeChecking', 'expressionWarnings')), []);
});

test('a Deployment whose template has the label gets no pod, and its Events say why', async (t) => {
  const shop = await world.namespace(t, {});
  const template = { metadata: { labels: { ...labels, app: 'flood' } }, spec: { containers: [container] } };
  await shop.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'flood' },
    spec: { replicas: 3, selector: { matchLabels: { app: 'flood' } }, template },
  });
  await until(
    'the Event of the refusal',
    20,
    () => shop.kubectl('get', 'events', '--field-selector=reason=FailedCreate', '-o=jsonpath={..message}'),
    ({ stdout }) => RESERVED.test(stdout),
  );
  assert.deepEqual(await shop.pullerPods(), []);
});

test('nobody, not even an administrator, changes what a puller pod claims to pull; all else is free', async (t) => {
  const shop = await world.namespace(t);
  const name = await pulling(shop);
  for (const [args, words] of [
    [['label', 'pod', name, 'pullgate.io/puller-'], /cannot be added, changed or removed/],
    [['label', 'pod', name, 'pullgate.io/pull=x', '--overwrite'], /cannot be added, changed or removed/],
    [['annotate', 'pod', name, 'pullgate.io/attempt=9', '--overwrite'], /cannot be changed/],
    [['set', 'image', `pod/${name}`, `pull=${PAUSE_IMAGE}`], /The image of a puller pod cannot be changed/],
  ] as const) {
    const { code, stderr } = await shop.tryKubectl(...args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, words);
  }
  const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: PAUSE_IMAGE }] } };
  const path = `/api/v1/namespaces/${shop.name}/pods/${name}/ephemeralcontainers`;
  assert.match(
    await refusal(world.api.strategicPatch(path, debug)),
    /A puller pod takes no ephemeral containers/,
  );
  await shop.kubectl('label', 'pod', name, 'example.com/seen=true');
  await shop.kubectl('annotate', 'pod', name, 'example.com/seen=true');
});

for (const cascade of ['background', 'foreground']) {
  test(`the garbage collector passes: puller pods go with their Deployment (${cascade})`, async (t) => {
    const shop = await world.namespace(t);
    await pulling(shop);
    await shop.kubectl('delete', 'deployment', 'web', `--cascade=${cascade}`, '--timeout=60s');
    await until('no puller pod is left', 30, shop.pullerPods, ({ length }) => length === 0);
  });
}
