import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PRELOAD_LABEL, PULL_LABEL, PULLER_LABEL } from '../../src/api/names.ts';
import type { JsonObject } from '../../src/json.ts';
import { pullKey } from '../../src/preloads/pods/puller-pod.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { deploy, isHeld, manifestOf } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { until } from '../support/e2e/until.ts';

const BINDING =
  '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/pullgate-puller-pods';
const POLICY = fileURLToPath(new URL('../../deploy/puller-pod-policy.yaml', import.meta.url));
const CAP = 6;
/** Without the policy, which would refuse all of this: somebody may have taken it away. */
const world = gatedLab({ flags: [`--max-concurrent-pulls=${CAP}`] });

function forged(name: string, labels: Readonly<Record<string, string>>, spec: JsonObject): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { [PULLER_LABEL]: 'true', ...labels } },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'pull', image: PAUSE_IMAGE }], ...spec },
  };
}

/** As many pods that no node takes as there are places in the cap, and some more. */
async function flood(namespace: Namespace): Promise<void> {
  const pod = { nodeSelector: { 'example.com/none': 'true' } };
  const flooding = manifestOf('flood', { replicas: CAP + 4, pod });
  const labels = { app: 'flood', [PULLER_LABEL]: 'true' };
  const spec = flooding['spec'] as { template: JsonObject };
  const template = { ...spec.template, metadata: { labels } };
  await namespace.apply({ ...flooding, spec: { ...spec, template } });
  await until('the pods are there', 30, namespace.pullerPods, ({ length }) => length >= CAP + 4);
}

describe('without the policy that keeps the label of puller pods to the gate', () => {
  before(async () => {
    await world.api.delete(BINDING);
    const pod = { ...forged('forged', {}, { nodeName: 'none' }) };
    await until(
      'the policy is out of effect',
      30,
      () => world.api.create('/api/v1/namespaces/default/pods', pod, { dryRun: 'All' }),
      () => true,
    );
  });
  after(async () => {
    await world.lab.kubectl(['apply', '-f', POLICY]);
  });

  test('pods with the label in another namespace take no place from a rollout', async (t) => {
    const evil = await world.namespace(t, {});
    await flood(evil);
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const image = await shop.push('v2');
    await web.setImage(image);
    await web.released(30);
    await assertOnEveryNode(world.lab, image);
    await web.rolledOut(30);
  });

  for (const where of ['its own', 'another'] as const) {
    test(`pods that seem to have the image, in ${where} namespace, release nothing`, async (t) => {
      const shop = await world.namespace(t);
      const evil = where === 'another' ? await world.namespace(t) : shop;
      const web = await deploy(shop, 'web');
      const image = `${world.lab.registry}/${shop.name}:missing`;
      const pull = pullKey({
        ...{ namespace: shop.name, image, imagePullPolicy: 'IfNotPresent', imagePullSecrets: [] },
        ...{ serviceAccountName: '', tolerations: [] },
      });
      const names = world.lab.nodes().map((node) => `forged-${node}`);
      for (const nodeName of world.lab.nodes()) {
        const labels = { [PULL_LABEL]: pull, [PRELOAD_LABEL]: 'web-1' };
        await evil.apply(forged(`forged-${nodeName}`, labels, { nodeName }));
      }
      await evil.kubectl('wait', '--for=condition=Ready', 'pod', ...names, '--timeout=60s');
      await web.setImage(image);
      const [preload] = await until(
        'every node has answered that the image is missing',
        30,
        shop.preloads,
        ([found]) => found?.status?.phase === 'Failed',
      );
      assert.equal(preload?.status?.readyNodes, 0);
      assert.ok(isHeld(await web.read()));
    });
  }
});
