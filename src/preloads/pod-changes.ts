import type { Clock } from '../clock.ts';
import type { PullPlaces } from './budget/pull-places.ts';
import type { EndedPulls } from './pods/ended-pulls.ts';
import { createLingeringPods } from './pods/lingering-pods.ts';
import { type PodIndex, type Pull, podKey } from './pods/pod-index.ts';
import type { PodWriter } from './pods/pod-writer.ts';
import { pullOutcome } from './pods/pull-result.ts';
import type { PullSharers } from './pods/pull-sharers.ts';
import type { PullerPod } from './pods/puller-pod-status.ts';

/** Takes in what the watch shows of the gate's own puller pods. */
export interface PodChanges {
  /** `now` is undefined for a pod that is gone. */
  observe(key: string, now: PullerPod | undefined, before: PullerPod | undefined): void;
  stop(): void;
}

/** That a pull has begun changes nothing yet: it has to be looked at before PullTimes.creatingMs is over. */
export const BEGUN_MS = 1000;
/**
 * Finished puller pods that are kept, in the whole cluster. The garbage collector of pods begins to delete everyone's at
 * 12,500 (kube-controller-manager --terminated-pod-gc-threshold), and that count includes pods of others.
 */
const KEPT_PODS = 2000;
const TIMED_OUT_MESSAGE =
  'the pull took longer than --node-timeout-seconds and other pulls needed its place; it is retried automatically';

export function createPodChanges(options: {
  readonly clock: Clock;
  readonly pods: PodIndex;
  readonly writer: PodWriter;
  readonly places: PullPlaces;
  readonly sharers: PullSharers;
  readonly endedPulls: EndedPulls;
  /** Wakes the preloads that need the pull, within so many ms. */
  readonly wakeSharers: (pull: Pull, withinMs: number) => void;
  /** Wakes the preload of this key, within so many ms. */
  readonly wake: (key: string, withinMs: number) => void;
}): PodChanges {
  const { clock, pods, writer, places, sharers, endedPulls, wakeSharers, wake } = options;
  let stopped = false;
  const lingering = createLingeringPods({
    clock,
    onLingering(pod) {
      pods.retirePod(pod);
      void writer.delete(pod).then((isDone) => {
        if (!isDone && !stopped) lingering.observe(podKey(pod), pod);
      });
    },
  });

  return {
    observe(key, now, before) {
      const known = pods.observe(key, now);
      const isReplaced = before !== undefined && before.uid !== now?.uid;
      if (isReplaced && places.endedOverdue(before) && isUnderWay(before)) {
        pods.timedOut(before, TIMED_OUT_MESSAGE);
        endedPulls.timedOut([{ pod: before, at: clock.now() }]);
      }
      endedPulls.observe(now, before);
      lingering.observe(key, now);
      const pod = now ?? known;
      if (pod === undefined) return;
      if (now?.deleting === true && !sharers.isNeeded(now)) void writer.remove(now);
      const hasOnlyBegun = isUnderWay(now) && (before === undefined || isUnderWay(before));
      const withinMs = hasOnlyBegun ? BEGUN_MS : 0;
      wakeSharers(pod, withinMs);
      for (const surplus of pods.retire(KEPT_PODS)) void writer.delete(surplus);
      wake(`${pod.namespace}/${pod.preload}`, withinMs);
      places.share();
    },
    stop() {
      stopped = true;
      lingering.stop();
    },
  };
}

function isUnderWay(pod: PullerPod | undefined): boolean {
  if (pod === undefined || pod.deleting) return false;
  const { state } = pullOutcome(pod);
  return state === 'starting' || state === 'pulling';
}
