import type { PullerPod } from './puller-pod-status.ts';

/**
 * The pod with times that can be true. The API server says when it was created; what else it tells comes from a kubelet,
 * whose clock may be wrong by days, or from an annotation. Nothing of it began before its ImagePreload was there, none of the
 * kubelet's times is before the pod's creation, and none is later than when the gate first saw it.
 * @param before the same pod as it was believed last
 */
export function believedTimes(
  pod: PullerPod,
  before: PullerPod | undefined,
  { notBefore = 0, now }: { readonly notBefore?: number | undefined; readonly now: number },
): PullerPod {
  const { createdAt, container } = pod;
  const seen = (time: number | undefined, first: number | undefined) =>
    time === undefined ? undefined : (first ?? clamp(time, createdAt, now));
  const finishedAt = seen(container?.terminated?.finishedAt, before?.container?.terminated?.finishedAt);
  return {
    ...pod,
    firstAttemptAt: clamp(pod.firstAttemptAt, notBefore, createdAt),
    startedAt: seen(pod.startedAt, before?.startedAt),
    ...(container?.terminated !== undefined && {
      container: {
        ...container,
        terminated: { ...container.terminated, ...(finishedAt !== undefined && { finishedAt }) },
      },
    }),
  };
}

/** The lower end counts if there is nothing between the two: the clocks of API servers are not exactly ours. */
function clamp(time: number, from: number, to: number): number {
  return Math.max(from, Math.min(time, to));
}
