import { normalizeImage } from '../../api/template/image-reference.ts';
import type { Node } from '../nodes/node.ts';
import type { PullerPod } from '../pods/puller-pod-status.ts';

/**
 * Nodes of one preload that have pulled an image and no longer list it. The kubelet removes images when a disk is full, and a reimaged
 * machine may keep its Node object: then a pull of before proves nothing.
 */
export interface ImageAbsences {
  /**
   * Returns when these pods count no longer, in ms since the epoch by our clock; undefined if the node lists the image, or its list
   * proves nothing.
   */
  voidFrom(pulled: PulledOn): number | undefined;
  /**
   * Returns whether these pods count no longer because their pull was long ago when the rollout was allowed, in ms since the epoch, and
   * the node does not list the image. They are asked again once, so a clock that is ahead repeats nothing.
   */
  isOutdated(pulled: PulledOn, allowedAt: number | undefined): boolean;
  /** Returns whether the pod was found to count no longer. */
  isVoid(pod: PullerPod): boolean;
}

interface PulledOn {
  readonly node: Node;
  readonly image: string;
  /** As the runtime names the image. */
  readonly imageID: string;
  readonly pods: readonly PullerPod[];
  readonly now: number;
}

/**
 * A pull that is older than this when its rollout is approved may no longer be there: the kubelet removes images that no container uses
 * when a disk fills up (--image-gc-high-threshold), and its list names 50 images at most.
 */
const OUTDATED_MS = 600_000;

/** @param absentMs for how long a node has to lack an image */
export function createImageAbsences(absentMs: number): ImageAbsences {
  /** By node and image, since when the node has lacked it, by our clock. */
  const since = new Map<string, number>();
  /** Nodes and images whose list was not believed once: a list may have a shorter cap than we think, or other names. */
  const disproved = new Set<string>();
  /** Nodes and images that were asked again, and since when the rollout was allowed then. */
  const renewed = new Map<string, number>();
  /** uids. */
  const voided = new Set<string>();
  return {
    voidFrom({ node, image, imageID, pods, now }) {
      const key = `${node.name} ${image}`;
      if (disproved.has(key)) return undefined;
      if (!node.imagesComplete || lists(node, image, imageID)) {
        since.delete(key);
        return undefined;
      }
      const first = since.get(key) ?? now;
      since.set(key, first);
      if (now >= first + absentMs) {
        disproved.add(key);
        for (const { uid } of pods) voided.add(uid);
      }
      return first + absentMs;
    },
    isOutdated({ node, image, imageID, pods, now }, allowedAt) {
      if (allowedAt === undefined || lists(node, image, imageID)) return false;
      const key = `${node.name} ${image}`;
      const before = Math.min(allowedAt, now) - OUTDATED_MS;
      if (renewed.get(key) === allowedAt || pods.some(({ createdAt }) => createdAt >= before)) return false;
      renewed.set(key, allowedAt);
      for (const { uid } of pods) voided.add(uid);
      return true;
    },
    isVoid: ({ uid }) => voided.has(uid),
  };
}

function lists({ images }: Node, image: string, imageID: string): boolean {
  return images.has(image) || images.has(normalizeImage(image)) || images.has(imageID);
}
