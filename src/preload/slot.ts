import type { PullFailureReason } from './pull-failure.ts';
import { pullOutcome } from './pull-outcome.ts';
import type { PullerPod } from './puller-pod-status.ts';

/** Why a pull failed, in the registry's or the kubelet's words. */
export interface Failure {
  readonly reason: PullFailureReason;
  /** The registry has answered, and asking again at once would give the same answer. */
  readonly definitive: boolean;
  readonly message: string;
}

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
  | { readonly state: 'pulling'; readonly since: number }
  | {
      readonly state: 'failed';
      readonly failure: Failure;
      /** The last attempt, and the last one that has failed: all before have failed, too. */
      readonly attempt: number;
      readonly failedAttempts: number;
      readonly firstAttemptAt: number;
      /** When a new attempt is due; undefined while one runs. */
      readonly retryAt: number | undefined;
      /** When the attempt that runs began; undefined while none does. */
      readonly retryingSince: number | undefined;
    };

/** First back-off after a failed attempt; it doubles with each up to the limit. */
const BACKOFF_MS = 30_000;
const BACKOFF_LIMIT_MS = 300_000;
/**
 * A kubelet that has not read a new pull secret yet pulls without it (seen on 1.20, right after the secret was made): the
 * first "unauthorized" is asked again at once, and believed the second time.
 */
const DOUBT_MS = 2000;

/**
 * Judges the pods of one image on one node. A failure lasts until a later attempt succeeds: the failed pod
 * is kept while the next one runs, so that nothing has to be remembered anywhere else.
 * @param known the failure seen earlier: kubelets before 1.31 drop the registry's words while they back off.
 */
export function judgeSlot(pods: readonly PullerPod[], known: () => Failure | undefined): Slot {
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
  if (failed === undefined) return { state: 'pulling', since: startOf(latest) };
  const failure = withKnownWords(failed.failure, known);
  const doubted = failure.reason === 'Unauthorized' && failed.pod.attempt === 1;
  const retrying = latest !== failed.pod;
  return {
    state: 'failed',
    failure: failure.reason === 'Unauthorized' ? { ...failure, definitive: !doubted } : failure,
    attempt: latest.attempt,
    failedAttempts: failed.pod.attempt,
    firstAttemptAt: latest.firstAttemptAt,
    retryAt: retrying ? undefined : latest.createdAt + retryIn(latest.attempt, failure.reason),
    retryingSince: retrying ? startOf(latest) : undefined,
  };
}

/** As the kubelet has it, once it has taken the pod on. */
function startOf(pod: PullerPod): number {
  return pod.startedAt ?? pod.createdAt;
}

function retryIn(attempt: number, reason: PullFailureReason): number {
  if (reason !== 'Unauthorized') return backoff(attempt);
  // The doubted one was no attempt of its own: who mends a secret waits no longer than who pushes a tag.
  return attempt === 1 ? DOUBT_MS : backoff(attempt - 1);
}

function backoff(attempt: number): number {
  return Math.min(BACKOFF_MS * 2 ** (attempt - 1), BACKOFF_LIMIT_MS);
}

/** All that such a kubelet says while it backs off. */
const NO_WORDS = /^Back-off pulling image "[^"]*"$/;

function withKnownWords(failure: Failure, known: () => Failure | undefined): Failure {
  const { reason, definitive, message } = (NO_WORDS.test(failure.message) ? known() : undefined) ?? failure;
  return { reason, definitive, message };
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
