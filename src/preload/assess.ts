import { resolveCountOrPercent } from '../hold/count-or-percent.ts';
import { normalizeImage } from '../template/image-reference.ts';
import type { EligibleNodes, ExcludedNodes } from './eligible-nodes.ts';
import { type DigestNodes, divergence, type PulledImage } from './image-divergence.ts';
import type { ImagePreload, PreloadImage } from './image-preload.ts';
import type { Node } from './node.ts';
import type { PullTimes } from './pull-times.ts';
import type { PullerPod } from './puller-pod-status.ts';
import { type Failure, judgeSlot, overtaken, type Slot, startOf } from './slot.ts';

/** All that is known about one preload at one moment. */
export interface AssessInput {
  readonly preload: ImagePreload;
  readonly eligible: readonly Node[];
  readonly excluded: EligibleNodes['excluded'];
  /** The puller pods of this image on this node, those being deleted left out. */
  podsFor(image: PreloadImage, node: string): readonly PullerPod[];
  /** A failure that an earlier assessment saw there. */
  knownFailure(image: string, node: string): Failure | undefined;
  /** What keeps that pod from beginning to pull, if it is known. */
  troubleOf(pod: PullerPod): Failure | undefined;
  /** Whether the pods pull with a secret, their own or their service account's. */
  readonly withSecret: boolean;
  /** Nodes that run the Deployment's pods: they come first. */
  readonly preferred: ReadonlySet<string>;
  /** ms since the epoch since when no node has been eligible; undefined if unknown. */
  readonly noNodesSince: number | undefined;
  readonly times: PullTimes;
  readonly now: number;
}

/** A pull to start, in the order of importance. */
export interface WantedPull {
  readonly node: string;
  readonly image: PreloadImage;
  readonly attempt: number;
  readonly firstAttemptAt: number;
}

interface NodeFailure extends Failure {
  readonly node: string;
  readonly image: string;
  /** Set once the node no longer counts. */
  readonly left?: GivenUp;
}

interface ImageCount {
  readonly image: string;
  readonly digests: readonly string[];
  /** Which nodes have which digest, if the image is not the same everywhere. */
  readonly digestNodes?: readonly DigestNodes[];
  readonly alreadyPresent: number;
  readonly pulled: number;
  readonly failed: number;
  readonly slowest?: { readonly node: string; readonly seconds: number };
}

/**
 * - `Preloading`: go on.
 * - `Ready`: as many nodes as asked for have every image.
 * - `Failed`: a definitive answer, and no node has that image: hold on, and say so.
 * - `Overdue`: the deadline has passed; with a ready node the rollout is let go, with none it is kept.
 * - `NoNodes`: nothing to preload on; let go once `over`.
 */
export type Verdict =
  | { readonly kind: 'Preloading' }
  | { readonly kind: 'Ready' }
  | ({ readonly kind: 'Failed' } & NodeFailure)
  | { readonly kind: 'Overdue' }
  | { readonly kind: 'NoNodes'; readonly since: number; readonly over: boolean };

export interface Assessment {
  readonly verdict: Verdict;
  /** Eligible nodes less those that left the count. */
  readonly desired: number;
  /** How many of them must be ready. */
  readonly required: number;
  readonly ready: number;
  readonly readyNodes: ReadonlySet<string>;
  readonly pulling: number;
  readonly failed: number;
  readonly excluded: readonly ExcludedNodes[];
  /** A node that counts and is not ready. */
  readonly late: string | undefined;
  readonly images: readonly ImageCount[];
  readonly failures: readonly NodeFailure[];
  readonly wanted: readonly WantedPull[];
  /** Pulls under way. */
  readonly running: number;
  /** The deadline has passed, whatever the verdict. */
  readonly overdue: boolean;
  readonly remove: readonly PullerPod[];
  /** Pulls that still run although the time for one node is over, and when it was. */
  readonly timedOut: readonly { readonly pod: PullerPod; readonly at: number }[];
  /** Pods that take so long that their events should be read: they may not have come to the pull at all. */
  readonly creating: readonly PullerPod[];
  /** ms since the epoch when time alone changes the answer. */
  readonly wakeAt: number | undefined;
}

/**
 * A node is given up when its pull has failed this often over `givenUpAfterMs`, or still runs when the time for one node
 * is over: it leaves the count once another node is ready, and no longer keeps others waiting. It is tried all the same.
 */
const GIVEN_UP_AFTER_ATTEMPTS = 3;
/** Default parallelism: this many nodes, or a tenth of them if that is more. */
const PARALLEL_NODES = 20;
const PARALLEL_SHARE = 0.1;

type GivenUp = 'PullFailed' | 'PullTimedOut';

