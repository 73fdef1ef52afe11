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

/** @param absentMs for how long a node has to lack an image */
export function createImageAbsences(absentMs: number): ImageAbsences {
  /** By node and image, since when the node has lacked it, by our clock. */
  const since = new Map<string, number>();
  /** Nodes and images whose list was not believed once: a list may have a shorter cap than we think, or other names. */
  const disproved = new Set<string>();
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
    isVoid: ({ uid }) => voided.has(uid),
  };
}

/** Returns whether the node's own list has the image. */
export function lists({ images }: Node, image: string, imageID: string): boolean {
  return images.has(image) || images.has(normalizeImage(image)) || images.has(imageID);
}
