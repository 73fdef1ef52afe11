import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../src/names.ts';
import { pullerPod } from '../../src/preload/puller-pod.ts';
import { isBound, isJudged, refusals } from './pod-shape-policy.ts';

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
  random: (0.123456789).toString(36).slice(2),
});

type Change = Readonly<Record<string, unknown>>;

function withMetadata(change: Change): JsonObject {
  return { ...pod, metadata: { ...asObject(pod['metadata']), ...change } };
}

function withSpec(change: Change): JsonObject {
  return { ...pod, spec: { ...asObject(pod['spec']), ...change } };
}

const container = asObject(asArray(at(pod, 'spec', 'containers'))[0]);
const owner = asObject(asArray(at(pod, 'metadata', 'ownerReferences'))[0]);

function withContainer(change: Change): JsonObject {
  return withSpec({ containers: [{ ...container, ...change }] });
}

function withPodSecurity(change: Change): JsonObject {
  return withSpec({ securityContext: { ...asObject(at(pod, 'spec', 'securityContext')), ...change } });
}

function withSecurity(change: Change): JsonObject {
  return withContainer({ securityContext: { ...asObject(container['securityContext']), ...change } });
}

test('the policy is bound, and refuses what it cannot judge', () => {
  assert.ok(isBound());
});

test('the policy is asked about the gate’s account, and nobody else', () => {
  const account = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
  assert.equal(isJudged(account), true);
  for (const other of [`${account}-2`, 'system:serviceaccount:shop:pullgate', 'somebody', '']) {
    assert.equal(isJudged(other), false, other);
  }
});

test('it lets the puller pod through, and what admission plugins add to it', () => {
  assert.deepEqual(refusals(pod), []);
  assert.deepEqual(
    refusals(
      withSpec({
        ...{
          priority: -10,
          preemptionPolicy: 'Never',
          dnsPolicy: 'ClusterFirst',
          overhead: { memory: '64Mi' },
        },
        tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', tolerationSeconds: 300 }],
      }),
    ),
    [],
  );
});

const APP_ARMOR = { 'container.apparmor.security.beta.kubernetes.io/pull': 'unconfined' };

const OWNED = /belong to an ImagePreload/;
const ALONE = /one container, and nothing that could run beside it/;
const COMMAND = /command has to be one that does not exist/;
const NOTHING = /no token, no volume and no environment/;
const NODE = /nothing of its node/;
const RESTRICTED = /as restricted as/;
const YIELDS = /give way to everything else/;