interface NodeView {
  readonly name: string;
  readonly arch: string;
  readonly slots: ReadonlyMap<PreloadImage, Slot>;
  readonly ready: boolean;
  readonly pulling: boolean;
  readonly failed: boolean;
  /** Takes one of the places that parallelism gives. */
  readonly busy: boolean;
  readonly left: GivenUp | undefined;
}

/** Decides what to do next for one preload. Pure: pods and nodes say everything, so any process can go on. */
export function assess(input: AssessInput): Assessment {
  const { preload, times, now } = input;
  const found: Found = { remove: [], timedOut: [] };
  const listed = preload.spec.images.map(isListed);
  const slots = input.eligible.map((node) => judgeNode(input, node, listed, found));
  const anyReady = slots.some(isReady);
  const nodes = slots.map((map, index) => viewNode(input, input.eligible[index], map, anyReady));
  const counted = nodes.filter(({ left }) => left === undefined);
  const ready = counted.filter((node) => node.ready).length;
  const required = resolveCountOrPercent(preload.spec.minNodes, counted.length);
  const halted = haltedImages(input, nodes);
  const failures = nodes.flatMap((node) => failuresOf(input, node));
  const deadline = lastReadyAt(preload, nodes) + preload.spec.deadlineSeconds * 1000;

  const hangs = new Set(found.timedOut.map(({ pod }) => pod.node));

  const verdict = ((): Verdict => {
    if (nodes.length === 0) {
      const since = input.noNodesSince ?? now;
      return { kind: 'NoNodes', since, over: now - since >= times.noNodesMs };
    }
    if (ready >= Math.max(1, required)) return { kind: 'Ready' };
    const definitive = failures.find((failure) => failure.definitive && halted.has(failure.image));
    if (definitive !== undefined) return { kind: 'Failed', ...definitive };
    return now >= deadline ? { kind: 'Overdue' } : { kind: 'Preloading' };
  })();

  const wanted = wantedPulls(input, nodes, halted);
  const due = wakeTimes(input, nodes, halted);
  if (verdict.kind === 'NoNodes') due.push(verdict.since + times.noNodesMs);
  else due.push(deadline);
  const future = due.filter((time) => time > now);

  return {
    verdict,
    desired: counted.length,
    required,
    ready,
    readyNodes: new Set(nodes.filter((node) => node.ready).map(({ name }) => name)),
    pulling: counted.filter((node) => node.pulling).length,
    failed: nodes.filter(({ failed, name }) => failed || hangs.has(name)).length,
    excluded: withLeavers(input.excluded, nodes),
    late: counted.find((node) => !node.ready)?.name,
    images: preload.spec.images.map((image) => countImage(image, nodes)),
    failures,
    wanted,
    running: nodes.reduce((sum, { slots: map }) => sum + countRunning(map), 0),
    overdue: now >= deadline,
    ...found,
    creating: nodes.flatMap(({ slots: map }) =>
      [...map.values()].flatMap((slot) => longCreating(input, slot)),
    ),
    wakeAt: future.length === 0 ? undefined : Math.min(...future),
  };
}

/** What is seen on the way, of all nodes. */
interface Found {
  readonly remove: PullerPod[];
  readonly timedOut: Assessment['timedOut'][number][];
}

