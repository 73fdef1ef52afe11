import { asArray, asNumber, asString, at } from '../json.ts';
import { beginning, elide, TEXT_LIMIT } from '../text.ts';
import { type CountOrPercent, parseCountOrPercent } from './count-or-percent.ts';
import { MADE_FOR_ANNOTATION } from './names.ts';
import { type PreloadNeeds, readNeeds } from './preload-needs.ts';
import { LONGEST_DEADLINE_SECONDS, LONGEST_NODE_TIMEOUT_SECONDS } from './settings.ts';
import { NAME_CHARACTERS } from './template/object-name.ts';
import { weighsMoreThan } from './template/weight.ts';
import { parseTimestamp } from './timestamp.ts';

export type { PreloadImage } from './preload-needs.ts';

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
  /** The annotation `pullgate.io/made-for`. */
  readonly madeFor?: string;
  /** Why the gate does not carry out what was asked for. `spec` asks for nothing then. */
  readonly refused?: string;
  readonly status?: ImagePreloadStatus;
  /** Set where the cache does not keep the rest: see `trimPreload`. `spec` asks for nothing then. */
  readonly trimmed?: {
    /** How many images the spec has. */
    readonly images: number;
    /** As in the status. */
    readonly imageNames: string;
  };
}

export interface ImagePreloadSpec extends PreloadNeeds {
  /** Hash of the pod template it was made for; absent for one made by hand. */
  readonly templateHash?: string;
  /** How many nodes pull at a time; absent: the larger of 20 and 10% of them. */
  readonly parallelism?: CountOrPercent;
  readonly nodeTimeoutSeconds: number;
  readonly minNodes: CountOrPercent;
  readonly deadlineSeconds: number;
  readonly ttlSecondsAfterFinished: number;
}

const PHASES = [
  'Pending',
  'Preloading',
  'Ready',
  'WaitingForApproval',
  'WaitingForTime',
  'Failed',
  'Superseded',
  'Finished',
] as const;
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

/** The status of an ImagePreload for which nothing was done. */
export const EMPTY_STATUS: ImagePreloadStatus = {
  phase: 'Pending',
  ready: '0/0',
  imageNames: '',
  desiredNodes: 0,
  readyNodes: 0,
  pullingNodes: 0,
  failedNodes: 0,
  excluded: [],
  images: [],
  failures: [],
  conditions: [],
};

/** Which nodes got which of several images of one name. */
export interface DigestNodes {
  readonly digest: string;
  /** How many nodes have it, and the names of some. */
  readonly count: number;
  readonly nodes: readonly string[];
}

/** Enough to look at, and no more in the CRD; the counts are whole. */
export const NAMED_NODES = 3;

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
/** With hundreds of nodes and three named nodes each, one image has some kilobytes of them. */
export const DIVERGED_IMAGES_LIMIT = 10;

/** Returns `status.imageNames`. */
export function imageNames({ spec }: ImagePreload): string {
  return beginning(spec.images.map(({ image }) => image).join(','), IMAGE_NAMES_LIMIT);
}

/** What a status is cut to when it is read: nobody but the gate should have written it, and it writes no more than that. */
const STATUS_LIMITS = {
  excluded: 32,
  images: 100,
  conditions: 16,
  image: 1024,
  digest: 256,
  message: 1024,
  word: 63,
};
/** Memory of the whole: 100 images, each with 10 digests. */
export const STATUS_BYTES = 256 * 1024;
/** A UUID has 36 characters; API servers do not check that of an owner. */
const UID_CHARACTERS = 63;

/**
 * Reads any object as an ImagePreload. What is missing or out of range reads as its default: the API server checks
 * new objects, but an older CRD may have let others in.
 */
export function parseImagePreload(raw: unknown): ImagePreload {
  const metadata = at(raw, 'metadata');
  const owner = parseOwner(at(metadata, 'ownerReferences'));
  const status = at(raw, 'status') ?? undefined;
  const { spec, refused } = parseSpec(at(raw, 'spec'));
  const madeFor = asString(at(metadata, 'annotations', MADE_FOR_ANNOTATION));
  return {
    namespace: asString(at(metadata, 'namespace')) ?? '',
    name: asString(at(metadata, 'name')) ?? '',
    uid: asString(at(metadata, 'uid')) ?? '',
    generation: asNumber(at(metadata, 'generation')) ?? 0,
    createdAt: parseTimestamp(at(metadata, 'creationTimestamp')) ?? 0,
    deleting: typeof at(metadata, 'deletionTimestamp') === 'string',
    ...(owner !== undefined && { owner }),
    ...(madeFor !== undefined && { madeFor: elide(madeFor, STATUS_LIMITS.word) }),
    spec,
    ...(refused !== undefined && { refused }),
    ...(status !== undefined && { status: parseStatus(status) }),
  };
}

