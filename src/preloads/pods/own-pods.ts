import type { ImagePreload } from '../../api/image-preload.ts';
import type { Clock } from '../../clock.ts';
import type { Store } from '../../cluster/object-cache.ts';
import { believedTimes } from './believed-times.ts';
import { createKeyGroups } from './key-groups.ts';
import { podName } from './puller-pod.ts';
import type { PullerPod } from './puller-pod-status.ts';

/**
 * Tells the gate's own puller pods from all other pods with their label. A pod is the gate's if both are true:
 *
 * - an ImagePreload of its namespace controls it, by uid;
 * - its name is the one that the gate computes from the pull, node and attempt that the pod states.
 *
 * It stays the gate's after the ImagePreload is gone, until the garbage collector deletes it. Pods and ImagePreloads have separate
 * watches, so either may be seen first.
 */
export interface OwnPods {
  /** Takes a change from the watch; undefined for a pod that is gone. */
  observe(key: string, pod: PullerPod | undefined): void;
  /** Call it for each change of an ImagePreload, after the cache shows it. */
  preloadChanged(key: string): void;
  /** Returns pods that the ImagePreload controls but whose name is not ours: an earlier version made them, or a user edited them. */
  misnamed(preloadKey: string): readonly PullerPod[];
  /** Returns the gate's pods that the ImagePreload controls. */
  ofPreload(preloadKey: string): readonly PullerPod[];
  /** Returns pods whose name the gate computes, but whose ImagePreload is not in the cache. */
  orphans(preloadKey: string): readonly PullerPod[];
}

export interface OwnPodsOptions {
  readonly preloads: Pick<Store<ImagePreload>, 'get'>;
  readonly clock: Pick<Clock, 'now'>;
  /** `now` is undefined for a pod that is gone, and for one that is not, or no longer, the gate's. */
  readonly onChange: (key: string, now: PullerPod | undefined, before: PullerPod | undefined) => void;
}

export function createOwnPods({ preloads, clock, onChange }: OwnPodsOptions): OwnPods {
  const own = new Map<string, PullerPod>();
  /** Keys of these pods, by `namespace/name` of the ImagePreload. */
  const ofPreload = createKeyGroups();
  /** Pods that name a controlling ImagePreload and are not the gate's, by `namespace/name` of the ImagePreload. */
  const others = new Map<string, Map<string, PullerPod>>();
  const ownerOfOther = new Map<string, string>();

  function adopt(key: string, pod: PullerPod): void {
    const before = own.get(key);
    const preload = preloads.get(ownerKey(pod));
    const notBefore = preload?.uid === pod.preloadUid ? preload.createdAt : before?.firstAttemptAt;
    const now = believedTimes(pod, before, { notBefore, now: clock.now() });
    own.set(key, now);
    ofPreload.add(ownerKey(pod), key);
    onChange(key, now, before);
  }

  function disown(key: string): void {
    const before = own.get(key);
    own.delete(key);
    if (before !== undefined) ofPreload.delete(ownerKey(before), key);
    onChange(key, undefined, before);
  }

  function isOwn(key: string, pod: PullerPod): boolean {
    if (!hasOwnName(pod)) return false;
    return preloads.get(ownerKey(pod))?.uid === pod.preloadUid || own.get(key)?.uid === pod.uid;
  }

  function putOther(key: string, pod: PullerPod): void {
    const owner = ownerKey(pod);
    others.set(owner, (others.get(owner) ?? new Map()).set(key, pod));
    ownerOfOther.set(key, owner);
  }

  function dropOther(key: string): void {
    const owner = ownerOfOther.get(key);
    if (owner === undefined) return;
    ownerOfOther.delete(key);
    others.get(owner)?.delete(key);
    if (others.get(owner)?.size === 0) others.delete(owner);
  }

  return {
    observe(key, pod) {
      dropOther(key);
      if (pod !== undefined && isOwn(key, pod)) return adopt(key, pod);
      disown(key);
      if (pod !== undefined && pod.preloadUid !== '') putOther(key, pod);
    },
    preloadChanged(key) {
      for (const [podKey, pod] of others.get(key) ?? []) {
        if (!isOwn(podKey, pod)) continue;
        dropOther(podKey);
        adopt(podKey, pod);
      }
    },
    misnamed(preloadKey) {
      const pods = [...(others.get(preloadKey)?.values() ?? [])];
      return pods.filter(({ preloadUid }) => preloadUid === preloads.get(preloadKey)?.uid);
    },
    ofPreload(preloadKey) {
      const uid = preloads.get(preloadKey)?.uid;
      const pods = Array.from(ofPreload.of(preloadKey), (key) => own.get(key));
      return pods.filter((pod): pod is PullerPod => pod !== undefined && pod.preloadUid === uid);
    },
    orphans(preloadKey) {
      if (preloads.get(preloadKey) !== undefined) return [];
      return [...(others.get(preloadKey)?.values() ?? [])].filter(hasOwnName);
    },
  };
}

/** Returns whether the name is the one that the gate computes from what the pod states. It says nothing about who made the pod. */
export function hasOwnName({ name, preload, preloadUid, pull, node, attempt }: PullerPod): boolean {
  return name === podName({ name: preload, uid: preloadUid }, pull, node, attempt);
}

function ownerKey({ namespace, preload }: PullerPod): string {
  return `${namespace}/${preload}`;
}
