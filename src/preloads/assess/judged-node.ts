import type { PreloadImage } from '../../api/image-preload.ts';
import { normalizeImage } from '../../api/template/image-reference.ts';
import type { Node } from '../nodes/node.ts';
import { NO_PODS } from '../pods/pod-index.ts';
import type { Failure } from '../pods/pull-failure.ts';
import type { PullerPod } from '../pods/puller-pod-status.ts';
import type { ImageAbsences } from './image-absence.ts';
import { type ImageFilter, imageFilter, nameBits } from './image-filter.ts';
import type { PullTimes } from './pull-times.ts';
import { judgeSlot, overtaken, type Slot } from './slot.ts';

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
  readonly allowedAt: number | undefined;
  /** When it has to be judged again, in ms since the epoch, although nothing may have changed by then. */
  readonly againAt: number | undefined;
}

/**
 * By name of the node, what was judged before. To look at thousands of nodes again for each pod that changes would be most
 * of what the gate does: a node is judged anew only if it or its pods are other objects than before.
 */
export type Judgements = Map<string, JudgedNode>;

interface JudgeInput {
  knownFailure(image: string, node: string): Failure | undefined;
  readonly withSecret: boolean;
  readonly times: PullTimes;
  readonly now: number;
  /** See `AssessInput`. */
  readonly allowedAt?: number | undefined;
  /** Undefined: a pull is believed for as long as its pod is there. */
  readonly absences?: ImageAbsences | undefined;
}

/** What is known of the image on any node. */
export interface WantedImage {
  readonly image: PreloadImage;
  readonly isListed: IsListed;
  readonly podsOn: (node: string) => readonly PullerPod[];
}

/** The images of a preload, and what most nodes of most preloads have in common: none of them, and no pod. */
export interface WantedImages {
  readonly list: readonly WantedImage[];
  readonly noPods: JudgedNode['pods'];
  readonly allMissing: JudgedNode['slots'];
}

export function wantedImages(
  images: readonly PreloadImage[],
  podsOf: (image: PreloadImage) => WantedImage['podsOn'],
): WantedImages {
  return {
    list: images.map((image) => ({ image, isListed: isListed(image), podsOn: podsOf(image) })),
    noPods: images.map(() => NO_PODS),
    allMissing: images.map(() => MISSING),
  };
}

type IsListed = (node: Node, filter: ImageFilter) => boolean;

export function judgeNode(
  input: JudgeInput,
  node: Node,
  images: WantedImages,
  before: JudgedNode | undefined,
): JudgedNode {
  if (before !== undefined && isAsBefore(before, input, node, images.list)) return before;
  if (images.list.every(({ podsOn }) => podsOn(node.name).length === 0))
    return untouched(input, node, images);
  const pods = images.list.map(({ podsOn }) => podsOn(node.name));
  const remove: PullerPod[] = [];
  const filter = imageFilter(node.images);
  let againAt: number | undefined;
  const judge = (image: PreloadImage, found: readonly PullerPod[]): Slot => {
    const { absences, now } = input;
    const mine = found.filter((pod) => isOfThisBoot(pod, node) && absences?.isVoid(pod) !== true);
    const slot = judgeSlot(mine, () => input.knownFailure(image.image, node.name), input.times);
    if (slot.state === 'pulled') {
      const { imageID } = slot;
      if (
        absences?.isOutdated({ node, image: image.image, imageID, pods: mine, now }, input.allowedAt) === true
      )
        return judge(image, found);
      const voidFrom = absences?.voidFrom({ node, image: image.image, imageID, pods: mine, now });
      if (voidFrom !== undefined && voidFrom <= now) return judge(image, found);
      if (voidFrom !== undefined) againAt = Math.min(againAt ?? voidFrom, voidFrom);
    }
    // They have to go, as their names are needed.
    if (mine.length < found.length) remove.push(...found.filter((pod) => !mine.includes(pod)));
    if (mine.length > 1) remove.push(...overtaken(mine));
    return slot;
  };
  const slots = images.list.map(({ image, isListed }, index): Slot => {
    const slot = judge(image, pods[index] ?? NO_PODS);
    return slot.state === 'missing' && !input.withSecret && isListed(node, filter) ? PRESENT : slot;
  });
  return {
    node,
    slots,
    pods,
    remove,
    ready: slots.every(({ state }) => state === 'present' || state === 'pulled'),
    settled: remove.length === 0 && slots.every(({ state }) => state !== 'pulling' && state !== 'failed'),
    withSecret: input.withSecret,
    allowedAt: input.allowedAt,
    againAt,
  };
}

/**
 * Returns whether the pod says something about the node as it is. Another machine may have had the name before, and an image store may be
 * gone after a reboot.
 */
export function isOfThisBoot({ createdAt, bootId }: PullerPod, node: Node): boolean {
  const isOtherBoot = bootId !== '' && node.bootId !== '' && bootId !== node.bootId;
  return createdAt >= node.createdAt && !isOtherBoot;
}

const PRESENT: Slot = { state: 'present' };
const MISSING: Slot = { state: 'missing' };

/** A node where nothing has happened. */
function untouched(
  { withSecret, allowedAt }: JudgeInput,
  node: Node,
  { list, noPods, allMissing }: WantedImages,
): JudgedNode {
  const filter = imageFilter(node.images);
  const listed = list.map(({ isListed }) => !withSecret && isListed(node, filter));
  const slots = listed.includes(true) ? listed.map((is) => (is ? PRESENT : MISSING)) : allMissing;
  const ready = !listed.includes(false);
  const common = { node, slots, ready, withSecret, allowedAt };
  return { ...common, pods: noPods, remove: NO_PODS, settled: true, againAt: undefined };
}

/** Returns whether none of the images is on the node or on its way there. */
export function lacksAll({ slots }: JudgedNode, { allMissing }: WantedImages): boolean {
  return slots === allMissing;
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
  { withSecret, allowedAt, now }: JudgeInput,
  node: Node,
  images: readonly WantedImage[],
): boolean {
  return (
    before.node === node &&
    now < (before.againAt ?? Number.POSITIVE_INFINITY) &&
    before.withSecret === withSecret &&
    before.allowedAt === allowedAt &&
    images.every(({ podsOn }, index) => podsOn(node.name) === before.pods[index])
  );
}

/**
 * Whether the node's own list says that the image is there, and its kubelet would ask nobody: only for IfNotPresent, and only before
 * kubelets check credentials. The list is cut at 50 images, so it is never proof of absence. Where a pull secret is involved it
 * proves nothing either: a kubelet asks the registry again when another secret is used (KEP-2535).
 */
export function isListed({ image, imagePullPolicy }: PreloadImage): IsListed {
  if (imagePullPolicy !== 'IfNotPresent') return () => false;
  const names = [...new Set([image, normalizeImage(image)])].map((name) => ({ name, bits: nameBits(name) }));
  return ({ images, checksCredentials }, mayHave) =>
    !checksCredentials && names.some(({ name, bits }) => mayHave(bits) && images.has(name));
}
