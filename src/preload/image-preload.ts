import { type CountOrPercent, parseCountOrPercent } from '../hold/count-or-percent.ts';
import { LONGEST_DEADLINE_SECONDS, LONGEST_NODE_TIMEOUT_SECONDS } from '../hold/settings.ts';
import { asArray, asNumber, asObject, asString, at } from '../json.ts';
import { type Scheduling, schedulingOf } from './eligible-nodes.ts';
import type { DigestNodes } from './image-divergence.ts';
import { parseTimestamp } from './timestamp.ts';

/** An ImagePreload. `spec` and `status` have the shape of the API object (deploy/crd.yaml) and can be written as they are. */
export interface ImagePreload {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** Milliseconds. */
  readonly createdAt: number;
  readonly deleting: boolean;
  /** Absent for one made by hand: a pre-pull without a rollout. */
  readonly owner?: { readonly kind: string; readonly name: string; readonly uid: string };
  readonly spec: ImagePreloadSpec;
  readonly status?: ImagePreloadStatus;
}

export interface PreloadImage {
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent';
}

export interface ImagePreloadSpec {
  readonly images: readonly PreloadImage[];
  readonly scheduling: Scheduling;
  readonly imagePullSecrets: readonly { readonly name: string }[];
  /** Empty is the namespace's default one. */
  readonly serviceAccountName: string;
  /** Hash of the pod template it was made for; absent for one made by hand. */
  readonly templateHash?: string;
  /** How many nodes pull at a time; absent: the larger of 20 and 10% of them. */
  readonly parallelism?: CountOrPercent;
  readonly nodeTimeoutSeconds: number;
  readonly minNodes: CountOrPercent;
  readonly deadlineSeconds: number;
  readonly ttlSecondsAfterFinished: number;
}

const PHASES = ['Pending', 'Preloading', 'Ready', 'Failed', 'Superseded', 'Finished'] as const;
export type PreloadPhase = (typeof PHASES)[number];

/** Times are RFC 3339. */
export interface ImagePreloadStatus {
  /** A summary of the rest, for humans. */
  readonly phase: PreloadPhase;
  /** `2/3`, ready and desired nodes: a printed column is a single field. */
  readonly ready: string;
  /** The images, comma-separated, cut at `IMAGE_NAMES_LIMIT`: a printed column shows one element of a list at most. */
  readonly imageNames: string;
  readonly desiredNodes: number;
  readonly readyNodes: number;
  readonly pullingNodes: number;
  readonly failedNodes: number;
  readonly excluded: readonly { readonly reason: string; readonly count: number }[];
  readonly images: readonly ImageStatus[];
  /** At most `FAILURES_LIMIT`. */
  readonly failures: readonly NodeFailureStatus[];
  readonly conditions: readonly Condition[];
  readonly startedAt?: string;
  readonly finishedAt?: string;
}

export interface ImageStatus {
  readonly image: string;
  /** At most `DIGESTS_LIMIT`; more than one if the tag moved meanwhile. */
  readonly digests: readonly string[];
  /** Only if the image is not the same everywhere. At most `DIGESTS_LIMIT`. */
  readonly digestNodes?: readonly DigestNodes[];
  readonly alreadyPresent: number;
  readonly pulled: number;
  readonly failed: number;
  readonly slowest?: { readonly node: string; readonly seconds: number };
}

export interface NodeFailureStatus {
  readonly node: string;
  readonly image: string;
  readonly reason: string;
  readonly message: string;
}

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/** The CRD refuses a status with more. Enough to see a pattern; the counts are whole. */
export const FAILURES_LIMIT = 20;
export const DIGESTS_LIMIT = 10;
export const IMAGE_NAMES_LIMIT = 256;
const IMAGES_LIMIT = 100;

/**
 * Reads any object as an ImagePreload. What is missing or out of range reads as its default: the API server checks
 * new objects, but an older CRD may have let others in.
 */
export function parseImagePreload(raw: unknown): ImagePreload {
  const metadata = at(raw, 'metadata');
  const owner = parseOwner(at(metadata, 'ownerReferences'));
  const status = at(raw, 'status') ?? undefined;
  return {
    namespace: asString(at(metadata, 'namespace')) ?? '',
    name: asString(at(metadata, 'name')) ?? '',
    uid: asString(at(metadata, 'uid')) ?? '',
    generation: asNumber(at(metadata, 'generation')) ?? 0,
    createdAt: parseTimestamp(at(metadata, 'creationTimestamp')) ?? 0,
    deleting: typeof at(metadata, 'deletionTimestamp') === 'string',
    ...(owner !== undefined && { owner }),
    spec: parseSpec(at(raw, 'spec')),
    ...(status !== undefined && { status: parseStatus(status) }),
  };
}

