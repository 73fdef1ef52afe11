import { isDefinitive, type PullFailureReason } from '../pods/failure-reasons.ts';
import { type Failure, saysWhy } from '../pods/pull-failure.ts';
import { PULL_TIMED_OUT, pullOutcome } from '../pods/pull-result.ts';
import { type PullerPod, startOf } from '../pods/puller-pod-status.ts';
import type { PullTimes } from './pull-times.ts';

/** How far one image is on one node. Times in ms since the epoch. */
export type Slot =
  | { readonly state: 'missing' }
  | { readonly state: 'present' }
  | {
      readonly state: 'pulled';
      readonly imageID: string;
      readonly finishedAt: number;
      readonly seconds: number;
    }
  | {
      readonly state: 'pulling';
      readonly since: number;
      /** Set once the kubelet has reported the container. It may not have come to the pull yet. */
      readonly creating?: PullerPod;
    }
  | {
      readonly state: 'failed';
      readonly failure: Failure;
      /** The last attempt, and the last one that has failed. All earlier attempts have failed as well. */
      readonly attempt: number;
      readonly failedAttempts: number;
      readonly firstAttemptAt: number;
      /** The pod of the last one that has failed. */
      readonly pod: PullerPod;
      /** When the last attempt was made. */
      readonly askedAt: number;
      /** The answer is asked for again at once, before each back-off or before it is believed. */
      readonly isDoubted: boolean;
      /** When a new attempt is due; undefined while one runs. */
      readonly retryAt: number | undefined;
      /** When the attempt that runs began; undefined while none does. */
      readonly retryingSince: number | undefined;
      /** The last one that failed took all the time that the gate gives a pull. */
      readonly timedOut: boolean;
    };

/**
 * Judges the pods of one image on one node. A failure lasts until a later attempt succeeds: the failed pod
 * is kept while the next one runs, so that nothing has to be remembered anywhere else.
 * @param known the failure seen earlier: kubelets before 1.31 drop the registry's words while they back off.
 */
export function judgeSlot(
  pods: readonly PullerPod[],
  known: () => Failure | undefined,
  times: PullTimes,
): Slot {
  let latest: PullerPod | undefined;
  let failed: { pod: PullerPod; failure: Failure } | undefined;
  for (const pod of pods) {
    const outcome = pullOutcome(pod);
    if (outcome.state === 'succeeded') {
      const began = startOf(pod);
      const finishedAt = outcome.finishedAt ?? began;
      const seconds = Math.max(0, (finishedAt - began) / 1000);
      return { state: 'pulled', imageID: outcome.imageID, finishedAt, seconds };
    }
    if (latest === undefined || pod.attempt > latest.attempt) latest = pod;
    if (outcome.state === 'failed' && (failed === undefined || pod.attempt > failed.pod.attempt)) {
      failed = { pod, failure: outcome };
    }
  }
  if (latest === undefined) return { state: 'missing' };
  if (failed === undefined) {
    const creating = pullOutcome(latest).state === 'pulling' ? { creating: latest } : {};
    return { state: 'pulling', since: startOf(latest), ...creating };
  }
  const failure = withKnownMessage(failed.failure, known);
  const isDoubted = isAskedAgain(failure.reason, failed.pod.attempt);
  const retrying = latest !== failed.pod;
  return {
    state: 'failed',
    // A first answer that is doubted settles nothing.
    failure: {
      ...failure,
      definitive: isDefinitive(failure.reason) && !(isDoubted && failed.pod.attempt === 1),
    },
    attempt: latest.attempt,
    failedAttempts: failed.pod.attempt,
    firstAttemptAt: latest.firstAttemptAt,
    pod: failed.pod,
    askedAt: latest.createdAt,
    isDoubted,
    retryAt: retrying ? undefined : latest.createdAt + retryIn(latest.attempt, failure.reason, times),
    retryingSince: retrying ? startOf(latest) : undefined,
    timedOut: failed.pod.reason === PULL_TIMED_OUT,
  };
}

/** Answers that may be for want of a secret that the kubelet has not read yet. */
const OF_THE_SECRET: ReadonlySet<PullFailureReason> = new Set([
  'Unauthorized',
  'PullSecretInvalid',
  'PullSecretMissing',
]);

/**
 * Returns whether the pull is repeated at once to confirm this answer. For answers about a pull secret, every second attempt is
 * repeated: the first pull on a node after a secret was fixed may still be made without it. So fixing a secret takes effect as fast
 * as pushing a tag. A missing tag is repeated once, because it may still be on its way between registries.
 */
function isAskedAgain(reason: PullFailureReason, attempt: number): boolean {
  return OF_THE_SECRET.has(reason) ? attempt % 2 === 1 : reason === 'NotFound' && attempt === 1;
}

function retryIn(attempt: number, reason: PullFailureReason, times: PullTimes): number {
  if (isAskedAgain(reason, attempt)) return reason === 'NotFound' ? times.missingMs : times.doubtMs;
  if (OF_THE_SECRET.has(reason)) return backoff(attempt / 2, times);
  return backoff(reason === 'NotFound' ? attempt - 1 : attempt, times);
}

function backoff(attempt: number, { backoffMs, backoffLimitMs }: PullTimes): number {
  return Math.min(backoffMs * 2 ** (attempt - 1), backoffLimitMs);
}

function withKnownMessage(failure: Failure, known: () => Failure | undefined): Failure {
  const words = saysWhy(failure.message) ? undefined : known();
  // What was before the pull is no reason for its failure.
  const { reason, definitive, message } = words?.reason === 'PodNotStarted' ? failure : (words ?? failure);
  return { reason, definitive, message };
}

/** When the pull began that runs now, the retry of a failed one included. */
export function runningSince(slot: Slot): number | undefined {
  if (slot.state === 'pulling') return slot.since;
  return slot.state === 'failed' ? slot.retryingSince : undefined;
}

/** Attempts that a later one has overtaken: they failed, and the later one has its own outcome. */
export function overtaken(pods: readonly PullerPod[]): PullerPod[] {
  let settled = 0;
  for (const pod of pods) {
    const { state } = pullOutcome(pod);
    if (state === 'succeeded' || state === 'failed') settled = Math.max(settled, pod.attempt);
  }
  return pods.filter((pod) => pod.attempt < settled);
}
