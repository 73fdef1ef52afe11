import type { Clock } from '../../clock.ts';
import type { PullFailureReason } from './failure-reasons.ts';
import { pullOutcome } from './pull-result.ts';
import { type PullerPod, startOf } from './puller-pod-status.ts';

/** How one attempt of one node at one image ended. */
export type EndedPull =
  | { readonly result: 'Pulled'; readonly seconds: number }
  | {
      readonly result: 'Failed' | 'TimedOut';
      readonly seconds: number;
      readonly reason: PullFailureReason;
    };

/** A pull that still runs although its time is over, and when that was, in ms since the epoch. */
export interface TimedOutPull {
  readonly pod: PullerPod;
  readonly at: number;
}

/**
 * Reports the end of each attempt once, regardless of what its pod reports later: the kubelet retries on its own, and a pull that
 * has timed out ends at some time as well.
 */
export interface EndedPulls {
  /**
   * The previous leader has reported the pulls that ended before this call. Pulls that ended while there was no leader are never
   * reported.
   */
  start(): void;
  observe(now: PullerPod | undefined, before: PullerPod | undefined): void;
  timedOut(pulls: readonly TimedOutPull[]): void;
  /** The API server did not take the pod. */
  refused(reason: PullFailureReason): void;
}

export function createEndedPulls(clock: Clock, tell: (pull: EndedPull) => void): EndedPulls {
  /** uids of existing pods whose end has been reported. */
  const told = new Set<string>();
  let startedAt: number | undefined;

  function end(pod: PullerPod, pull: () => EndedPull): void {
    if (told.has(pod.uid)) return;
    told.add(pod.uid);
    if (startedAt !== undefined) tell(pull());
  }

  return {
    start() {
      startedAt = clock.now();
    },
    observe(now, before) {
      if (before !== undefined && before.uid !== now?.uid) told.delete(before.uid);
      // A pod that is being deleted ends because of that.
      if (now === undefined || now.deleting) return;
      const outcome = pullOutcome(now);
      if (outcome.state === 'starting' || outcome.state === 'pulling') return;
      end(now, () => {
        // Kubelets do not give a time for every step, and their clock may be ahead.
        const ended = outcome.state === 'succeeded' ? outcome.finishedAt : undefined;
        const seconds = Math.max(0, (ended ?? clock.now()) - startOf(now)) / 1000;
        return outcome.state === 'succeeded'
          ? { result: 'Pulled', seconds }
          : { result: 'Failed', seconds, reason: outcome.reason };
      });
    },
    timedOut(pulls) {
      for (const { pod, at } of pulls) {
        const seconds = (at - startOf(pod)) / 1000;
        // A pod that is only expected has no uid yet. The previous leader has reported pulls that timed out before the start.
        if (startedAt !== undefined && at < startedAt) told.add(pod.uid);
        else if (pod.uid !== '') end(pod, () => ({ result: 'TimedOut', seconds, reason: 'Timeout' }));
      }
    },
    refused: (reason) => tell({ result: 'Failed', seconds: 0, reason }),
  };
}
