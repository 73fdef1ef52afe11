import type { Clock } from '../../clock.ts';
import { pullOutcome } from './pull-result.ts';
import type { PullerPod } from './puller-pod-status.ts';

/** Puller pods that have their image and do not end. */
export interface LingeringPods {
  observe(key: string, pod: PullerPod | undefined): void;
  stop(): void;
}

/**
 * With containerd a puller pod ends within a second of its pull. With CRI-O its container cannot be created, so the kubelet tries that for ever,
 * and an injected sidecar may run for ever. After this time nothing more is to be expected of the pod.
 */
const ENDS_WITHIN_MS = 30_000;

export function createLingeringPods({
  clock,
  onLingering,
}: {
  readonly clock: Clock;
  /** Called with a pod that has had its image for too long. It is not called for that pod again. */
  readonly onLingering: (pod: PullerPod) => void;
}): LingeringPods {
  /** In the order in which they got their images. */
  const waiting = new Map<string, { readonly pod: PullerPod; readonly at: number }>();
  let cancel: (() => void) | undefined;

  function schedule(): void {
    const [next] = waiting.values();
    if (cancel !== undefined || next === undefined) return;
    cancel = clock.setTimer(Math.max(0, next.at - clock.monotonic()), () => {
      cancel = undefined;
      for (const [key, { pod, at }] of waiting) {
        if (at > clock.monotonic()) break;
        waiting.delete(key);
        onLingering(pod);
      }
      schedule();
    });
  }

  return {
    observe(key, pod) {
      const lingers =
        pod !== undefined &&
        !pod.deleting &&
        pod.phase !== 'Failed' &&
        pod.phase !== 'Succeeded' &&
        pullOutcome(pod).state === 'succeeded';
      const known = waiting.get(key);
      if (known !== undefined && (!lingers || known.pod.uid !== pod?.uid)) waiting.delete(key);
      if (!lingers) return;
      waiting.set(key, { pod, at: waiting.get(key)?.at ?? clock.monotonic() + ENDS_WITHIN_MS });
      schedule();
    },
    stop: () => cancel?.(),
  };
}