function parseOwner(references: unknown): ImagePreload['owner'] {
  // Whatever else owns it, a GitOps tool's object say, it was made by hand if no Deployment does.
  const owner = asArray(references).find((reference) => at(reference, 'kind') === 'Deployment');
  const name = asString(at(owner, 'name'));
  const uid = asString(at(owner, 'uid'));
  return name && uid ? { kind: 'Deployment', name, uid } : undefined;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function parseSpec(spec: unknown): ImagePreloadSpec {
  const templateHash = asString(at(spec, 'templateHash'));
  const parallelism = parseCountOrPercent(at(spec, 'parallelism'));
  return {
    images: asArray(at(spec, 'images')).flatMap(parseImage).slice(0, IMAGES_LIMIT),
    scheduling: schedulingOf(asObject(at(spec, 'scheduling'))),
    imagePullSecrets: asArray(at(spec, 'imagePullSecrets')).flatMap((secret) => {
      const name = asString(at(secret, 'name'));
      return name ? [{ name }] : [];
    }),
    serviceAccountName: asString(at(spec, 'serviceAccountName')) ?? '',
    ...(templateHash && { templateHash }),
    ...(parallelism !== undefined && { parallelism }),
    // The ends of the ranges only keep out what was meant in another unit.
    nodeTimeoutSeconds: integer(at(spec, 'nodeTimeoutSeconds'), {
      min: 1,
      max: LONGEST_NODE_TIMEOUT_SECONDS,
      fallback: 15 * MINUTE,
    }),
    minNodes: parseCountOrPercent(at(spec, 'minNodes')) ?? '100%',
    deadlineSeconds: integer(at(spec, 'deadlineSeconds'), {
      min: 1,
      max: LONGEST_DEADLINE_SECONDS,
      fallback: HOUR,
    }),
    ttlSecondsAfterFinished: integer(at(spec, 'ttlSecondsAfterFinished'), {
      min: 0,
      max: 365 * DAY,
      fallback: DAY,
    }),
  };
}

function parseImage(raw: unknown): PreloadImage[] {
  const image = asString(at(raw, 'image'));
  if (!image) return [];
  return [{ image, imagePullPolicy: at(raw, 'imagePullPolicy') === 'Always' ? 'Always' : 'IfNotPresent' }];
}

function integer(
  value: unknown,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): number {
  const number = asNumber(value);
  return number !== undefined && Number.isInteger(number) && number >= min && number <= max
    ? number
    : fallback;
}

function parseStatus(status: unknown): ImagePreloadStatus {
  const startedAt = asString(at(status, 'startedAt'));
  const finishedAt = asString(at(status, 'finishedAt'));
  return {
    phase: PHASES.find((phase) => phase === at(status, 'phase')) ?? 'Pending',
    ready: text(status, 'ready'),
    imageNames: text(status, 'imageNames'),
    desiredNodes: count(status, 'desiredNodes'),
    readyNodes: count(status, 'readyNodes'),
    pullingNodes: count(status, 'pullingNodes'),
    failedNodes: count(status, 'failedNodes'),
    excluded: asArray(at(status, 'excluded')).map((entry) => ({
      reason: text(entry, 'reason'),
      count: count(entry, 'count'),
    })),
    images: asArray(at(status, 'images')).map(parseImageStatus),
    failures: asArray(at(status, 'failures')).map((failure) => ({
      node: text(failure, 'node'),
      image: text(failure, 'image'),
      reason: text(failure, 'reason'),
      message: text(failure, 'message'),
    })),
    conditions: asArray(at(status, 'conditions')).map(parseCondition),
    ...(startedAt !== undefined && { startedAt }),
    ...(finishedAt !== undefined && { finishedAt }),
  };
}

function parseImageStatus(raw: unknown): ImageStatus {
  const slowest = at(raw, 'slowest') ?? undefined;
  const digestNodes = asArray(at(raw, 'digestNodes')).map((entry) => ({
    digest: text(entry, 'digest'),
    count: count(entry, 'count'),
    nodes: strings(at(entry, 'nodes')),
  }));
  return {
    image: text(raw, 'image'),
    digests: strings(at(raw, 'digests')),
    ...(digestNodes.length > 0 && { digestNodes }),
    alreadyPresent: count(raw, 'alreadyPresent'),
    pulled: count(raw, 'pulled'),
    failed: count(raw, 'failed'),
    ...(slowest !== undefined && {
      slowest: { node: text(slowest, 'node'), seconds: asNumber(at(slowest, 'seconds')) ?? 0 },
    }),
  };
}

function parseCondition(raw: unknown): Condition {
  const status = at(raw, 'status');
  return {
    type: text(raw, 'type'),
    status: status === 'True' || status === 'False' ? status : 'Unknown',
    observedGeneration: count(raw, 'observedGeneration'),
    lastTransitionTime: text(raw, 'lastTransitionTime'),
    reason: text(raw, 'reason'),
    message: text(raw, 'message'),
  };
}

function strings(value: unknown): string[] {
  return asArray(value).filter((entry) => typeof entry === 'string');
}

function text(object: unknown, field: string): string {
  return asString(at(object, field)) ?? '';
}

function count(object: unknown, field: string): number {
  return integer(at(object, field), { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 });
}
