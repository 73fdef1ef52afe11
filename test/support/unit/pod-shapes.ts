import { asArray, asObject, at, type JsonObject } from '../../../src/json.ts';

/** A pod that the gate's account must not create: it differs from a puller pod in one thing. */
export interface OtherShape {
  readonly what: string;
  readonly pod: JsonObject;
  /** Words of the policy. */
  readonly why: RegExp;
  /** Words of the API server, where it refuses every such pod before it asks the policy. */
  readonly refusedBefore?: RegExp;
}

type Change = Readonly<Record<string, unknown>>;

const OWNED = /must belong to one ImagePreload/;
const ALONE = /must have one container, named pull, and no init container or sidecar/;
const COMMAND = /must be a path that exists in no image/;
const NO_VOLUME = /no API token, and no volume but a token for AWS/;
const NO_ENVIRONMENT = /no environment but plain AWS_ variables/;
const NODE = /must share nothing with its node/;
const RESTRICTED = /must be restricted as the Pod Security Standards define it/;
const YIELDS = /must have the priority class pullgate-preload/;

const APP_ARMOR = { 'container.apparmor.security.beta.kubernetes.io/pull': 'unconfined' };
const SHELL = { exec: { command: ['/bin/sh'] } };

export function withMetadata(pod: JsonObject, change: Change): JsonObject {
  return asSent({ ...pod, metadata: { ...asObject(pod['metadata']), ...change } });
}

export function withSpec(pod: JsonObject, change: Change): JsonObject {
  return asSent({ ...pod, spec: { ...asObject(pod['spec']), ...change } });
}

export function withContainer(pod: JsonObject, change: Change, spec: Change = {}): JsonObject {
  return withSpec(pod, { ...spec, containers: [{ ...containerOf(pod), ...change }] });
}

/** Fields that are undefined are left out, as in JSON. */
function asSent(pod: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(pod)) as JsonObject;
}

function containerOf(pod: JsonObject): JsonObject {
  return asObject(asArray(at(pod, 'spec', 'containers'))[0]);
}

export function otherShapes(pod: JsonObject): readonly OtherShape[] {
  return [
    ...otherOwners(pod),
    ...otherContainers(pod),
    ...otherCommands(pod),
    ...withSecrets(pod),
    ...onItsNode(pod),
    ...lessRestricted(pod),
    ...thatStay(pod),
  ];
}

function otherOwners(pod: JsonObject): OtherShape[] {
  const owner = asObject(asArray(at(pod, 'metadata', 'ownerReferences'))[0]);
  const second = { ...owner, controller: false };
  const owned = (what: string, change: Change) => ({ what, pod: withMetadata(pod, change), why: OWNED });
  return [
    owned('no owner', { ownerReferences: [] }),
    owned('owners left out', { ownerReferences: undefined }),
    owned('a second owner', { ownerReferences: [owner, second] }),
    owned('another kind of owner', { ownerReferences: [{ ...owner, kind: 'Deployment' }] }),
    owned('an owner of another group', { ownerReferences: [{ ...owner, apiVersion: 'v1' }] }),
    owned('no label of ours', { labels: {} }),
  ];
}

function otherContainers(pod: JsonObject): OtherShape[] {
  const container = containerOf(pod);
  const other = { ...container, name: 'other' };
  return [
    { what: 'a second container', pod: withSpec(pod, { containers: [container, other] }), why: ALONE },
    { what: 'a container of another name', pod: withContainer(pod, { name: 'main' }), why: ALONE },
    { what: 'an init container', pod: withSpec(pod, { initContainers: [other] }), why: ALONE },
    {
      what: 'a native sidecar',
      pod: withSpec(pod, { initContainers: [{ ...other, restartPolicy: 'Always' }] }),
      why: ALONE,
    },
    {
      what: 'an ephemeral container',
      pod: withSpec(pod, { ephemeralContainers: [{ name: 'debug', image: container['image'] }] }),
      why: ALONE,
      refusedBefore: /spec\.ephemeralContainers: Forbidden: cannot be set on create/,
    },
  ];
}

function otherCommands(pod: JsonObject): OtherShape[] {
  const runs = (what: string, change: Change) => ({ what, pod: withContainer(pod, change), why: COMMAND });
  return [
    runs('the command of the image', { command: undefined }),
    runs('an empty command', { command: [] }),
    runs('a shell', { command: ['/bin/sh'] }),
    runs('a path that leads to a shell', { command: ['/pullgate-preload-only-x/../../bin/sh'] }),
    runs('a path with our own in its second line', { command: ['/bin/sh\n/pullgate-preload-only-x'] }),
    runs('a path that is known beforehand', { command: ['/pullgate-preload-only-'] }),
    runs('a second word in the command', { command: ['/pullgate-preload-only-x', '-c'] }),
    runs('arguments', { args: ['-c'] }),
    runs('a hook', { lifecycle: { postStart: SHELL } }),
    runs('a liveness probe', { livenessProbe: SHELL }),
    runs('a readiness probe', { readinessProbe: SHELL }),
    runs('a startup probe', { startupProbe: SHELL }),
  ];
}

const TOKEN = { path: 'token', audience: 'sts.amazonaws.com' };
const MOUNT = { name: 'token', mountPath: '/var/run/secrets/token', readOnly: true };
const volume = (source: Change) => ({ volumes: [{ name: 'token', ...source }] });
const projected = (...sources: Change[]) => volume({ projected: { sources } });
const awsToken = projected({ serviceAccountToken: TOKEN });

