import type { Deployment } from '../api/deployment.ts';
import { type ImagePreload, type ImagePreloadStatus, withStatus } from '../api/image-preload.ts';
import { type Clock, earliest } from '../clock.ts';
import type { GateEvent } from '../cluster/events.ts';
import { createTokenBuckets } from '../token-bucket.ts';
import type { Activity } from './activity.ts';
import { assess } from './assess/assess.ts';
import type { AssessInputs } from './assess-inputs.ts';
import type { PullPlaces } from './budget/pull-places.ts';
import type { OwnPods } from './pods/own-pods.ts';
import type { PodIndex } from './pods/pod-index.ts';
import { RETRY_MS } from './pods/pod-writer.ts';
import { refusedPreloadEvent } from './preload-events.ts';
import type { PreloadPods } from './preload-pods.ts';
import type { PreloadState } from './preload-state.ts';
import {
  endedStatus,
  isReportedWaiting,
  preloadStatus,
  refusedStatus,
  waitingStatus,
} from './preload-status.ts';
import type { PreloadWriter, WrittenStatus } from './preload-writer.ts';
import type { ServedPreloads } from './served-preloads.ts';

/** What becomes of ImagePreloads that nothing is pulled for: those that wait for others, and those that have ended. */
export interface Ending {
  /** Reports that the preload waits for others of its namespace. Returns in how many ms to come back. */
  wait(key: string, preload: ImagePreload): Promise<number | undefined>;
  /**
   * Ends a preload that nothing needs any more: its pods go unless another preload needs them, and the object stays for its time to live.
   * `state` is undefined if the cache keeps the preload only in part. Returns in how many ms to come back.
   */
  finish(
    key: string,
    preload: ImagePreload,
    state: PreloadState | undefined,
    activity: Activity,
  ): Promise<number | undefined>;
}

/** Statuses that say that an ImagePreload waits for others: so many of a namespace at once, then one in so many milliseconds. */
const WAITING_RATE = { burst: 20, refillMs: 100 };

export function createEnding(options: {
  readonly clock: Clock;
  readonly random: () => number;
  readonly writeEvent: (event: GateEvent) => void;
  readonly inputs: AssessInputs;
  readonly pods: PodIndex;
  readonly ownPods: OwnPods;
  readonly preloadPods: PreloadPods;
  readonly preloadWriter: PreloadWriter;
  readonly places: PullPlaces;
  readonly served: Pick<ServedPreloads, 'waiting'>;
  readonly ownerOf: (preload: ImagePreload) => Deployment | undefined;
  /** Called when the cache keeps too little of a preload for its state to be of use. */
  readonly forget: (key: string) => void;
}): Ending {
  const { clock, random, inputs, pods, ownPods, preloadPods, preloadWriter, places, served } = options;
  const waits = createTokenBuckets({ ...WAITING_RATE, clock });

  /** Returns the status that says how far the preload came. */
  async function lastStatus(
    preload: ImagePreload,
    state: PreloadState | undefined,
  ): Promise<ImagePreloadStatus> {
    if (state === undefined) {
      const stored = preload.status && (await preloadWriter.readStatus(preload));
      return stored ?? waitingStatus(preload, clock.now());
    }
    if (state.assessment === undefined && state.status !== undefined) return state.status;
    const known = withStatus(preload, state.status);
    const assessment =
      state.assessment ?? assess(await inputs.of(known, state, 'rolling', options.ownerOf(known)));
    return preloadStatus({ preload: known, assessment, activity: 'rolling', now: clock.now() });
  }

  async function finalStatus(
    preload: ImagePreload,
    state: PreloadState | undefined,
    activity: Activity,
  ): Promise<ImagePreloadStatus> {
    const { refused } = preload;
    if (refused === undefined) return endedStatus(await lastStatus(preload, state), activity, clock.now());
    options.writeEvent(refusedPreloadEvent(preload, refused));
    return refusedStatus(preload, refused, clock.now());
  }

  return {
    async wait(key, preload) {
      // An earlier leader may have served it.
      const removed = await preloadPods.removeUnneeded(ownPods.ofPreload(key));
      const removeIn = removed ? undefined : RETRY_MS;
      if (isReportedWaiting(preload)) return removeIn;
      if (!waits.take(preload.namespace))
        return RETRY_MS + random() * served.waiting(preload.namespace) * WAITING_RATE.refillMs;
      const status = waitingStatus(preload, clock.now());
      return earliest(await preloadWriter.writeStatus(preload, unwritten(preload), status), removeIn);
    },
    async finish(key, preload, state, activity) {
      places.satisfied(key);
      state?.judged.clear();
      if (state !== undefined) preloadPods.endStray(state);
      const found = state?.pulls.flatMap(pods.ofPull) ?? ownPods.ofPreload(key);
      const removed = await preloadPods.removeUnneeded(found);
      const removeIn = removed ? undefined : RETRY_MS;
      if (activity === 'unserved') return removeIn;
      // The cache has forgotten what it asked for.
      if (removed && preload.trimmed !== undefined && preload.status?.finishedAt !== undefined)
        options.forget(key);
      const written = state ?? unwritten(preload);
      const statusIn =
        written.status?.finishedAt === undefined
          ? await preloadWriter.writeStatus(preload, written, await finalStatus(preload, state, activity))
          : undefined;
      return (
        earliest(removeIn, statusIn) ?? (await preloadWriter.expire(preload, written.status?.finishedAt))
      );
    },
  };
}

/** Nothing has been written since the status in the cache. */
function unwritten({ status }: ImagePreload): WrittenStatus {
  return { status, statusAt: Number.NEGATIVE_INFINITY };
}
