import {
  ATTEMPT_ANNOTATION,
  BOOT_ID_ANNOTATION,
  FIRST_ATTEMPT_ANNOTATION,
  GROUP,
  IMAGE_PRELOAD_KIND,
  PULL_LABEL,
} from '../../api/names.ts';
import { parseTimestamp } from '../../api/timestamp.ts';
import { asArray, asNumber, asString, at } from '../../json.ts';
import { elide, TEXT_LIMIT } from '../../text.ts';
import { PULL_CONTAINER } from './puller-pod.ts';

/** What Pullgate reads of a puller pod. Times are in milliseconds, and texts of others are cut: 32 KiB in all. */
export interface PullerPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  /** Name and uid of the ImagePreload that controls it; empty if none does. */
  readonly preload: string;
  readonly preloadUid: string;
  /** See `pullKey`. */
  readonly pull: string;
  /** Counted from 1. */
  readonly attempt: number;
  readonly firstAttemptAt: number;
  readonly createdAt: number;
  /** The boot of the node that it was made for; empty if its maker did not know it. */
  readonly bootId: string;
  readonly deleting: boolean;
  readonly phase: string;
  /** Why the pod as a whole failed, in the kubelet's or the controller's words; else empty. */
  readonly reason: string;
  readonly message: string;
  /** When the status was last written, by the clock of the API server. */
  readonly reportedAt: number | undefined;
  /** When the kubelet took the pod on. */
  readonly startedAt: number | undefined;
  /** Absent until the kubelet has reported it, and for a pod it rejected. */
  readonly container?: PullContainer;
  /** The injected init container that the pull waits for, or that has ended the pod. Puller pods have none of their own. */
  readonly init?: BlockingInit;
}

export interface BlockingInit {
  readonly name: string;
  /** What it does instead of ending, after its name. */
  readonly words: string;
  /** It is in trouble for sure: time alone does not make it late. */
  readonly failing: boolean;
  /** It has failed, and the pod with it. */
  readonly ended: boolean;
}

export interface PullContainer {
  /** As the runtime names the image; empty until the container was created. */
  readonly imageID: string;
  readonly waiting?: { readonly reason: string; readonly message: string };
  readonly terminated?: {
    readonly reason: string;
    readonly message: string;
    readonly exitCode: number;
    readonly startedAt?: number;
    readonly finishedAt?: number;
  };
  readonly running: boolean;
}

export function parsePullerPod(raw: unknown): PullerPod {
  const metadata = at(raw, 'metadata');
  const status = at(raw, 'status');
  const labels = at(metadata, 'labels');
  const annotations = at(metadata, 'annotations');
  const owner = asArray(at(metadata, 'ownerReferences')).find(isControllingPreload);
  const createdAt = parseTimestamp(at(metadata, 'creationTimestamp')) ?? 0;
  const container = asArray(at(status, 'containerStatuses')).find(
    (entry) => at(entry, 'name') === PULL_CONTAINER,
  );
  const init = parseInit(raw);
  return {
    namespace: asString(at(metadata, 'namespace')) ?? '',
    name: asString(at(metadata, 'name')) ?? '',
    uid: asString(at(metadata, 'uid')) ?? '',
    node: asString(at(raw, 'spec', 'nodeName')) ?? '',
    preload: asString(at(owner, 'name')) ?? '',
    preloadUid: asString(at(owner, 'uid')) ?? '',
    pull: asString(at(labels, PULL_LABEL)) ?? '',
    attempt: parseAttempt(at(annotations, ATTEMPT_ANNOTATION)),
    firstAttemptAt: parseTimestamp(at(annotations, FIRST_ATTEMPT_ANNOTATION)) ?? createdAt,
    createdAt,
    bootId: text(annotations, BOOT_ID_ANNOTATION, BOOT_ID_CHARACTERS),
    deleting: typeof at(metadata, 'deletionTimestamp') === 'string',
    phase: text(status, 'phase', REASON_CHARACTERS),
    ...reasonOf(status),
    reportedAt: lastReport(at(metadata, 'managedFields')),
    startedAt: parseTimestamp(at(status, 'startTime')),
    ...(container !== undefined && { container: parseContainer(container) }),
    ...(init !== undefined && { init }),
  };
}

/** A pod has one entry for its creator, and one for each client that writes its status. */
const MANAGERS = 20;

function lastReport(managedFields: unknown): number | undefined {
  const times = asArray(managedFields)
    .slice(0, MANAGERS)
    .filter((entry) => at(entry, 'subresource') === 'status')
    .map((entry) => parseTimestamp(at(entry, 'time')))
    .filter((time) => time !== undefined);
  return times.length === 0 ? undefined : Math.max(...times);
}