const REFUSED: readonly (readonly [string, JsonObject, RegExp])[] = [
  ['no owner', withMetadata({ ownerReferences: [] }), OWNED],
  ['owners left out', withMetadata({ ownerReferences: undefined }), OWNED],
  ['a second owner', withMetadata({ ownerReferences: [owner, owner] }), OWNED],
  ['another kind of owner', withMetadata({ ownerReferences: [{ ...owner, kind: 'Deployment' }] }), OWNED],
  ['the kind of another group', withMetadata({ ownerReferences: [{ ...owner, apiVersion: 'v1' }] }), OWNED],
  ['without its label', withMetadata({ labels: {} }), OWNED],
  ['a second container', withSpec({ containers: [container, { ...container, name: 'other' }] }), ALONE],
  ['an init container', withSpec({ initContainers: [container] }), ALONE],
  ['an ephemeral container', withSpec({ ephemeralContainers: [container] }), ALONE],
  ['another name of the container', withContainer({ name: 'main' }), ALONE],
  ['the image’s own command', withContainer({ command: undefined }), COMMAND],
  ['no command', withContainer({ command: [] }), COMMAND],
  ['a shell', withContainer({ command: ['/bin/sh'] }), COMMAND],
  ['a path below', withContainer({ command: ['/pullgate-preload-only-x/../../bin/sh'] }), COMMAND],
  ['a path that ends alike', withContainer({ command: ['/bin/sh\n/pullgate-preload-only-x'] }), COMMAND],
  ['a path that can be foreseen', withContainer({ command: ['/pullgate-preload-only-'] }), COMMAND],
  ['more words', withContainer({ command: ['/pullgate-preload-only-x', '-c'] }), COMMAND],
  ['arguments', withContainer({ args: ['-c'] }), COMMAND],
  ['a hook', withContainer({ lifecycle: { postStart: { exec: { command: ['/bin/sh'] } } } }), COMMAND],
  ['a probe', withContainer({ livenessProbe: { exec: { command: ['/bin/sh'] } } }), COMMAND],
  ['a readiness probe', withContainer({ readinessProbe: { exec: { command: ['/bin/sh'] } } }), COMMAND],
  ['a startup probe', withContainer({ startupProbe: { exec: { command: ['/bin/sh'] } } }), COMMAND],
  ['a token', withSpec({ automountServiceAccountToken: true }), NOTHING],
  ['the token of the account’s setting', withSpec({ automountServiceAccountToken: undefined }), NOTHING],
  ['a volume', withSpec({ volumes: [{ name: 'host', hostPath: { path: '/' } }] }), NOTHING],
  ['a mount', withContainer({ volumeMounts: [{ name: 'host', mountPath: '/host' }] }), NOTHING],
  ['a device', withContainer({ volumeDevices: [{ name: 'disk', devicePath: '/dev/sda' }] }), NOTHING],
  ['a variable', withContainer({ env: [{ name: 'PATH', value: '/' }] }), NOTHING],
  ['variables of a secret', withContainer({ envFrom: [{ secretRef: { name: 'pull' } }] }), NOTHING],
  ['the node’s network', withSpec({ hostNetwork: true }), NODE],
  ['the node’s processes', withSpec({ hostPID: true }), NODE],
  ['the node’s memory', withSpec({ hostIPC: true }), NODE],
  ['processes shared', withSpec({ shareProcessNamespace: true }), NODE],
  ['a port', withContainer({ ports: [{ containerPort: 80, hostPort: 80 }] }), NODE],
  ['no security context', withSpec({ securityContext: undefined }), RESTRICTED],
  ['root', withPodSecurity({ runAsUser: 0 }), RESTRICTED],
  ['the image’s user', withPodSecurity({ runAsUser: undefined }), RESTRICTED],
  ['root allowed', withPodSecurity({ runAsNonRoot: false }), RESTRICTED],
  ['no seccomp', withPodSecurity({ seccompProfile: { type: 'Unconfined' } }), RESTRICTED],
  ['privileged', withSecurity({ privileged: true }), RESTRICTED],
  ['escalation', withSecurity({ allowPrivilegeEscalation: true }), RESTRICTED],
  ['a root that can be written to', withSecurity({ readOnlyRootFilesystem: false }), RESTRICTED],
  ['a capability', withSecurity({ capabilities: { drop: ['ALL'], add: ['NET_RAW'] } }), RESTRICTED],
  ['capabilities kept', withSecurity({ capabilities: { drop: ['NET_RAW'] } }), RESTRICTED],
  ['root in the container', withSecurity({ runAsUser: 0 }), RESTRICTED],
  ['no seccomp in the container', withSecurity({ seccompProfile: { type: 'Unconfined' } }), RESTRICTED],
  ['AppArmor off', withPodSecurity({ appArmorProfile: { type: 'Unconfined' } }), RESTRICTED],
  ['AppArmor off in the container', withSecurity({ appArmorProfile: { type: 'Unconfined' } }), RESTRICTED],
  ['AppArmor off by the older annotation', withMetadata({ annotations: APP_ARMOR }), RESTRICTED],
  ['another SELinux type', withPodSecurity({ seLinuxOptions: { type: 'spc_t' } }), RESTRICTED],
  ['another SELinux type of the container', withSecurity({ seLinuxOptions: { type: 'spc_t' } }), RESTRICTED],
  ['kernel settings', withPodSecurity({ sysctls: [{ name: 'kernel.msgmax', value: '1' }] }), RESTRICTED],
  ['all of /proc', withSecurity({ procMount: 'Unmasked' }), RESTRICTED],
  ['a priority over others', withSpec({ priorityClassName: 'system-node-critical' }), YIELDS],
  ['the default priority', withSpec({ priorityClassName: undefined }), YIELDS],
  ['restarts', withSpec({ restartPolicy: 'Always' }), YIELDS],
  ['a node of the scheduler’s choice', withSpec({ nodeName: undefined }), YIELDS],
];

for (const [what, changed, why] of REFUSED) {
  test(`it refuses ${what}`, () => {
    // Left out rather than undefined, as it comes as JSON.
    const messages = refusals(JSON.parse(JSON.stringify(changed)) as JsonObject);
    assert.equal(messages.length, 1, messages.join(' '));
    assert.match(messages[0] ?? '', why);
  });
}
