import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import type { ApiClient } from '../../cluster/api-client.ts';
import { isConflict, isNotFound } from '../../cluster/api-error.ts';
import { createLimiter } from '../../limiter.ts';
import type { PullerPod } from './puller-pod-status.ts';

/** Deletes puller pods, and knows what the watch shows only later. */
export interface PodDeletions {
  /** Deletes the pod; false if the API server could not do it now. */
  delete(pod: PullerPod): Promise<boolean>;
  /** Whether the API server is being asked to delete it, or has just said that it does. */
  isRemoving(pod: PullerPod): boolean;
  /** Whether the API server was asked so long ago to delete it that it should be gone. */
  isStuck(pod: PullerPod): boolean;
  /** The watch shows that it is gone. */
  gone(pod: PullerPod): void;
}

/** Beside the calls that create puller pods (CREATES_AT_A_TIME of pod-writer.ts). */
const DELETES_AT_A_TIME = 16;
const DELETE_NOW = { gracePeriodSeconds: 0 };
const REMEMBERED_PODS = 10_000;
/**
 * The watch shows that a pod is gone within a second of its deletion. A webhook that hangs takes 10 s by default, and one that answers
 * 404 or 409 looks as if the pod were gone.
 */
const STUCK_AFTER_MS = 5000;

interface Removal {
  /** When the pod should be gone, of `clock.monotonic`. */
  readonly stuckAt: number;
  readonly isAccepted: boolean;
}

export function createPodDeletions(options: {
  readonly client: Pick<ApiClient, 'delete'>;
  readonly clock: Clock;
  readonly isStopped: () => boolean;
  readonly onFailed: (pod: PullerPod, error: unknown) => void;
}): PodDeletions {
  const { client, clock, isStopped, onFailed } = options;
  const deleting = createLimiter(DELETES_AT_A_TIME, clock);
  /** uids of pods that the API server is being asked to delete. */
  const asked = new Set<string>();
  /** Pods that the API server was asked to delete, by uid. */
  const removals = new LRUCache<string, Removal>({ max: REMEMBERED_PODS });

  function isStuck({ uid }: PullerPod): boolean {
    return (removals.get(uid)?.stuckAt ?? Number.POSITIVE_INFINITY) <= clock.monotonic();
  }

  function isRemoving(pod: PullerPod): boolean {
    return asked.has(pod.uid) || (removals.get(pod.uid)?.isAccepted === true && !isStuck(pod));
  }

  /** Returns whether the pod is gone, or should be in a moment. */
  async function ask(pod: PullerPod): Promise<boolean> {
    const { uid, namespace, name } = pod;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    try {
      await deleting(namespace, async () => {
        if (!isStopped())
          await client.delete(path, { ...DELETE_NOW, preconditions: { uid } }, { ignoreAnswer: true });
      });
      return true;
    } catch (error) {
      if (isNotFound(error) || isConflict(error)) return true;
      if (!isStopped()) onFailed(pod, error);
      return false;
    }
  }

  return {
    async delete(pod) {
      const { uid } = pod;
      if (uid === '' || isRemoving(pod)) return true;
      const { stuckAt } = removals.get(uid) ?? { stuckAt: clock.monotonic() + STUCK_AFTER_MS };
      removals.set(uid, { stuckAt, isAccepted: false });
      asked.add(uid);
      const isAccepted = await ask(pod);
      asked.delete(uid);
      // Unless the watch has shown meanwhile that it is gone.
      if (removals.has(uid)) removals.set(uid, { stuckAt, isAccepted });
      return isAccepted;
    },
    isRemoving,
    isStuck,
    gone: ({ uid }) => void removals.delete(uid),
  };
}