/** Webhooks add one or two. */
const INIT_CONTAINERS = 20;

/** Init containers run one after the other: the first that is not done is what the pull waits for. */
function parseInit(raw: unknown): BlockingInit | undefined {
  const sidecars = new Set(
    asArray(at(raw, 'spec', 'initContainers'))
      .slice(0, INIT_CONTAINERS)
      .filter((entry) => at(entry, 'restartPolicy') === 'Always')
      .map((entry) => at(entry, 'name')),
  );
  for (const entry of asArray(at(raw, 'status', 'initContainerStatuses')).slice(0, INIT_CONTAINERS)) {
    const { waiting, terminated, running } = parseContainer(entry);
    const isSidecar = sidecars.has(at(entry, 'name'));
    const name = text(entry, 'name', NAME_CHARACTERS);
    if (terminated !== undefined && !isSidecar) {
      if (terminated.exitCode === 0) continue;
      const why = [terminated.reason, terminated.message].filter((part) => part !== '').join(': ');
      const words = `failed with exit code ${terminated.exitCode}${why && ` (${why})`}`;
      return { name, words, failing: true, ended: true };
    }
    if (isSidecar && running && at(entry, 'started') === true) continue;
    const blocked = { name, ended: false };
    if (running) {
      const words = isSidecar ? 'has not passed its startup probe' : 'is still running';
      return { ...blocked, words, failing: false };
    }
    const { reason = '', message = '' } = waiting ?? {};
    const why = [reason, message].filter((part) => part !== '').join(': ');
    const failing = reason !== '' && reason !== 'PodInitializing' && reason !== 'ContainerCreating';
    return { ...blocked, words: why === '' ? 'is not running' : `waits (${why})`, failing };
  }
  return undefined;
}

function isControllingPreload(reference: unknown): boolean {
  return (
    at(reference, 'controller') === true &&
    at(reference, 'kind') === IMAGE_PRELOAD_KIND &&
    asString(at(reference, 'apiVersion'))?.startsWith(`${GROUP}/`) === true &&
    isShort(at(reference, 'name')) &&
    isShort(at(reference, 'uid'))
  );
}

/** A UUID has 36 characters. */
const BOOT_ID_CHARACTERS = 63;

/** API servers take references to names and uids of any length; no object has longer ones. */
function isShort(text: unknown): boolean {
  return typeof text === 'string' && text.length <= 253;
}

/** At one attempt every 5 min, which is where the back-off ends, nine years. */
const LAST_ATTEMPT = 1_000_000;

function parseAttempt(annotation: unknown): number {
  const attempt = Number(asString(annotation));
  return Number.isSafeInteger(attempt) && attempt >= 1 && attempt <= LAST_ATTEMPT ? attempt : 1;
}

function parseContainer(raw: unknown): PullContainer {
  const state = at(raw, 'state');
  const waiting = at(state, 'waiting') ?? undefined;
  const terminated = at(state, 'terminated') ?? undefined;
  const startedAt = parseTimestamp(at(terminated, 'startedAt'));
  const finishedAt = parseTimestamp(at(terminated, 'finishedAt'));
  return {
    imageID: text(raw, 'imageID', REASON_CHARACTERS),
    ...(waiting !== undefined && { waiting: reasonOf(waiting) }),
    ...(terminated !== undefined && {
      terminated: {
        ...reasonOf(terminated),
        exitCode: asNumber(at(terminated, 'exitCode')) ?? 0,
        ...(startedAt !== undefined && { startedAt }),
        ...(finishedAt !== undefined && { finishedAt }),
      },
    }),
    running: (at(state, 'running') ?? undefined) !== undefined,
  };
}

function reasonOf(state: unknown): { reason: string; message: string } {
  return { reason: text(state, 'reason', REASON_CHARACTERS), message: text(state, 'message', TEXT_LIMIT) };
}

/** Of a container, a DNS label. */
const NAME_CHARACTERS = 63;

/** A word, but kubelets from 1.33 on put an error there; and a runtime's name of an image, which has at most 782 characters. */
const REASON_CHARACTERS = 1024;

function text(object: unknown, field: string, limit: number): string {
  return elide(asString(at(object, field)) ?? '', limit);
}

/** Returns when the pod began, in ms since the epoch: by the kubelet's clock once the kubelet has taken the pod on. */
export function startOf(pod: PullerPod): number {
  return pod.startedAt ?? pod.createdAt;
}
