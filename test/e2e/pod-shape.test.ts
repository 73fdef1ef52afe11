import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { MODE_LABEL, PULLER_LABEL } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at, type JsonObject } from '../../src/json.ts';
import { pullerPod } from '../../src/preloads/pods/puller-pod.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { podWebhook } from '../support/e2e/admission-webhook.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { connect, gateAccount } from '../support/e2e/gated-lab.ts';
import { inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Namespace, type Scope } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { podsOf } from '../support/e2e/pull-events.ts';
import { assertOneOnEveryNode, pullerPodsOf } from '../support/e2e/puller-pods.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';
import { EKS_IDENTITIES, type EksIdentity, identityPatch } from '../support/unit/eks-identity.ts';
import { otherShapes, withContainer, withMetadata } from '../support/unit/pod-shapes.ts';

const scope = suiteScope();
const POLICY = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullgate-pod-shape';
/** As the API server begins a refusal of the policy. */
const REFUSED_BY_POLICY =
  /ValidatingAdmissionPolicy 'pullgate-pod-shape' with binding 'pullgate-pod-shape' denied request: /;
/** The back-off of the first attempt or, on a busy machine, of the second one, and the pull itself. */
const RETRY_SECONDS = 70;
const DRY_RUN = { dryRun: 'All' };

let lab: Lab;
let api: ApiClient;
let account: ApiClient;
let yard: Namespace;
let pods: string;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  const gate = await inClusterGate(scope, lab, ['pod-shape']);
  await gate.install();
  account = await gateAccount(lab);
  yard = await createNamespace(scope, lab, api, {});
  pods = `/api/v1/namespaces/${yard.name}/pods`;
  const shell = withContainer(puller('shell'), { command: ['/bin/sh'] });
  await until(
    'the policy is in effect',
    30,
    () => refusal(account.create(pods, shell)),
    (words) => REFUSED_BY_POLICY.test(words),
  );
});
after(async () => {
  await account.close();
  await api.close();
});

/** As the gate makes it for an image that every node has. */
function puller(attemptOf: string): JsonObject {
  return pullerPod({
    spec: {
      namespace: yard.name,
      image: PAUSE_IMAGE,
      imagePullPolicy: 'IfNotPresent',
      imagePullSecrets: ['pull'],
      serviceAccountName: '',
      tolerations: [],
    },
    preload: { name: attemptOf, uid: `uid-of-${attemptOf}` },
    node: lab.nodes()[0] ?? '',
    attempt: 1,
    firstAttemptAt: 0,
    random: randomUUID().replaceAll('-', ''),
  });
}

/** The words of the API server; empty if it does not refuse. */
async function refusal(request: Promise<unknown>): Promise<string> {
  return await request.then(
    () => '',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

const opted = (t: Scope, mode = 'pause') => createNamespace(t, lab, api, { [MODE_LABEL]: mode });

describe('the gate’s account can create puller pods and nothing else', () => {
  test('the API server has nothing to say against the expressions of the policy', async () => {
    const policy = await until(
      'the API server has checked the types',
      20,
      () => api.get(POLICY),
      (object) => at(object, 'status', 'typeChecking') !== undefined,
    );
    assert.deepEqual(asArray(at(policy, 'status', 'typeChecking', 'expressionWarnings')), []);
  });

  test('a puller pod is created', async () => {
    const pod = puller('web');
    const created = await account.create(pods, pod);
    assert.equal(at(created, 'metadata', 'name'), at(pod, 'metadata', 'name'));
  });

  test('every other pod is refused with the words of the policy', async (t) => {
    const shapes = otherShapes(puller('other'));
    for (const { what, pod, why, refusedBefore } of shapes) {
      await t.test(`with ${what}`, async () => {
        // As the administrator may, so that nothing but the policy stands in its way. The label is kept to the gate.
        const asAdmin = await refusal(api.create(pods, withMetadata(pod, { labels: {} }), DRY_RUN));
        const words = await refusal(account.create(pods, pod));
        if (refusedBefore === undefined) {
          assert.equal(asAdmin, '');
          assert.match(words, REFUSED_BY_POLICY);
          assert.match(words, why);
        } else {
          assert.match(asAdmin, refusedBefore);
          assert.match(words, refusedBefore);
        }
      });
    }
  });

  test('a dry run is not judged, as the API server stores nothing of it', async () => {
    await account.create(pods, withContainer(puller('asked'), { command: ['/wait'] }), DRY_RUN);
  });

  test('no container is added to a pod that exists', async () => {
    // Without an owner, so that nothing deletes it meanwhile.
    const pod = withMetadata(puller('late'), { labels: {}, ownerReferences: [] });
    await api.create(pods, pod);
    const path = `${pods}/${asString(at(pod, 'metadata', 'name'))}/ephemeralcontainers`;
    const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: PAUSE_IMAGE }] } };
    assert.match(
      await refusal(account.strategicPatch(path, debug)),
      /User "system:serviceaccount:pullgate:pullgate" cannot patch resource "pods\/ephemeralcontainers"/,
    );
    await api.strategicPatch(path, debug, DRY_RUN);
  });

  test('everybody else creates pods as without the policy', async () => {
    const pod = withMetadata(withContainer(puller('mine'), { command: ['/wait'] }), { labels: {} });
    await api.create(pods, pod, DRY_RUN);
  });
});

