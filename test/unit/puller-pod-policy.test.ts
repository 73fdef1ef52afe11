import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ATTEMPT_ANNOTATION,
  FIRST_ATTEMPT_ANNOTATION,
  GATE_NAMESPACE,
  GATE_SERVICE_ACCOUNT,
  PRELOAD_LABEL,
  PULL_LABEL,
  PULLER_LABEL,
} from '../../src/api/names.ts';
import { asArray, asObject, asStringMap, at, type JsonObject } from '../../src/json.ts';
import { pullerPod } from '../../src/preloads/pods/puller-pod.ts';
import { admissionPolicy } from '../support/unit/admission-policy.ts';

const policy = admissionPolicy('puller-pod-policy.yaml');
const GATE = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
const EDITOR = 'alice@example.com';

const puller = pullerPod({
  spec: {
    namespace: 'shop',
    image: 'registry.test/app:1',
    imagePullPolicy: 'IfNotPresent',
    imagePullSecrets: [],
    serviceAccountName: '',
    tolerations: [],
  },
  preload: { name: 'web-1', uid: 'uid-1' },
  node: 'node-1',
  attempt: 2,
  firstAttemptAt: 0,
  random: 'abc',
});
const metadata = asObject(puller['metadata']);
const labels = asStringMap(metadata['labels']);
const annotations = asStringMap(metadata['annotations']);
const withMetadata = (change: JsonObject): JsonObject => ({
  ...puller,
  metadata: { ...metadata, ...change },
});

function creating(username: string, object = puller): string[] {
  return policy.refusals({
    request: { operation: 'CREATE', userInfo: { username } },
    object,
    oldObject: null,
  });
}

function updating(object: JsonObject, oldObject = puller, request: JsonObject = {}): string[] {
  const userInfo = { username: EDITOR };
  return policy.refusals({ request: { operation: 'UPDATE', userInfo, ...request }, object, oldObject });
}

test('the policy is bound, and refuses what it cannot judge', () => {
  assert.ok(policy.isBound());
});

test('the API server asks the policy about pods with the label, before or after, and about no other', () => {
  assert.ok(policy.selects(labels));
  assert.ok(policy.selects({ [PULLER_LABEL]: 'false' }));
  assert.ok(policy.selects({ [PULLER_LABEL]: 'true' }, {}));
  assert.ok(policy.selects({}, { [PULLER_LABEL]: '' }));
  assert.equal(policy.selects({ app: 'web' }, { app: 'web', [PULL_LABEL]: 'x' }), false);
});

test('the gate creates puller pods, and nobody else does: not an editor, not a controller with a template', () => {
  assert.deepEqual(creating(GATE), []);
  for (const other of [
    EDITOR,
    'system:serviceaccount:kube-system:replicaset-controller',
    'system:serviceaccount:shop:pullgate',
    `${GATE}-2`,
  ]) {
    const [message = '', ...more] = creating(other);
    assert.match(message, /^The label pullgate\.io\/puller is reserved/, other);
    assert.deepEqual(more, []);
  }
});

const web = { metadata: { name: 'web', labels: { app: 'web' } }, spec: puller['spec'] };
for (const [what, before, after] of [
  ['added', web, { ...web, metadata: { name: 'web', labels: { app: 'web', [PULLER_LABEL]: 'true' } } }],
  [
    'added to a pod without any',
    { ...web, metadata: { name: 'web' } },
    { ...web, metadata: { name: 'web', labels: { [PULLER_LABEL]: 'true' } } },
  ],
  ['changed', puller, withMetadata({ labels: { ...labels, [PULLER_LABEL]: 'false' } })],
  ['removed', puller, withMetadata({ labels: undefined })],
  ['kept, but the pull changed', puller, withMetadata({ labels: { ...labels, [PULL_LABEL]: 'other' } })],
  [
    'kept, but the ImagePreload changed',
    puller,
    withMetadata({ labels: { ...labels, [PRELOAD_LABEL]: 'x' } }),
  ],
] as const) {
  test(`the label cannot be ${what}`, () => {
    const sent = JSON.parse(JSON.stringify(after)) as JsonObject;
    assert.match(
      updating(sent, before).join(),
      /^The labels pullgate\.io\/puller, .* cannot be added, changed or removed\.$/,
    );
  });
}

test('what a pod says of its attempt cannot be changed', () => {
  for (const change of [
    { ...annotations, [ATTEMPT_ANNOTATION]: '99' },
    { ...annotations, [FIRST_ATTEMPT_ANNOTATION]: '2020-01-01T00:00:00Z' },
    {},
  ]) {
    assert.match(
      updating(withMetadata({ annotations: change })).join(),
      /^The annotations .* cannot be changed\.$/,
    );
  }
});

test('the image of a pod cannot be changed', () => {
  const [container] = asArray(at(puller, 'spec', 'containers'));
  const containers = [{ ...asObject(container), image: 'registry.test/small:1' }];
  const other = { ...puller, spec: { ...asObject(puller['spec']), containers } };
  assert.match(updating(other).join(), /^The image of a puller pod cannot be changed\./);
});

test('a pod takes no ephemeral container', () => {
  const request = { subResource: 'ephemeralcontainers' };
  assert.deepEqual(updating(puller, puller, request), ['A puller pod takes no ephemeral containers.']);
});

test('the garbage collector, and whoever annotates pods, changes what it wants to', () => {
  const finalizers = ['foregroundDeletion'];
  const collected = withMetadata({ finalizers, deletionTimestamp: '2026-01-01T00:00:00Z' });
  const orphaned = withMetadata({ ownerReferences: [] });
  const annotated = withMetadata({ annotations: { ...annotations, 'example.com/address': '192.0.2.1' } });
  const labelled = withMetadata({ labels: { ...labels, 'example.com/seen': 'true' } });
  for (const pod of [collected, orphaned, annotated, labelled]) {
    assert.deepEqual(updating(pod), []);
    assert.deepEqual(updating(puller, pod), []);
  }
});
