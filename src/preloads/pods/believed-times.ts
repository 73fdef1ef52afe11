import type { PullerPod } from './puller-pod-status.ts';

/**
 * Returns the pod with its times limited to what is possible. Only the creation time comes from the API server. The others come from
 * an annotation, or from a kubelet whose clock may be wrong by days. So the first attempt is not before the creation of the
 * ImagePreload, and a time of the kubelet is neither before the creation of the pod nor after the gate first saw it. A new leader sees
 * late what has ended long ago, so no time is after the status was last written, either.
 * @param before the same pod as this function returned it last
 */
export function believedTimes(
  pod: PullerPod,
  before: PullerPod | undefined,
  { notBefore = 0, now }: { readonly notBefore?: number | undefined; readonly now: number },
): PullerPod {
  const { createdAt, container } = pod;
  const latest = Math.min(now, pod.reportedAt ?? now);
  const seen = (time: number | undefined, first: number | undefined) =>
    time === undefined ? undefined : (first ?? clamp(time, createdAt, latest));
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

/** Returns `from` if the range is empty, which happens because the clocks of API servers differ from ours. */
function clamp(time: number, from: number, to: number): number {
  return Math.max(from, Math.min(time, to));
}
