import {
  ATTEMPT_ANNOTATION,
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  PARALLELISM_ANNOTATION,
  PRELOAD_LABEL,
  PULL_LABEL,
  PULLER_LABEL,
} from '../../../src/api/names.ts';
import type { JsonObject } from '../../../src/json.ts';
import { pullerPod } from '../../../src/preloads/pods/puller-pod.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import { inParallel } from '../in-parallel.ts';
import { manifestOf } from './deployment.ts';
import type { HostileRegistry } from './hostile-registry.ts';
import type { Stranger } from './stranger.ts';

/** In everything that the stranger writes: nobody else is ever to read it. */
export const WORDS = 'stranger-words';

/** Whom the stranger is after. All of it can be known, or guessed. */
export interface Victim {
  readonly namespace: string;
  readonly deployment: { readonly name: string; readonly uid: string };
  /** What the next update asks for. */
  readonly image: string;
  readonly preload: string;
  readonly nodes: readonly string[];
}

export interface Attack {
  readonly name: string;
  /** Whether the stranger's namespace is gated. */
  readonly optedIn: boolean;
  begin(stranger: Stranger, victim: Victim, registry: HostileRegistry): Promise<void>;
}

/** etcd takes 1.5 MiB. */
const LARGE = 1_300_000;
const LARGE_OBJECTS = 20;
/** Fewer, as the schema refuses them: for each the API server is busy for seconds, and that is not what is measured. */
const LARGE_PRELOADS = 3;
const deepList = (levels: number): unknown =>
  JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`) as unknown;
const manyOf = <T>(entry: T): T[] => {
  const bytes = JSON.stringify(entry).length + 1;
  return Array<T>(Math.floor(LARGE / bytes)).fill(entry);
};
const numbered = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const flood = (count: number, value: string): Record<string, string> =>
  Object.fromEntries(numbered(count, (index) => [`${WORDS}-${index}`, value]));

export const ATTACKS: readonly Attack[] = [
  {
    name: 'pods that pretend to be puller pods',
    optedIn: false,
    async begin(stranger, victim, { refused }) {
      const nowhere = { nodeSelector: { [WORDS]: 'nowhere' } };
      const crowd = withPodLabels(manifestOf('crowd', { replicas: 100, pod: nowhere }), {
        [PULLER_LABEL]: 'true',
      });
      await stranger.create('deployments', crowd);
      for (const image of [PAUSE_IMAGE, `${refused}:1`])
        await stranger.createAll(
          'pods',
          victim.nodes.map((node) => forgedPod(stranger, victim, node, image)),
        );
    },
  },
  {
    name: 'ImagePreloads that are deep, large and in the name of others',
    optedIn: false,
    async begin(stranger, { deployment, preload, image }) {
      const owner = { apiVersion: 'apps/v1', kind: 'Deployment', ...deployment, controller: true };
      const required = (terms: unknown) => ({
        nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms },
      });
      const deep = imagePreload('deep', image, { affinity: required({ x: deepList(2000) }) });
      await stranger.create('imagepreloads', deep);
      await stranger.patch('imagepreloads', 'deep', { metadata: { labels: { changed: 'true' } } });
      await stranger.create('imagepreloads', {
        ...imagePreload(preload, image, {}),
        metadata: { name: preload, ownerReferences: [owner] },
        status: { phase: 'Ready', ready: '2/2', readyNodes: 2, desiredNodes: 2 },
      });
      const terms = { nodeSelectorTerms: manyOf({}) };
      await stranger.createAll(
        'imagepreloads',
        numbered(LARGE_PRELOADS, (index) =>
          imagePreload(`large-${index}`, image, { affinity: required(terms) }),
        ),
      );
    },
  },
  {
    name: 'large Deployments, floods of labels and annotations, forged marks and Events',
    optedIn: true,
    async begin(stranger, { deployment }) {
      const tolerations = manyOf({ key: WORDS, operator: 'Exists' });
      await stranger.createAll(
        'deployments',
        numbered(LARGE_OBJECTS, (index) =>
          manifestOf(`large-${index}`, { replicas: 0, pod: { tolerations } }),
        ),
      );
      const at = new Date().toISOString();
      const from = { template: 'x', images: flood(2000, WORDS) };
      const hold = {
        v: 1,
        uid: deployment.uid,
        preload: 'x',
        template: 'x',
        from,
        since: at,
        userPaused: true,
      };
      const decided = {
        v: 1,
        uid: deployment.uid,
        template: 'x',
        decision: 'Bypassed',
        by: WORDS,
        at,
        reason: WORDS,
      };
      const forged = manifestOf('forged', { replicas: 0 });
      await stranger.create('deployments', {
        ...forged,
        metadata: {
          name: 'forged',
          labels: { ...flood(5000, 'x'), [HELD_LABEL]: 'true' },
          annotations: {
            [HOLD_ANNOTATION]: JSON.stringify(hold),
            [DECIDED_ANNOTATION]: JSON.stringify(decided),
          },
        },
      });
      await stranger.create('deployments', manifestOf('flood', { replicas: 0 }));
      const settings = numbered(200, (index) => `${WORDS}-${index}-${'x'.repeat(1000)}`);
      await inParallel(
        settings,
        (value) =>
          stranger.patch('deployments', 'flood', {
            metadata: { annotations: { [PARALLELISM_ANNOTATION]: value } },
          }),
        16,
      );
      await stranger.create('events', {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: WORDS },
        involvedObject: { apiVersion: 'apps/v1', kind: 'Deployment', ...deployment },
        reason: 'RolloutReleased',
        message: WORDS,
        source: { component: 'pullgate' },
      });
    },
  },
  {
    name: 'pulls that a registry refuses with 64 kB of words',
    optedIn: true,
    async begin(stranger, _victim, { refused }) {
      await stranger.createAll(
        'imagepreloads',
        numbered(5, (index) => imagePreload(`refused-${index}`, `${refused}:${index}`, {})),
      );
    },
  },
];

/** Of a pull that never ends: a kubelet that pulls one image after the other then pulls nothing for anybody, whoever asked for it. */
export function endlessPreloads({ endless }: HostileRegistry): JsonObject[] {
  return numbered(10, (index) => {
    const preload = imagePreload(`endless-${index}`, `${endless}:${index}`, {});
    return { ...preload, spec: { ...(preload['spec'] as JsonObject), nodeTimeoutSeconds: 86_400 } };
  });
}

function imagePreload(name: string, image: string, scheduling: JsonObject): JsonObject {
  return {
    apiVersion: 'pullgate.io/v1alpha1',
    kind: 'ImagePreload',
    metadata: { name },
    spec: { images: [{ image }], scheduling },
  };
}

/** As the gate would make it for the victim's update, in the stranger's namespace. */
function forgedPod({ namespace }: Stranger, victim: Victim, node: string, image: string): JsonObject {
  const spec = {
    namespace: victim.namespace,
    image: victim.image,
    imagePullPolicy: 'IfNotPresent',
    imagePullSecrets: [],
    serviceAccountName: '',
    tolerations: [],
  } as const;
  const preload = { name: victim.preload, uid: victim.deployment.uid };
  const real = pullerPod({ spec, preload, node, attempt: 1, firstAttemptAt: Date.now(), random: 'x' });
  const labels = (real['metadata'] as { labels: Record<string, string> }).labels;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: namespace.name,
      generateName: 'forged-',
      labels: {
        [PULLER_LABEL]: 'true',
        [PRELOAD_LABEL]: victim.preload,
        [PULL_LABEL]: labels[PULL_LABEL] ?? '',
      },
      annotations: { [ATTEMPT_ANNOTATION]: '999' },
    },
    spec: { nodeName: node, restartPolicy: 'Never', containers: [{ name: 'pull', image }] },
  };
}

function withPodLabels(deployment: JsonObject, more: Readonly<Record<string, string>>): JsonObject {
  const spec = deployment['spec'] as { template: { metadata: { labels: Record<string, string> } } };
  const { template } = spec;
  const labels = { ...template.metadata.labels, ...more };
  return { ...deployment, spec: { ...spec, template: { ...template, metadata: { labels } } } };
}