function withSecrets(pod: JsonObject): OtherShape[] {
  const holds = (what: string, spec: Change, change: Change = {}) => ({
    what,
    pod: withContainer(pod, change, spec),
    why: NO_VOLUME,
  });
  const mounts = (what: string, change: Change) =>
    holds(what, awsToken, { volumeMounts: [{ ...MOUNT, ...change }] });
  const reads = (what: string, change: Change) => ({
    what,
    pod: withContainer(pod, change),
    why: NO_ENVIRONMENT,
  });
  const secret = { secretKeyRef: { name: 'pull', key: 'password' } };
  return [
    holds('the account’s token', { automountServiceAccountToken: true }),
    holds('a token if the account says so', { automountServiceAccountToken: undefined }),
    holds('a folder of the node', volume({ hostPath: { path: '/' } })),
    holds('a Secret', volume({ secret: { secretName: 'pull' } })),
    holds(
      'a Secret beside a token for AWS',
      projected({ serviceAccountToken: TOKEN }, { secret: { name: 'pull' } }),
    ),
    holds('a token for the API server', projected({ serviceAccountToken: { path: 'token' } })),
    holds('a token for somebody else', projected({ serviceAccountToken: { ...TOKEN, audience: 'vault' } })),
    holds('an image volume', volume({ image: { reference: 'registry.test/data:1' } })),
    mounts('a token that can be written to', { readOnly: false }),
    mounts('a token at the path of the command', { mountPath: '/pullgate-preload-only-x' }),
    mounts('a token mounted as a file', { subPath: 'token' }),
    mounts('a token mounted at a path of a variable', { subPathExpr: '$(AWS_REGION)' }),
    holds('a device', volume({ persistentVolumeClaim: { claimName: 'disk' } }), {
      volumeDevices: [{ name: 'token', devicePath: '/dev/sda' }],
    }),
    reads('a variable', { env: [{ name: 'PATH', value: '/' }] }),
    reads('a variable that asks the runtime for devices', {
      env: [{ name: 'NVIDIA_VISIBLE_DEVICES', value: 'all' }],
    }),
    reads('a variable of a Secret', { env: [{ name: 'AWS_SECRET_ACCESS_KEY', valueFrom: secret }] }),
    reads('all variables of a Secret', { envFrom: [{ secretRef: { name: 'pull' } }] }),
  ];
}

function onItsNode(pod: JsonObject): OtherShape[] {
  const shares = (what: string, change: Change) => ({ what, pod: withSpec(pod, change), why: NODE });
  return [
    shares('the network of its node', { hostNetwork: true }),
    shares('the processes of its node', { hostPID: true }),
    shares('the IPC of its node', { hostIPC: true }),
    shares('processes shared between containers', { shareProcessNamespace: true }),
    {
      what: 'a port of its node',
      pod: withContainer(pod, { ports: [{ containerPort: 80, hostPort: 80 }] }),
      why: NODE,
    },
  ];
}

function lessRestricted(pod: JsonObject): OtherShape[] {
  const ofPod = asObject(at(pod, 'spec', 'securityContext'));
  const ofContainer = asObject(containerOf(pod)['securityContext']);
  const inPod = (what: string, change: Change) => ({
    what,
    pod: withSpec(pod, { securityContext: { ...ofPod, ...change } }),
    why: RESTRICTED,
  });
  const inContainer = (what: string, change: Change, spec: Change = {}) => ({
    what,
    pod: withContainer(pod, { securityContext: { ...ofContainer, ...change } }, spec),
    why: RESTRICTED,
  });
  return [
    { what: 'no security context', pod: withSpec(pod, { securityContext: undefined }), why: RESTRICTED },
    inPod('root', { runAsUser: 0, runAsNonRoot: false }),
    inPod('another user', { runAsUser: 1000 }),
    inPod('the user of the image', { runAsUser: undefined }),
    inPod('root allowed', { runAsNonRoot: false }),
    inPod('no seccomp profile', { seccompProfile: { type: 'Unconfined' } }),
    inPod('no AppArmor profile', { appArmorProfile: { type: 'Unconfined' } }),
    inPod('another SELinux type', { seLinuxOptions: { type: 'spc_t' } }),
    inPod('kernel settings', { sysctls: [{ name: 'kernel.msgmax', value: '1' }] }),
    inContainer('a privileged container', { privileged: true, allowPrivilegeEscalation: true }),
    inContainer('privilege escalation', { allowPrivilegeEscalation: true }),
    inContainer('a root that can be written to', { readOnlyRootFilesystem: false }),
    inContainer('a capability', { capabilities: { drop: ['ALL'], add: ['NET_RAW'] } }),
    inContainer('capabilities kept', { capabilities: { drop: ['NET_RAW'] } }),
    inContainer('another user in the container', { runAsUser: 1000 }),
    inContainer('no seccomp profile in the container', { seccompProfile: { type: 'Unconfined' } }),
    inContainer('no AppArmor profile in the container', { appArmorProfile: { type: 'Unconfined' } }),
    inContainer('another SELinux type in the container', { seLinuxOptions: { type: 'spc_t' } }),
    // An API server allows it in a user namespace alone.
    inContainer('all of /proc', { procMount: 'Unmasked' }, { hostUsers: false }),
    {
      what: 'no AppArmor profile, by the older annotation',
      pod: withMetadata(pod, { annotations: APP_ARMOR }),
      why: RESTRICTED,
    },
  ];
}

function thatStay(pod: JsonObject): OtherShape[] {
  const stays = (what: string, change: Change) => ({ what, pod: withSpec(pod, change), why: YIELDS });
  return [
    stays('a priority over others', { priorityClassName: 'system-node-critical' }),
    stays('the default priority', { priorityClassName: undefined }),
    stays('restarts', { restartPolicy: 'Always' }),
    {
      what: 'restarts of its container',
      pod: withContainer(pod, { restartPolicy: 'Always' }),
      why: YIELDS,
    },
    stays('a node of the scheduler’s choice', { nodeName: undefined }),
  ];
}
