import { writeDecisionRecord } from '../../../../src/api/decision-record.ts';
import { parseDeployment } from '../../../../src/api/deployment.ts';
import { withMarks } from '../../../../src/api/hold.ts';
import {
  ATTEMPT_ANNOTATION,
  BYPASS_ANNOTATION,
  DEADLINE_ANNOTATION,
  DECIDED_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MIN_NODES_ANNOTATION,
  MODE_LABEL,
  NODE_SELECTOR_ANNOTATION,
  NODE_TIMEOUT_ANNOTATION,
  PARALLELISM_ANNOTATION,
} from '../../../../src/api/names.ts';
import { asObject, at, type JsonObject } from '../../../../src/json.ts';
import { pullerPod } from '../../../../src/preloads/pods/puller-pod.ts';
import { preloadManifest, preloadSpec } from '../../../../src/preloads/preload-spec.ts';
import { plainNode } from '../../../cluster/simulated/node-object.ts';
import type { Random } from '../../../support/random.ts';
import { deployment, PRELOAD_SETTINGS } from '../../../support/unit/deployment-builder.ts';
import { heldObject, holdOf } from '../../../support/unit/held-deployment.ts';
import { type Kind, VERSION_MARK } from './stored-objects.ts';

/** Where an object is, and which one of that name it is. */
export interface Identity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What decides which of the objects that occur it is. */
export interface Chance {
  readonly random: Random;
  /** ms since the epoch, by the gate's clock. */
  readonly now: number;
}

/** A stranger's image, or any other. */
const IMAGES = ['registry.evil.test/app:2', 'registry.evil.test/app:3', 'busybox', 'registry.test/app:1'];
/** Of the nodes in the fuzz: pods are on these. */
export const NODE_NAMES = Array.from({ length: 12 }, (_, index) => `node-${index}`);
const WORDS = [
  'failed to resolve reference "registry.evil.test/app:2": registry.evil.test/app:2: not found',
  'pull access denied, repository does not exist or may require authorization',
  'dial tcp 10.0.0.1:443: connect: connection refused',
  'Back-off pulling image "registry.evil.test/app:2"',
  'unexpected status from HEAD request to https://registry.evil.test/v2/app/manifests/2: 503 Service Unavailable',
];

/** An object as an API server has it, of any sort that occurs. */
export function realisticObject(kind: Kind, identity: Identity, chance: Chance): JsonObject {
  const { random } = chance;
  const object = MAKERS[kind](identity, chance);
  const metadata = {
    ...asObject(object['metadata']),
    name: identity.name,
    ...(identity.namespace !== '' && { namespace: identity.namespace }),
    uid: identity.uid,
    resourceVersion: VERSION_MARK,
    creationTimestamp: at(object, 'metadata', 'creationTimestamp') ?? recently(chance),
    ...(random.chance(0.05) && { deletionTimestamp: recently(chance) }),
  };
  return { ...object, metadata };
}

const MAKERS: Readonly<Record<Kind, (identity: Identity, chance: Chance) => JsonObject>> = {
  namespaces: (_, { random }) => ({
    metadata: {
      labels: random.chance(0.3)
        ? {}
        : { [MODE_LABEL]: random.pick(['pause', 'reject', 'audit', 'off', 'Pause']) },
    },
    status: { phase: 'Active' },
  }),
  nodes: ({ name }, { random }) => {
    const images = new Map(
      Array.from({ length: random.below(50) }, (_, n) => [`registry.test/image-${n}:1`, '']),
    );
    const node = plainNode(name, { zone: random.pick(['a', 'b']) }, images);
    return {
      ...node,
      spec: {
        unschedulable: random.chance(0.1),
        taints: random.chance(0.2) ? [{ key: 'x', effect: 'NoSchedule' }] : [],
      },
    };
  },
  deployments: deploymentObject,
  imagepreloads: (identity, chance) => {
    const { random } = chance;
    const owner = deploymentObject(
      { ...identity, name: identity.name, uid: `deployments-${identity.name}` },
      chance,
    );
    const parsed = parseDeployment({
      ...owner,
      metadata: { ...asObject(owner['metadata']), ...identity, uid: `deployments-${identity.name}` },
    });
    const spec = preloadSpec(parsed, holdOf().from, { ...PRELOAD_SETTINGS, ttlSecondsAfterFinished: 60 });
    const manifest = preloadManifest(parsed, identity.name, spec, PRELOAD_SETTINGS);
    return {
      ...manifest,
      metadata: {
        ...asObject(manifest['metadata']),
        generation: 1,
        ...(random.chance(0.4) && { ownerReferences: [] }),
      },
      ...(random.chance(0.4) && { status: preloadStatus(chance) }),
    };
  },
  pods: (identity, chance) => {
    const { random } = chance;
    const manifest = pullerPod({
      spec: {
        namespace: identity.namespace,
        image: random.pick(IMAGES),
        imagePullPolicy: random.pick(['Always', 'IfNotPresent']),
        imagePullSecrets: [],
        serviceAccountName: '',
        tolerations: [],
      },
      preload: { name: `imagepreloads-${random.below(24)}`, uid: 'imagepreloads' },
      node: random.pick(NODE_NAMES),
      attempt: 1 + random.below(3),
      firstAttemptAt: chance.now,
      random: 'abc',
    });
    return { ...manifest, status: podStatus(chance) };
  },
};

