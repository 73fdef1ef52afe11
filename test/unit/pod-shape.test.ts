import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import jsonPatch, { type Operation } from 'fast-json-patch';
import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../src/api/names.ts';
import type { JsonObject } from '../../src/json.ts';
import { pullerPod } from '../../src/preloads/pods/puller-pod.ts';
import { admissionPolicy } from '../support/unit/admission-policy.ts';
import { EKS_IDENTITIES, identityPatch } from '../support/unit/eks-identity.ts';
import { otherShapes, withSpec } from '../support/unit/pod-shapes.ts';

const policy = admissionPolicy('components/pod-shape/admission-policy.yaml');
const refusals = (object: JsonObject) => policy.refusals({ object });
const isJudged = (username: string) => policy.applies({ request: { userInfo: { username } } });

const pod = pullerPod({
  spec: {
    namespace: 'shop',
    image: 'registry.test/app:1',
    imagePullPolicy: 'IfNotPresent',
    imagePullSecrets: ['pull'],
    serviceAccountName: 'web',
    runtimeClassName: 'gvisor',
    tolerations: [{ operator: 'Exists' }],
  },
  preload: { name: 'web-1', uid: 'uid-1' },
  node: 'node-1',
  attempt: 2,
  firstAttemptAt: 0,
  // As the controller makes it.
  random: randomUUID().replaceAll('-', ''),
});

test('the policy is bound, and refuses what it cannot judge', () => {
  assert.ok(policy.isBound());
});

test('the API server asks the policy about the gate’s account, and nobody else', () => {
  const account = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
  assert.equal(isJudged(account), true);
  for (const other of [`${account}-2`, 'system:serviceaccount:shop:pullgate', 'somebody', '']) {
    assert.equal(isJudged(other), false, other);
  }
});

test('a dry run, of which nothing is stored, is not judged', () => {
  const username = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
  const asked = (dryRun: boolean) => policy.applies({ request: { userInfo: { username }, dryRun } });
  assert.deepEqual([asked(true), asked(false)], [false, true]);
});

test('the policy lets the puller pod through, and what admission plugins add to it', () => {
  assert.deepEqual(refusals(pod), []);
  const completed = withSpec(pod, {
    priority: -10,
    preemptionPolicy: 'Never',
    dnsPolicy: 'ClusterFirst',
    overhead: { memory: '64Mi' },
    tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', tolerationSeconds: 300 }],
  });
  assert.deepEqual(refusals(completed), []);
});

for (const identity of EKS_IDENTITIES) {
  test(`the policy lets through what ${identity.name} adds`, () => {
    const operations = identityPatch(identity, pod) as unknown as Operation[];
    const { newDocument } = jsonPatch.applyPatch<JsonObject>(pod, operations, false, false);
    assert.notDeepEqual(newDocument, pod);
    assert.deepEqual(refusals(newDocument), []);
  });
}

for (const { what, pod: other, why } of otherShapes(pod)) {
  test(`the policy refuses a pod with ${what}`, () => {
    const messages = refusals(other);
    assert.equal(messages.length, 1, messages.join(' '));
    assert.match(messages[0] ?? '', why);
  });
}
