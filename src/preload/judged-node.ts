import { normalizeImage } from '../template/image-reference.ts';
import type { PreloadImage } from './image-preload.ts';
import type { Node } from './node.ts';
import type { PullTimes } from './pull-times.ts';
import type { PullerPod } from './puller-pod-status.ts';
import { type Failure, judgeSlot, overtaken, type Slot } from './slot.ts';

/** How far the images of one preload are on one node, whatever the time. */
export interface JudgedNode {
  readonly node: Node;
  /** Each by image, in the order of the spec. */
  readonly slots: readonly Slot[];
  readonly pods: readonly (readonly PullerPod[])[];
  /** Pods that have to go. */
  readonly remove: readonly PullerPod[];
  readonly ready: boolean;
  /** Nothing runs there or has failed: time alone changes nothing about it. */
  readonly settled: boolean;
  readonly withSecret: boolean;
}

/**
 * By name of the node, what was judged before. To look at thousands of nodes again for each pod that changes would be most
 * of what the gate does: a node is judged anew only if it or its pods are other objects than before.
 */
export type Judgements = Map<string, JudgedNode>;

interface JudgeInput {
  readonly podsFor: (image: PreloadImage, node: string) => readonly PullerPod[];
  knownFailure(image: string, node: string): Failure | undefined;
  readonly withSecret: boolean;
  readonly times: PullTimes;
}

/** What is known of the image on any node. */
export interface WantedImage {
  readonly image: PreloadImage;
  readonly isListed: (node: Node) => boolean;
}

export function judgeNode(
  input: JudgeInput,
  node: Node,
  images: readonly WantedImage[],
  before: JudgedNode | undefined,
): JudgedNode {
  if (before !== undefined && isAsBefore(before, input, node, images)) return before;
  const pods = images.map(({ image }) => input.podsFor(image, node.name));
  if (pods.every((found) => found.length === 0)) return untouched(input, node, images, pods);
  const remove: PullerPod[] = [];
  const slots = images.map(({ image, isListed }, index): Slot => {
    const found = pods[index] ?? [];
    const mine = found.filter(({ createdAt }) => createdAt >= node.createdAt);
    // Of a machine that had the name before. They have to go, as their names are needed.
    if (mine.length < found.length) remove.push(...found.filter((pod) => !mine.includes(pod)));
    if (mine.length > 1) remove.push(...overtaken(mine));
    if (mine.length === 0 && !input.withSecret && isListed(node)) return PRESENT;
    return judgeSlot(mine, () => input.knownFailure(image.image, node.name), input.times);
  });
  return {
    node,
    slots,
    pods,
    remove,
    ready: slots.every(({ state }) => state === 'present' || state === 'pulled'),
    settled: remove.length === 0 && slots.every(({ state }) => state !== 'pulling' && state !== 'failed'),
    withSecret: input.withSecret,
  };
}

const PRESENT: Slot = { state: 'present' };
const MISSING: Slot = { state: 'missing' };
const NONE: readonly PullerPod[] = [];

/** Most nodes of most preloads. */
function untouched(
  { withSecret }: JudgeInput,
  node: Node,
  images: readonly WantedImage[],
  pods: JudgedNode['pods'],
): JudgedNode {
  const slots = images.map(({ isListed }) => (!withSecret && isListed(node) ? PRESENT : MISSING));
  const ready = slots.every((slot) => slot === PRESENT);
  return { node, slots, pods, remove: NONE, ready, settled: true, withSecret };
}

/**
 * What is worth to be remembered. To look at a node where nothing has happened costs next to nothing, and there may be
 * hundreds of preloads with thousands of those.
 */
export function isWorthKeeping({ ready, pods }: JudgedNode): boolean {
  return ready || pods.some(({ length }) => length > 0);
}

function isAsBefore(
  before: JudgedNode,
  { podsFor, withSecret }: JudgeInput,
  node: Node,
  images: readonly WantedImage[],
): boolean {
  return (
    before.node === node &&
    before.withSecret === withSecret &&
    images.every(({ image }, index) => podsFor(image, node.name) === before.pods[index])
  );
}

/**
 * Whether the node's own list says that the image is there, and a kubelet would ask nobody: only for IfNotPresent. The list
 * is cut at 50 images, so it is never proof of absence. Where a pull secret is involved it proves nothing either: a
 * kubelet asks the registry again when another secret is used (KEP-2535).
 */
export function isListed({ image, imagePullPolicy }: PreloadImage): (node: Node) => boolean {
  if (imagePullPolicy !== 'IfNotPresent') return () => false;
  const name = normalizeImage(image);
  return ({ images }) => images.has(image) || images.has(name);
}