function judgeNode(
  input: AssessInput,
  node: Node,
  listed: readonly ((node: Node) => boolean)[],
  { remove, timedOut }: Found,
): Map<PreloadImage, Slot> {
  const map = new Map<PreloadImage, Slot>();
  for (const [index, image] of input.preload.spec.images.entries()) {
    const found = input.podsFor(image, node.name);
    const pods = found.filter(({ createdAt }) => createdAt >= node.createdAt);
    // Of a machine that had the name before. They have to go, as their names are needed.
    if (pods.length < found.length) remove.push(...found.filter((pod) => !pods.includes(pod)));
    if (pods.length > 1) remove.push(...overtaken(pods));
    const present = pods.length === 0 && !input.withSecret && listed[index]?.(node);
    const slot: Slot = present
      ? { state: 'present' }
      : judgeSlot(pods, () => input.knownFailure(image.image, node.name), input.times);
    map.set(image, slot);
    if (isHanging(slot, input)) timedOut.push(...hanging(pods, input));
  }
  return map;
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

function isReady(slots: ReadonlyMap<PreloadImage, Slot>): boolean {
  return slots.values().every(({ state }) => state === 'present' || state === 'pulled');
}

function viewNode(
  input: AssessInput,
  node: Node | undefined,
  slots: ReadonlyMap<PreloadImage, Slot>,
  anyReady: boolean,
): NodeView {
  const all = [...slots.values()];
  const givenUp = all.map((slot) => reasonToGiveUp(slot, input)).find((reason) => reason !== undefined);
  const failed = all.some(({ state }) => state === 'failed');
  return {
    name: node?.name ?? '',
    arch: node?.labels['kubernetes.io/arch'] ?? '',
    slots,
    ready: isReady(slots),
    pulling: countRunning(slots) > 0,
    failed,
    // A failing node keeps its place until some node is ready: a dead registry is asked by one wave, not by all. But not
    // for ever: what fails may be the node.
    busy:
      all.some((slot) => runningSince(slot) !== undefined && !isHanging(slot, input)) ||
      (failed && !anyReady && givenUp === undefined),
    left: anyReady ? givenUp : undefined,
  };
}

function reasonToGiveUp(slot: Slot, input: AssessInput): GivenUp | undefined {
  if (isHanging(slot, input)) return 'PullTimedOut';
  if (slot.state !== 'failed' || slot.failedAttempts < GIVEN_UP_AFTER_ATTEMPTS) return undefined;
  return input.now - slot.firstAttemptAt >= input.times.givenUpAfterMs ? 'PullFailed' : undefined;
}

/** When the pull began that runs now, the retry of a failed one included. */
function runningSince(slot: Slot): number | undefined {
  if (slot.state === 'pulling') return slot.since;
  return slot.state === 'failed' ? slot.retryingSince : undefined;
}

function isHanging(slot: Slot, input: AssessInput): boolean {
  const since = runningSince(slot);
  return since !== undefined && input.now >= since + nodeTimeout(input);
}

/** The pod of the last attempt: the others have failed. */
function hanging(pods: readonly PullerPod[], input: AssessInput): Found['timedOut'] {
  const last = Math.max(...pods.map(({ attempt }) => attempt));
  return pods
    .filter(({ attempt }) => attempt === last)
    .map((pod) => ({ pod, at: startOf(pod) + nodeTimeout(input) }));
}

function nodeTimeout(input: AssessInput): number {
  return input.preload.spec.nodeTimeoutSeconds * 1000;
}

/** Pulls under way, retries of failed ones included. */
function countRunning(slots: ReadonlyMap<PreloadImage, Slot>): number {
  let running = 0;
  for (const slot of slots.values()) if (runningSince(slot) !== undefined) running += 1;
  return running;
}

/**
 * Images that a registry has definitively refused and that no node has: more pulls of them are pointless. A node
 * that hangs when it is to ask again is no witness any more: others are asked then.
 */
function haltedImages(input: AssessInput, nodes: readonly NodeView[]): Set<string> {
  const halted = new Set<string>();
  for (const image of input.preload.spec.images) {
    let refused = false;
    let somewhere = false;
    for (const { slots } of nodes) {
      const slot = slots.get(image);
      somewhere ||= slot?.state === 'present' || slot?.state === 'pulled';
      refused ||= slot?.state === 'failed' && slot.failure.definitive && !isHanging(slot, input);
    }
    if (refused && !somewhere) halted.add(image.image);
  }
  return halted;
}

function longCreating({ times, now }: AssessInput, slot: Slot): PullerPod[] {
  if (slot.state !== 'pulling' || slot.creating === undefined) return [];
  return now >= slot.since + times.creatingMs ? [slot.creating] : [];
}

const TIMED_OUT: Failure = {
  reason: 'Timeout',
  definitive: false,
  message: 'still pulling when the time for one node was over',
};

function failuresOf(input: AssessInput, node: NodeView): NodeFailure[] {
  const failures: NodeFailure[] = [];
  for (const [{ image }, slot] of node.slots) {
    const left = node.left === undefined ? {} : { left: node.left };
    if (slot.state === 'failed') failures.push({ node: node.name, image, ...slot.failure, ...left });
    else if (slot.state === 'pulling') {
      // Told, and no more: the kubelet goes on by itself, and its time is that of the pull.
      const trouble = slot.creating && input.troubleOf(slot.creating);
      const failure = trouble ?? (isHanging(slot, input) ? TIMED_OUT : undefined);
      if (failure !== undefined) failures.push({ node: node.name, image, ...failure, ...left });
    }
  }
  return failures;
}

/** The deadline counts from the last node that became ready: as long as nodes become ready, it moves on. */
function lastReadyAt(preload: ImagePreload, nodes: readonly NodeView[]): number {
  let last = preload.createdAt;
  for (const { ready, slots } of nodes) {
    if (!ready) continue;
    for (const slot of slots.values()) if (slot.state === 'pulled') last = Math.max(last, slot.finishedAt);
  }
  return last;
}

function wantedPulls(
  input: AssessInput,
  nodes: readonly NodeView[],
  halted: ReadonlySet<string>,
): WantedPull[] {
  const wanted: WantedPull[] = [];
  const busy = new Set(nodes.filter((node) => node.busy).map(({ name }) => name));
  const limit = parallelNodes(input.preload, input.eligible.length);
  const takesPlace = (node: string): boolean => {
    if (busy.size < limit) busy.add(node);
    return busy.has(node);
  };
  // Before the retries: a node that has not been tried is the better bet.
  for (const node of halted.size > 0 ? [] : byImportance(nodes, input.preferred)) {
    for (const [image, { state }] of node.slots) {
      if (state !== 'missing' || !takesPlace(node.name)) continue;
      wanted.push({ node: node.name, image, attempt: 1, firstAttemptAt: input.now });
    }
  }
  const due = retries(input, nodes, halted).filter(({ retryAt }) => retryAt <= input.now);
  for (const { node, image, slot } of due.sort((a, b) => a.retryAt - b.retryAt)) {
    if (!halted.has(image.image) && !takesPlace(node)) continue;
    wanted.push({ node, image, attempt: slot.attempt + 1, firstAttemptAt: slot.firstAttemptAt });
  }
  return wanted;
}

interface Retry {
  readonly node: string;
  readonly image: PreloadImage;
  readonly slot: Slot & { readonly state: 'failed' };
  readonly retryAt: number;
}

/** The failed pulls that are to be tried again: all of them, but only one for each image that is refused everywhere. */
function retries(input: AssessInput, nodes: readonly NodeView[], halted: ReadonlySet<string>): Retry[] {
  return input.preload.spec.images.flatMap((image) => {
    const failed = nodes.flatMap(({ name, slots }) => {
      const slot = slots.get(image);
      return slot?.state === 'failed' && !isHanging(slot, input) ? [{ node: name, image, slot }] : [];
    });
    // The one that has been tried most stays the one: the others' kubelets still try by themselves now and then.
    // One image may be asked for under two policies, and only one of them be refused.
    const tried =
      halted.has(image.image) && failed.length > 0
        ? failed.reduce((a, b) => (b.slot.attempt > a.slot.attempt ? b : a))
        : undefined;
    return (tried === undefined ? failed : [tried]).flatMap((entry) =>
      entry.slot.retryAt === undefined ? [] : { ...entry, retryAt: entry.slot.retryAt },
    );
  });
}

/** How many of `total` nodes may pull at a time for this preload. */
export function parallelNodes({ spec }: ImagePreload, total: number): number {
  if (spec.parallelism !== undefined) return Math.max(1, resolveCountOrPercent(spec.parallelism, total));
  return Math.max(PARALLEL_NODES, Math.ceil(total * PARALLEL_SHARE));
}

function byImportance(nodes: readonly NodeView[], preferred: ReadonlySet<string>): NodeView[] {
  const first = nodes.filter(({ name }) => preferred.has(name));
  const rest = nodes.filter(({ name }) => !preferred.has(name));
  return [...first, ...rest];
}

function wakeTimes(input: AssessInput, nodes: readonly NodeView[], halted: ReadonlySet<string>): number[] {
  const times = retries(input, nodes, halted).map(({ retryAt }) => retryAt);
  for (const { slots } of nodes) {
    for (const slot of slots.values()) {
      const since = runningSince(slot);
      if (since !== undefined) times.push(since + nodeTimeout(input));
      if (slot.state === 'pulling' && slot.creating) times.push(slot.since + input.times.creatingMs);
      if (slot.state === 'failed') times.push(slot.firstAttemptAt + input.times.givenUpAfterMs);
    }
  }
  return times;
}

function withLeavers(excluded: EligibleNodes['excluded'], nodes: readonly NodeView[]): ExcludedNodes[] {
  const counts: ExcludedNodes[] = [...excluded];
  for (const reason of ['PullFailed', 'PullTimedOut']) {
    const gone = nodes.filter(({ left }) => left === reason);
    if (gone[0] !== undefined) counts.push({ reason, count: gone.length, node: gone[0].name });
  }
  return counts;
}

function countImage(image: PreloadImage, nodes: readonly NodeView[]): ImageCount {
  const digests = new Set<string>();
  const images: PulledImage[] = [];
  let alreadyPresent = 0;
  let pulled = 0;
  let failed = 0;
  let slowest: ImageCount['slowest'];
  for (const { name, arch, slots } of nodes) {
    const slot = slots.get(image);
    // What a node only lists has no digest that is known.
    if (slot?.state === 'present') alreadyPresent += 1;
    if (slot?.state === 'failed') failed += 1;
    if (slot?.state !== 'pulled') continue;
    pulled += 1;
    images.push({ node: name, arch, imageID: slot.imageID });
    const digest = /sha256:[0-9a-f]{64}/.exec(slot.imageID)?.[0];
    if (digest !== undefined) digests.add(digest);
    if (slowest === undefined || slot.seconds > slowest.seconds)
      slowest = { node: name, seconds: slot.seconds };
  }
  const digestNodes = divergence(images);
  return {
    image: image.image,
    digests: [...digests],
    ...(digestNodes.length > 0 && { digestNodes }),
    alreadyPresent,
    pulled,
    failed,
    ...(slowest !== undefined && { slowest }),
  };
}