describe('the whole job with the policy in effect', { concurrency: true }, () => {
  test('mode pause: a rollout is held, preloaded on every node and released', async (t) => {
    const shop = await opted(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const { stderr } = await web.setImage(image);
    assert.match(stderr, /is held until its nodes have/);
    await web.released(30);
    await assertOnEveryNode(lab, image);
    await web.rolledOut(30);
    assertOneOnEveryNode(lab, timeline);
  });

  test('mode reject: a command waits until every node has the image, then succeeds', async (t) => {
    const shop = await opted(t, 'reject');
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    await web.setImage(image);
    await assertOnEveryNode(lab, image);
    await web.rolledOut(30);
    assertOneOnEveryNode(lab, timeline);
  });
});

describe('have webhooks that change every pod, beside the component pod-shape [pod-shape]', {
  concurrency: true,
}, () => {
  for (const identity of EKS_IDENTITIES) {
    test(`${identity.name}: its token and its variables are let through, and the rollout is released`, async (t) => {
      const shop = await opted(t);
      await podWebhook(t, shop, { kind: 'Mutating', patch: (pod) => identityPatch(identity, pod) });
      const image = await shop.push('v2');
      const web = await deploy(shop, 'web');
      const timeline = shop.timeline();
      await web.setImage(image);
      await web.released(30);
      await assertOnEveryNode(lab, image);
      await web.rolledOut(30);
      assertOneOnEveryNode(lab, timeline);
      for (const pod of pullerPodsOf(timeline)) assertHasIdentity(pod, identity);
    });
  }

  const proxy = { name: 'proxy', image: PAUSE_IMAGE };
  const SIDECARS = [
    { what: 'a sidecar', patch: [{ op: 'add', path: '/spec/containers/0', value: proxy }] },
    {
      what: 'a native sidecar',
      patch: [{ op: 'add', path: '/spec/initContainers', value: [{ ...proxy, restartPolicy: 'Always' }] }],
    },
  ];
  for (const { what, patch } of SIDECARS) {
    test(`${what}: no puller pod is created, the Deployment says why, the old version serves, and the rollout is released once the webhook leaves puller pods out`, async (t) => {
      const shop = await opted(t);
      const image = await shop.push('v2');
      const web = await deploy(shop, 'web');
      await podWebhook(t, shop, { kind: 'Mutating', patch: () => patch });
      const timeline = shop.timeline();
      await web.setImage(image);
      const { type, note } = await told(shop, 'web', 'PreloadNodeFailed', 15);
      assert.equal(type, 'Warning');
      assertSaysWhy(note);
      assertSaysWhy((await shop.kubectl('describe', 'deployment', 'web')).stdout);
      assert.deepEqual(pullerPodsOf(timeline), []);
      assert.ok(isHeld(await web.read()));
      assertServesOn(timeline, 1);

      await leaveOutPullerPods(shop);
      await web.released(RETRY_SECONDS);
      await assertOnEveryNode(lab, image);
      await web.rolledOut(30);
      const [pod] = await podsOf(shop, 'web');
      const names = ['initContainers', 'containers'].flatMap((list) =>
        asArray(at(pod, 'spec', list)).map((one) => at(one, 'name')),
      );
      assert.deepEqual(names, ['proxy', 'app']);
    });
  }

  test('a sidecar until the deadline: kubectl rollout status fails with the words of the policy, and the old version serves', async (t) => {
    const shop = await opted(t);
    const web = await deploy(shop, 'web');
    await shop.kubectl('annotate', 'deployment', 'web', 'pullgate.io/deadline-seconds=10');
    const [{ patch }] = SIDECARS as [(typeof SIDECARS)[0]];
    await podWebhook(t, shop, { kind: 'Mutating', patch: () => patch });
    const timeline = shop.timeline();
    await web.setImage(await shop.push('v2'));
    const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    assert.equal(status.code, 1);
    assert.match(status.stderr, /exceeded its progress deadline/);
    const { status: stored, ...held } = await web.read();
    assertSaysWhy(stored.progressing?.message ?? '');
    assert.ok(isHeld(held));
    assertServesOn(timeline, 1);
  });
});

/** As docs/security.md recommends it. */
async function leaveOutPullerPods({ api, name }: Namespace): Promise<void> {
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`;
  const value = { matchExpressions: [{ key: PULLER_LABEL, operator: 'DoesNotExist' }] };
  await api.jsonPatch(path, [{ op: 'add', path: '/webhooks/0/objectSelector', value }]);
}

function assertHasIdentity(pod: JsonObject, { volume, audience, variables }: EksIdentity): void {
  const token = asArray(at(pod, 'spec', 'volumes')).find((one) => at(one, 'name') === volume);
  const [source] = asArray(at(token, 'projected', 'sources'));
  assert.equal(at(source, 'serviceAccountToken', 'audience'), audience);
  const [container] = asArray(at(pod, 'spec', 'containers'));
  const names = asArray(at(container, 'env')).map((one) => asString(at(one, 'name')));
  assert.deepEqual(names, Object.keys(variables));
  assert.equal(at(asArray(at(container, 'volumeMounts'))[0], 'name'), volume);
}

function assertSaysWhy(words: string): void {
  assert.match(words, /'pullgate-pod-shape'/);
  assert.match(words, /must have one container, named pull, and no init container or sidecar/);
}
