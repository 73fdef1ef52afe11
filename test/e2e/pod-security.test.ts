import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MODE_LABEL } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { at, type JsonObject } from '../../src/json.ts';
import { gatePods } from '../bench/lab/gate-pods.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { type InClusterGate, inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { assertOneOnEveryNode } from '../support/e2e/puller-pods.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';

const scope = suiteScope();
const ENFORCED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
/** What the level asks for. */
const RESTRICTED: JsonObject = {
  securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
  containers: [
    {
      name: 'app',
      image: PAUSE_IMAGE,
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    },
  ],
};
let lab: Lab;
let api: ApiClient;
let gate: InClusterGate;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  gate = await inClusterGate(scope, lab);
  await gate.install();
});
after(() => api.close());

/** A pod that is fine anywhere but under this level. */
async function assertEnforces(namespace: string): Promise<void> {
  const labels = at(await api.get(`/api/v1/namespaces/${namespace}`), 'metadata', 'labels');
  assert.equal(at(labels, 'pod-security.kubernetes.io/enforce'), 'restricted');
  const { code, stderr } = await lab.kubectl(['-n', namespace, 'run', 'plain', `--image=${PAUSE_IMAGE}`]);
  assert.equal(code, 1);
  assert.match(stderr, /pods "plain" is forbidden: violates PodSecurity "restricted:latest"/);
}

describe('enforce the Pod Security level restricted [pod-security]', () => {
  test('both replicas of the gate run in a namespace that enforces it', async () => {
    await assertEnforces('pullgate');
    assert.equal((await gatePods(api)).length, 2);
  });

  test('in a namespace that enforces it a rollout is held, every node gets its puller pod, and the rollout is released', async (t) => {
    const shop = await createNamespace(t, lab, api, { [MODE_LABEL]: 'pause', ...ENFORCED });
    await assertEnforces(shop.name);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web', { pod: RESTRICTED });
    const timeline = shop.timeline();
    const { stderr } = await web.setImage(image);
    assert.match(stderr, /is held until its nodes have/);
    await web.released(30);
    await assertOnEveryNode(lab, image);
    await web.rolledOut(30);
    assertOneOnEveryNode(lab, timeline);
  });

  test('the uninstall Job runs in the namespace of the gate and releases what is held', async (t) => {
    const shop = await createNamespace(t, lab, api, { [MODE_LABEL]: 'pause', ...ENFORCED });
    const web = await deploy(shop, 'web', { pod: RESTRICTED });
    const timeline = shop.timeline();
    await web.setImage(`${lab.registry}/${shop.name}:typo`);
    assert.ok(isHeld(await web.read()));
    assertServesOn(timeline, 1);
    await assertEnforces('pullgate');

    await gate.uninstall();
    assert.ok(!isHeld(await web.read()));
  });
});
