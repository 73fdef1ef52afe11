import {
  BYPASS_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MODE_LABEL,
  MODE_OFF,
  REVERT_ANNOTATION,
  REVISION_ANNOTATION,
} from '../../../src/api/names.ts';
import { asObject, at, type JsonObject } from '../../../src/json.ts';
import { RUNNING, referenceOf } from './images.ts';
import type { ContainerName, UserStep } from './step.ts';

/** A Deployment as its user has it in mind. What stays out of it is left alone by a patch. */
export interface Workload {
  readonly name: string;
  readonly replicas: number;
  /** By container: its tag. */
  readonly images: Readonly<Partial<Record<ContainerName, string>>>;
  readonly always: boolean;
  /** Counts changes of an environment variable, and restarts. */
  readonly env: number;
  readonly restarts: number;
  readonly off: boolean;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What a step asks the API server for. */
export interface Update {
  /**
   * - `undo`: like `replace` the whole, with the annotations of an earlier revision.
   * - `revert`: like `merge`, with the annotation that asks for the running template.
   */
  readonly verb: 'merge' | 'replace' | 'undo' | 'revert';
  readonly body: JsonObject;
  /** What it says of `spec.paused`; undefined if nothing. */
  readonly paused: boolean | undefined;
}

/** Where its pods may land, beside what every workload of the namespace has. */
export interface Place {
  readonly namespace: string;
  /** Fields of the pods' spec. */
  readonly pod: JsonObject;
}

export function newWorkload(name: string, replicas: number): Workload {
  const images = { app: RUNNING };
  return { name, replicas, images, always: false, env: 0, restarts: 0, off: false, annotations: {} };
}

/** The steps that are one update of one Deployment. */
export type UpdateStep = Extract<
  UserStep,
  {
    do:
      | 'image'
      | 'env'
      | 'restart'
      | 'policy'
      | 'scale'
      | 'paused'
      | 'keepPaused'
      | 'off'
      | 'bypass'
      | 'revert'
      | 'again'
      | 'replace'
      | 'setting';
  }
>;

/** What the user then has in mind, and the request. Pure. `turn` tells bypasses of one sequence apart. */
export function updateFor(
  step: UpdateStep,
  before: Workload,
  place: Place,
  turn: number,
): { readonly after: Workload; readonly update: Update } {
  const reason = `urgent ${turn}`;
  const merge = (after: Workload, body: JsonObject, paused?: boolean) => ({
    after,
    update: {
      verb: 'merge' as const,
      body: paused === undefined ? body : withPaused(body, paused),
      paused,
    },
  });
  const template = (after: Workload, paused?: boolean) =>
    merge(after, { spec: { template: templateOf(after, place) } }, paused);
  const annotate = (annotation: string, value: string | null) => {
    const { [annotation]: _, ...rest } = before.annotations;
    const annotations = value === null ? rest : { ...rest, [annotation]: value };
    return merge({ ...before, annotations }, { metadata: { annotations: { [annotation]: value } } });
  };

  switch (step.do) {
    case 'image': {
      const { [step.container]: _, ...rest } = before.images;
      const images = step.image === null ? rest : { ...rest, [step.container]: step.image };
      const changed = template({ ...before, images }, step.paused);
      if (step.bypass === undefined) return changed;
      const { after, update } = changed;
      const annotations = { [BYPASS_ANNOTATION]: reason };
      return {
        after: { ...after, annotations: { ...after.annotations, ...annotations } },
        update: { ...update, body: { ...update.body, metadata: { annotations } } },
      };
    }
    case 'env':
      return template({ ...before, env: before.env + 1 });
    case 'restart':
      return template({ ...before, restarts: before.restarts + 1 });
    case 'policy':
      return template({ ...before, always: step.always });
    case 'scale':
      return merge({ ...before, replicas: step.replicas }, { spec: { replicas: step.replicas } });
    case 'paused':
      return merge(before, {}, step.on);
    case 'keepPaused':
      return annotate(KEEP_PAUSED_ANNOTATION, step.on ? 'true' : null);
    case 'bypass':
      return annotate(BYPASS_ANNOTATION, reason);
    case 'revert': {
      const { after, update } = annotate(REVERT_ANNOTATION, reason);
      return { after, update: { ...update, verb: 'revert' } };
    }
    case 'setting':
      return annotate(step.annotation, step.value);
    case 'off':
      return merge(
        { ...before, off: step.on },
        { metadata: { labels: { [MODE_LABEL]: step.on ? MODE_OFF : null } } },
      );
    case 'again':
      return merge(before, {
        spec: { replicas: before.replicas, template: templateOf(before, place) },
      });
    case 'replace':
      return {
        after: before,
        update: { verb: 'replace', body: manifestOf(before, place), paused: false },
      };
  }
}

function withPaused(body: JsonObject, paused: boolean): JsonObject {
  return { ...body, spec: { ...(body['spec'] as JsonObject | undefined), paused } };
}

/** With every default of the API server, so that what is stored can be compared with what was sent. */
export function manifestOf(workload: Workload, place: Place): JsonObject {
  const { name, replicas, off, annotations } = workload;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels: { app: name, ...(off && { [MODE_LABEL]: MODE_OFF }) }, annotations },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: templateOf(workload, place),
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
    },
  };
}