function deploymentObject({ name, uid }: Identity, chance: Chance): JsonObject {
  const { random } = chance;
  const image = random.pick(IMAGES);
  let builder = deployment().metadata({ name, uid }).image(image);
  if (random.chance(0.2)) builder = builder.policy('Always');
  if (random.chance(0.2)) builder = builder.initContainer('migrate', random.pick(IMAGES));
  if (random.chance(0.1)) builder = builder.imageVolume('models', random.pick(IMAGES));
  for (const [annotation, values] of Object.entries(ANNOTATIONS))
    if (random.chance(0.1)) builder = builder.annotate(annotation, random.pick(values));
  if (random.chance(0.1)) builder = builder.label(MODE_LABEL, 'off');
  if (random.chance(0.3)) builder = builder.spec({ replicas: random.below(3) });
  const decided = writeDecisionRecord({
    ...holdOf(builder),
    decision: random.pick(['Held', 'Bypassed', 'Superseded', 'OptedOut', 'Audited']),
    by: 'evil-user',
    at: recently(chance),
    reason: 'evil words',
  });
  if (random.chance(0.4)) builder = builder.annotate(DECIDED_ANNOTATION, decided);
  const whose = random.chance(0.8) ? uid : 'another';
  const object = random.chance(0.7)
    ? heldObject(builder, { uid: whose, since: recently(chance) })
    : builder.object;
  return random.chance(0.1) ? withMarks(object, { paused: false }) : object;
}

const ANNOTATIONS: Readonly<Record<string, readonly string[]>> = {
  [PARALLELISM_ANNOTATION]: ['1', '50%', '0'],
  [MIN_NODES_ANNOTATION]: ['1', '50%', '101%'],
  [NODE_TIMEOUT_ANNOTATION]: ['1', '86400', '1e3'],
  [DEADLINE_ANNOTATION]: ['1', '604800', '-1'],
  [NODE_SELECTOR_ANNOTATION]: ['zone=a', 'zone in (a,b)', 'zone=a,zone=b'],
  [KEEP_PAUSED_ANNOTATION]: ['true', 'yes'],
  [BYPASS_ANNOTATION]: ['evil reason'],
  [ATTEMPT_ANNOTATION]: ['999'],
};

function preloadStatus(chance: Chance): JsonObject {
  const { random } = chance;
  const time = recently(chance);
  const condition = (type: string) => ({
    type,
    status: random.pick(['True', 'False', 'Unknown']),
    observedGeneration: 1,
    lastTransitionTime: time,
    reason: 'AsExpected',
    message: 'evil words',
  });
  return {
    phase: random.pick(['Preloading', 'Ready', 'Finished', 'Failed']),
    ready: '1/2',
    imageNames: 'registry.evil.test/app:2',
    desiredNodes: 2,
    readyNodes: 1,
    pullingNodes: 1,
    failedNodes: 0,
    excluded: [{ reason: 'Taint', count: 3 }],
    images: [{ image: 'registry.evil.test/app:2', digests: [], alreadyPresent: 0, pulled: 1, failed: 0 }],
    failures: [
      { node: 'node-1', image: 'registry.evil.test/app:2', reason: 'NotFound', message: 'evil words' },
    ],
    conditions: ['Ready', 'Progressing', 'Degraded'].map(condition),
    startedAt: time,
    ...(random.chance(0.5) && { finishedAt: time }),
  };
}

/** As a kubelet writes it, whatever came of the pull. */
export function podStatus(chance: Chance, message = chance.random.pick(WORDS)): JsonObject {
  const { random } = chance;
  const time = recently(chance);
  const state = random.pick<JsonObject>([
    { waiting: { reason: 'ContainerCreating' } },
    { waiting: { reason: 'ErrImagePull', message } },
    { waiting: { reason: 'ImagePullBackOff', message } },
    { running: { startedAt: time } },
    {
      terminated: {
        reason: 'StartError',
        message,
        exitCode: 128,
        startedAt: '1970-01-01T00:00:00Z',
        finishedAt: time,
      },
    },
  ]);
  const rejected = random.chance(0.1);
  return {
    phase: rejected ? 'Failed' : random.pick(['Pending', 'Running', 'Failed']),
    startTime: time,
    ...(rejected && { reason: 'OutOfpods', message }),
    containerStatuses: [
      {
        name: 'pull',
        imageID: at(state, 'waiting') === undefined ? `registry.evil.test/app@sha256:${'ab'.repeat(32)}` : '',
        state,
      },
    ],
  };
}

/** Up to an hour before, in whole seconds. */
function recently({ random, now }: Chance): string {
  return new Date(now - random.below(3600_000)).toISOString().replace(/\.\d+/, '');
}
