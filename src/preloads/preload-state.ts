import type { ImagePreload, PreloadImage } from '../api/image-preload.ts';
import { shortHash } from '../api/template/template-hash.ts';
import { parseTimestamp } from '../api/timestamp.ts';
import type { Clock } from '../clock.ts';
import type { Assessment } from './assess/assess.ts';
import { createImageAbsences, type ImageAbsences } from './assess/image-absence.ts';
import type { Judgements } from './assess/judged-node.ts';
import { type EligibleNodes, exclusion } from './nodes/eligible-nodes.ts';
import { createKeyGroups } from './pods/key-groups.ts';
import type { Pull } from './pods/pod-index.ts';
import type { PullSharers, Sharer } from './pods/pull-sharers.ts';
import { type PullSpec, pullKey } from './pods/puller-pod.ts';
import type { WrittenStatus } from './preload-writer.ts';

/** What the controller knows of one ImagePreload beyond what is stored. A restart loses nothing that matters. */
export interface PreloadState extends Sharer, WrittenStatus {
  /** A preload that was deleted and created again has the same name. */
  readonly uid: string;
  readonly generation: number;
  /** How each image is pulled, by `imageKey`. */
  readonly pullOf: ReadonlyMap<string, { readonly spec: PullSpec } & Pull>;
  /** The last assessment. It is of the past while the preload is not live. */
  assessment: Assessment | undefined;
  eligible:
    | { readonly version: number; readonly nodes: EligibleNodes; readonly listImage: boolean }
    | undefined;
  readonly judged: Judgements;
  /** ms since the epoch, when it began to be served. */
  readonly servedSince: number;
  /** `namespace/uid` of its owner. */
  readonly owner: string | undefined;
  /** The owner whose rejected update waits for it. */
  requestedFor: string | undefined;
  /** Why it leaves a node out. */
  readonly excludes: ReturnType<typeof exclusion>;
  /** See AssessInput. It is the same after a restart. */
  readonly beginAt: number;
  readonly absences: ImageAbsences;
}

/** The states of all ImagePreloads, by `namespace/name`. */
export interface PreloadStates extends Iterable<[string, PreloadState]> {
  get(key: string): PreloadState | undefined;
  /** Returns the state of this preload, as it is stored now. */
  of(key: string, preload: ImagePreload): PreloadState;
  /** Forgets the preload. `needed` are the pulls that are still needed under its name. */
  forget(key: string, needed?: readonly Pull[]): void;
  /** Records for which owner a rejected update waits for the preload; undefined for none. */
  noteRequest(key: string, state: PreloadState, owner: string | undefined): void;
  /** Returns the keys of the preloads of this owner, `namespace/uid`. */
  ownedBy(owner: string): Iterable<string>;
  /** Returns the keys of the preloads that rejected updates of this owner wait for. */
  requestedFor(owner: string): Iterable<string>;
}

export interface PreloadStatesOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly absentMs: number;
  readonly sharers: PullSharers;
  readonly onForgotten: (key: string, state: PreloadState, needed: readonly Pull[]) => void;
}

export function createPreloadStates(options: PreloadStatesOptions): PreloadStates {
  const { sharers, onForgotten } = options;
  const states = new Map<string, PreloadState>();
  // A user may create thousands of ImagePreloads with one owner. To look through all of them for each that changes takes seconds.
  const requested = createKeyGroups();
  const owned = createKeyGroups();

  function noteRequest(key: string, state: PreloadState, owner: string | undefined): void {
    if (state.requestedFor === owner) return;
    if (state.requestedFor !== undefined) requested.delete(state.requestedFor, key);
    state.requestedFor = owner;
    if (owner !== undefined) requested.add(owner, key);
  }

  function forget(key: string, needed: readonly Pull[] = []): void {
    const state = states.get(key);
    if (state === undefined) return;
    states.delete(key);
    if (state.owner !== undefined) owned.delete(state.owner, key);
    noteRequest(key, state, undefined);
    sharers.remove(key, state);
    onForgotten(key, state, needed);
  }

  return {
    get: (key) => states.get(key),
    [Symbol.iterator]: () => states[Symbol.iterator](),
    of(key, preload) {
      const existing = states.get(key);
      if (existing?.uid === preload.uid && existing.generation === preload.generation) return existing;
      const state = newState(preload, options);
      forget(key, state.pulls);
      states.set(key, state);
      if (state.owner !== undefined) owned.add(state.owner, key);
      sharers.add(key, state);
      return state;
    },
    forget,
    noteRequest,
    ownedBy: owned.of,
    requestedFor: requested.of,
  };
}

function newState(preload: ImagePreload, { clock, absentMs }: PreloadStatesOptions): PreloadState {
  const pullOf = new Map(
    preload.spec.images.map((image) => {
      const spec = pullSpec(preload, image);
      return [imageKey(image), { spec, namespace: preload.namespace, pull: pullKey(spec) }];
    }),
  );
  return {
    uid: preload.uid,
    generation: preload.generation,
    pullOf,
    // Two images may be one pull.
    pulls: [...new Map([...pullOf.values()].map((pull) => [pull.pull, pull])).values()],
    assessment: undefined,
    // Until it has been looked at, it may be.
    live: true,
    urgent: true,
    status: preload.status,
    statusAt: Number.NEGATIVE_INFINITY,
    servedSince: parseTimestamp(preload.status?.startedAt) ?? clock.now(),
    owner: preload.owner && ownerKey(preload),
    eligible: undefined,
    judged: new Map(),
    absences: createImageAbsences(absentMs),
    requestedFor: undefined,
    excludes: exclusion(preload.spec.scheduling),
    beginAt: Number.parseInt(shortHash(preload.uid), 16),
  };
}

export function ownerKey({ namespace, owner }: ImagePreload): string {
  return `${namespace}/${owner?.uid}`;
}

/** Returns a key for the image. The image objects are others each time the preload is read. */
export function imageKey({ image, imagePullPolicy }: PreloadImage): string {
  return `${imagePullPolicy} ${image}`;
}

function pullSpec(preload: ImagePreload, image: PreloadImage): PullSpec {
  const { scheduling, imagePullSecrets, serviceAccountName } = preload.spec;
  return {
    namespace: preload.namespace,
    ...image,
    imagePullSecrets: imagePullSecrets.map(({ name }) => name),
    serviceAccountName,
    ...(scheduling.runtimeClassName !== undefined && { runtimeClassName: scheduling.runtimeClassName }),
    tolerations: scheduling.tolerations ?? [],
  };
}

/** After each look at a preload; for one image on 5,000 nodes 150 ms, which is little beside a pull, and then at most 1% of a core. */
const REST_MS = 25;
const PULLS_PER_MS_OF_REST = 40;

/** Returns how long to leave a preload alone after a look at it: to look at thousands of nodes takes milliseconds, for each image. */
export function restMs(state: PreloadState | undefined): number {
  const pulls = (state?.eligible?.nodes.eligible.length ?? 0) * (state?.pulls.length ?? 0);
  return REST_MS + pulls / PULLS_PER_MS_OF_REST;
}