function templateOf(
  { name, images, always, env, restarts }: Workload,
  { namespace, pod }: Place,
): JsonObject {
  const container = (container: ContainerName) => {
    const tag = images[container];
    if (tag === undefined) return [];
    return [
      {
        name: container,
        image: referenceOf(namespace, tag),
        imagePullPolicy: always && container === 'app' ? 'Always' : 'IfNotPresent',
        resources: {},
        terminationMessagePath: '/dev/termination-log',
        terminationMessagePolicy: 'File',
        ...(env > 0 && { env: [{ name: 'CHANGED', value: `${env}` }] }),
      },
    ];
  };
  const init = container('init');
  return {
    metadata: {
      labels: { app: name },
      annotations: restarts > 0 ? { 'sim.pullgate.io/restarts': `${restarts}` } : null,
    },
    spec: {
      ...pod,
      // `null` takes away what a merge would leave.
      initContainers: init.length > 0 ? init : null,
      containers: [...container('app'), ...container('sidecar')],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 1,
      dnsPolicy: 'ClusterFirst',
      securityContext: {},
      schedulerName: 'default-scheduler',
    },
  };
}

/** Annotations of the Deployment controller and of kubectl that `kubectl rollout undo` keeps as they are. */
const KEPT_BY_UNDO = [
  'kubectl.kubernetes.io/last-applied-configuration',
  REVISION_ANNOTATION,
  'deployment.kubernetes.io/revision-history',
  'deployment.kubernetes.io/desired-replicas',
  'deployment.kubernetes.io/max-replicas',
  'deprecated.deployment.rollback.to',
];

/** What `kubectl rollout undo` sends: the template of the ReplicaSet, and its annotations. */
export function undoTo(stored: JsonObject, set: JsonObject): Update {
  const { labels, annotations } = asObject(stored['metadata']);
  const kept = Object.entries(asObject(annotations)).filter(([name]) => KEPT_BY_UNDO.includes(name));
  const old = Object.entries(asObject(at(set, 'metadata', 'annotations'))).filter(
    ([name]) => !KEPT_BY_UNDO.includes(name),
  );
  const template = asObject(at(set, 'spec', 'template'));
  const metadata = asObject(template['metadata']);
  const { 'pod-template-hash': _, ...others } = asObject(metadata['labels']);
  return {
    verb: 'undo',
    body: {
      metadata: { labels, annotations: Object.fromEntries([...kept, ...old]) },
      spec: {
        ...asObject(stored['spec']),
        template: { ...template, metadata: { ...metadata, labels: others } },
      },
    },
    paused: undefined,
  };
}