function parseOwner(references: unknown): ImagePreload['owner'] {
  // If no Deployment owns the ImagePreload, it was made by hand, even if something else owns it, such as an object of a GitOps
  // tool.
  const owner = asArray(references).find((reference) => at(reference, 'kind') === 'Deployment');
  const name = asString(at(owner, 'name'));
  const uid = asString(at(owner, 'uid'));
  if (!name || !uid) return undefined;
  // Cut, it is the name of no Deployment; without an owner it would be one made by hand.
  return { kind: 'Deployment', name: elide(name, NAME_CHARACTERS), uid: elide(uid, UID_CHARACTERS) };
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const NO_NEEDS: PreloadNeeds = { images: [], scheduling: {}, imagePullSecrets: [], serviceAccountName: '' };

function parseSpec(spec: unknown): { spec: ImagePreloadSpec; refused: string | undefined } {
  const { needs, refused } = readNeeds(spec);
  return { spec: { ...(refused === undefined ? needs : NO_NEEDS), ...parsePace(spec) }, refused };
}

function parsePace(spec: unknown): Omit<ImagePreloadSpec, keyof PreloadNeeds> {
  const templateHash = text(spec, 'templateHash', STATUS_LIMITS.word);
  const parallelism = parseCountOrPercent(at(spec, 'parallelism'));
  return {
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

function integer(
  value: unknown,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): number {
  const number = asNumber(value);
  return number !== undefined && Number.isInteger(number) && number >= min && number <= max
    ? number
    : fallback;
}

function parseStatus(raw: unknown): ImagePreloadStatus {
  const status = parseWholeStatus(raw);
  // What matters to what comes next are the conditions and the times.
  return weighsMoreThan(STATUS_BYTES, status) ? { ...status, images: [], failures: [] } : status;
}

function parseWholeStatus(status: unknown): ImagePreloadStatus {
  const startedAt = asString(at(status, 'startedAt'));
  const finishedAt = asString(at(status, 'finishedAt'));
  return {
    phase: PHASES.find((phase) => phase === at(status, 'phase')) ?? 'Pending',
    ready: text(status, 'ready', STATUS_LIMITS.word),
    imageNames: text(status, 'imageNames', IMAGE_NAMES_LIMIT),
    desiredNodes: count(status, 'desiredNodes'),
    readyNodes: count(status, 'readyNodes'),
    pullingNodes: count(status, 'pullingNodes'),
    failedNodes: count(status, 'failedNodes'),
    excluded: list(status, 'excluded', STATUS_LIMITS.excluded).map((entry) => ({
      reason: text(entry, 'reason', STATUS_LIMITS.word),
      count: count(entry, 'count'),
    })),
    images: list(status, 'images', STATUS_LIMITS.images).map(parseImageStatus),
    failures: list(status, 'failures', FAILURES_LIMIT).map((failure) => ({
      node: text(failure, 'node', NAME_CHARACTERS),
      image: text(failure, 'image', STATUS_LIMITS.image),
      reason: text(failure, 'reason', STATUS_LIMITS.word),
      message: text(failure, 'message', STATUS_LIMITS.message),
    })),
    conditions: list(status, 'conditions', STATUS_LIMITS.conditions).map(parseCondition),
    ...(startedAt !== undefined && { startedAt: elide(startedAt, STATUS_LIMITS.word) }),
    ...(finishedAt !== undefined && { finishedAt: elide(finishedAt, STATUS_LIMITS.word) }),
  };
}

function parseImageStatus(raw: unknown): ImageStatus {
  const slowest = at(raw, 'slowest') ?? undefined;
  const digestNodes = list(raw, 'digestNodes', DIGESTS_LIMIT).map((entry) => ({
    digest: text(entry, 'digest', STATUS_LIMITS.digest),
    count: count(entry, 'count'),
    nodes: strings(entry, 'nodes', NAMED_NODES, NAME_CHARACTERS),
  }));
  return {
    image: text(raw, 'image', STATUS_LIMITS.image),
    digests: strings(raw, 'digests', DIGESTS_LIMIT, STATUS_LIMITS.digest),
    ...(digestNodes.length > 0 && { digestNodes }),
    alreadyPresent: count(raw, 'alreadyPresent'),
    pulled: count(raw, 'pulled'),
    failed: count(raw, 'failed'),
    ...(slowest !== undefined && {
      slowest: {
        node: text(slowest, 'node', NAME_CHARACTERS),
        seconds: asNumber(at(slowest, 'seconds')) ?? 0,
      },
    }),
  };
}

function parseCondition(raw: unknown): Condition {
  const status = at(raw, 'status');
  return {
    type: text(raw, 'type', STATUS_LIMITS.word),
    status: status === 'True' || status === 'False' ? status : 'Unknown',
    observedGeneration: count(raw, 'observedGeneration'),
    lastTransitionTime: text(raw, 'lastTransitionTime', STATUS_LIMITS.word),
    reason: text(raw, 'reason', STATUS_LIMITS.word),
    message: text(raw, 'message', TEXT_LIMIT),
  };
}

function list(object: unknown, field: string, limit: number): readonly unknown[] {
  return asArray(at(object, field)).slice(0, limit);
}

function strings(object: unknown, field: string, limit: number, characters: number): string[] {
  return list(object, field, limit)
    .filter((entry) => typeof entry === 'string')
    .map((entry) => elide(entry, characters));
}

function text(object: unknown, field: string, limit: number): string {
  return elide(asString(at(object, field)) ?? '', limit);
}

function count(object: unknown, field: string): number {
  return integer(at(object, field), { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 });
}

/** Returns the preload with this status in place of its own. */
export function withStatus(preload: ImagePreload, status: ImagePreloadStatus | undefined): ImagePreload {
  if (status !== undefined) return { ...preload, status };
  const { status: _, ...rest } = preload;
  return rest;
}
