import type { ImagePreload, ImagePreloadSpec, PreloadImage } from '../../../src/api/image-preload.ts';
import { type AssessInput, assess } from '../../../src/preloads/assess/assess.ts';
import { PULL_TIMES, type PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import type { Node } from '../../../src/preloads/nodes/node.ts';
import type { Failure } from '../../../src/preloads/pods/pull-failure.ts';
import type { PullContainer, PullerPod } from '../../../src/preloads/pods/puller-pod-status.ts';

/** When the preloads of the tests are made; times in tests are seconds from there. */
const T0 = Date.UTC(2026, 0, 1);
export const IMAGE = 'registry.test/app:2';
export const DIGEST = `sha256:${'ab'.repeat(32)}`;

export const at = (seconds: number): number => T0 + seconds * 1000;

export const NOT_FOUND = `failed to resolve reference "${IMAGE}": ${IMAGE}: not found`;
export const DENIED = 'pull access denied, repository does not exist or may require authorization';
export const REFUSED = 'dial tcp 10.0.0.1:443: connect: connection refused';
export const BACK_OFF = `Back-off pulling image "${IMAGE}"`;

/** Each of these nodes has been refused the image twice, at 0 s and at 5 s. */
export function refusedOn(names: readonly string[], message: string = NOT_FOUND): PullerBuilder[] {
  return names.map((name) => puller(name).attempt(2, 5).failing(message));
}

/** shop/web-1 for one image, with the defaults of the API. */
export function preload(
  spec: Partial<ImagePreloadSpec> = {},
  fields: Partial<Omit<ImagePreload, 'spec'>> = {},
): ImagePreload {
  return {
    namespace: 'shop',
    name: 'web-1',
    uid: 'uid-web-1',
    generation: 1,
    createdAt: T0,
    deleting: false,
    owner: { kind: 'Deployment', name: 'web', uid: 'uid-web' },
    ...fields,
    spec: {
      images: images(IMAGE),
      scheduling: {},
      imagePullSecrets: [],
      serviceAccountName: '',
      templateHash: 'template-2',
      nodeTimeoutSeconds: 900,
      minNodes: '100%',
      deadlineSeconds: 3600,
      ttlSecondsAfterFinished: 3600,
      ...spec,
    },
  };
}

export function images(...names: string[]): PreloadImage[] {
  return names.map((image) => ({ image, imagePullPolicy: 'IfNotPresent' }));
}

export function node(name: string, fields: Partial<Node> = {}): Node {
  return {
    name,
    createdAt: 0,
    labels: {},
    unschedulable: false,
    taints: [],
    startupTaints: [],
    ready: true,
    capacity: {},
    os: 'linux',
    deleting: false,
    bootId: '',
    images: new Set(),
    imagesComplete: false,
    checksCredentials: false,
    ...fields,
  };
}

/** `n1`, `n2`, ... */
export function nodes(count: number): Node[] {
  return Array.from({ length: count }, (_, index) => node(`n${index + 1}`));
}

export interface PullerBuilder {
  readonly pod: PullerPod;
  image(image: string): PullerBuilder;
  /** Made at that second. */
  attempt(attempt: number, seconds: number): PullerBuilder;
  /** Of the first attempt, where this is a later one. */
  firstAt(seconds: number): PullerBuilder;
  pulling(): PullerBuilder;
  pulled(seconds: number, digest?: string): PullerBuilder;
  /** The kubelet got these words, or says that it backs off. */
  failing(message: string): PullerBuilder;
  rejected(reason: string, message: string): PullerBuilder;
  with(fields: Partial<PullerPod>): PullerBuilder;
}

/** The first attempt on that node, made at T0, not taken on by the kubelet yet. Its `pull` is the image's name. */
export function puller(nodeName = 'n1'): PullerBuilder {
  return builder({
    namespace: 'shop',
    name: `puller-${nodeName}-${IMAGE}-1`,
    uid: `uid-puller-${nodeName}-1`,
    node: nodeName,
    preload: 'web-1',
    preloadUid: 'uid-web-1',
    pull: IMAGE,
    attempt: 1,
    firstAttemptAt: T0,
    createdAt: T0,
    bootId: '',
    deleting: false,
    phase: 'Pending',
    reason: '',
    message: '',
    reportedAt: undefined,
    startedAt: undefined,
  });
}

function builder(pod: PullerPod): PullerBuilder {
  const next = (fields: Partial<PullerPod>) => builder({ ...pod, ...fields });
  const container = (state: Partial<PullContainer>) =>
    next({ startedAt: pod.createdAt, container: { imageID: '', running: false, ...state } });
  return {
    pod,
    image: (image) => next({ pull: image, name: `puller-${pod.node}-${image}-${pod.attempt}` }),
    attempt: (attempt, seconds) =>
      next({
        attempt,
        createdAt: at(seconds),
        name: `puller-${pod.node}-${pod.pull}-${attempt}`,
        uid: `uid-puller-${pod.node}-${attempt}`,
      }),
    firstAt: (seconds) => next({ firstAttemptAt: at(seconds) }),
    pulling: () => container({ waiting: { reason: 'ContainerCreating', message: '' } }),
    pulled: (seconds, digest = DIGEST) => {
      const terminated = { reason: 'StartError', message: '', exitCode: 128, finishedAt: at(seconds) };
      return container({ imageID: `registry.test/app@${digest}`, terminated });
    },
    failing: (message) => {
      const reason = message.startsWith('Back-off') ? 'ImagePullBackOff' : 'ErrImagePull';
      return container({ waiting: { reason, message } });
    },
    rejected: (reason, message) => next({ phase: 'Failed', reason, message }),
    with: next,
  };
}

export interface Situation {
  readonly preload?: ImagePreload;
  readonly nodes: readonly Node[];
  readonly pods?: readonly PullerBuilder[];
  /** Seconds since T0. */
  readonly now?: number;
  readonly excluded?: AssessInput['excluded'];
  readonly preferred?: readonly string[];
  readonly withSecret?: boolean;
  /** Seconds since T0. */
  readonly noNodesSince?: number;
  readonly servedSince?: number;
  readonly known?: Failure;
  /** By node. */
  readonly troubles?: Readonly<Record<string, Failure>>;
  readonly times?: PullTimes;
}

/** What assess() is given there. */
export function situation(given: Situation): AssessInput {
  const places = Map.groupBy(given.pods ?? [], ({ pod }) => `${pod.node} ${pod.pull}`);
  return {
    preload: given.preload ?? preload(),
    eligible: given.nodes,
    excluded: given.excluded ?? [],
    podsOf:
      ({ image }) =>
      (name) =>
        (places.get(`${name} ${image}`) ?? []).map(({ pod }) => pod),
    knownFailure: () => given.known,
    troubleOf: (pod) => given.troubles?.[pod.node],
    withSecret: given.withSecret ?? false,
    preferred: new Set(given.preferred),
    noNodesSince: given.noNodesSince === undefined ? undefined : at(given.noNodesSince),
    times: given.times ?? PULL_TIMES,
    servedSince: at(given.servedSince ?? 0),
    now: at(given.now ?? 0),
  };
}

/** An assessment in one piece: the outcome as its kind and reason, such as `fail NotFound`. */
export function lookAt(input: AssessInput) {
  const { outcome, progress, plan } = assess(input);
  const failure = outcome.kind === 'fail' ? outcome.failure : undefined;
  return { ...progress, ...plan, failure, outcome: `${outcome.kind} ${outcome.reason}` };
}
