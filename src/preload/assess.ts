import { normalizeImage } from '../template/image-reference.ts';
import { resolveCountOrPercent } from './count-or-percent.ts';
import type { EligibleNodes } from './eligible-nodes.ts';
import type { ImagePreload, PreloadImage } from './image-preload.ts';
import type { Node } from './node.ts';
import type { PullerPod } from './puller-pod-status.ts';
import { type Failure, judgeSlot, overtaken, type Slot } from './slot.ts';

/** All that is known about one preload at one moment. */
export interface AssessInput {
  readonly preload: ImagePreload;
  readonly eligible: readonly Node[];
  readonly excluded: EligibleNodes['excluded'];
  /** The puller pods of this image on this node, those being deleted left out. */
  podsFor(image: PreloadImage, node: string): readonly PullerPod[];
  /** A failure that an earlier assessment saw there. */
  knownFailure(image: string, node: string): Failure | undefined;
  /** Whether the pods pull with a secret, their own or their service account's. */
  readonly withSecret: boolean;
  /** Nodes that run the Deployment's pods: they come first. */
  readonly preferred: ReadonlySet<string>;
  /** ms since the epoch since when no node has been eligible; undefined if unknown. */
  readonly noNodesSince: number | undefined;
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
  readonly left?: 'PullFailed' | 'PullTimedOut';
}

interface ImageCount {
  readonly image: string;
  readonly digests: readonly string[];
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
  readonly excluded: readonly { readonly reason: string; readonly count: number }[];
  readonly images: readonly ImageCount[];
  readonly failures: readonly NodeFailure[];
  readonly wanted: readonly WantedPull[];
  /** Pulls under way. */
  readonly running: number;
  readonly remove: readonly PullerPod[];
  /** ms since the epoch when time alone changes the answer. */
  readonly wakeAt: number | undefined;
}

/** A node leaves the count when its pull has failed this often over this long, and another node is ready. */
const LEAVES_AFTER_ATTEMPTS = 3;
const LEAVES_AFTER_MS = 120_000;
/** Without any eligible node for so long there is nothing to wait for: scale-from-zero pools would deadlock. */
const NO_NODES_MS = 120_000;
/** Default parallelism: this many nodes, or a tenth of them if that is more. */
const PARALLEL_NODES = 20;
const PARALLEL_SHARE = 0.1;

interface NodeView {
  readonly name: string;
  readonly slots: ReadonlyMap<PreloadImage, Slot>;
  readonly ready: boolean;
  readonly pulling: boolean;
  readonly failed: boolean;
  readonly left: 'PullFailed' | 'PullTimedOut' | undefined;
}

/** Decides what to do next for one preload. Pure: pods and nodes say everything, so any process can go on. */
export function assess(input: AssessInput): Assessment {
  const { preload, now } = input;
  const remove: PullerPod[] = [];
  const slots = input.eligible.map((node) => judgeNode(input, node, remove));
  const anyReady = slots.some(isReady);
  const nodes = slots.map((map, index) => viewNode(input, input.eligible[index]?.name ?? '', map, anyReady));
  const counted = nodes.filter(({ left }) => left === undefined);
  const ready = counted.filter((node) => node.ready).length;
  const required = resolveCountOrPercent(preload.spec.minNodes, counted.length);
  const halted = haltedImages(preload.spec.images, nodes);
  const failures = nodes.flatMap((node) => failuresOf(node));
  const deadline = lastReadyAt(preload, nodes) + preload.spec.deadlineSeconds * 1000;

  const verdict = ((): Verdict => {
    if (nodes.length === 0) {
      const since = input.noNodesSince ?? now;
      return { kind: 'NoNodes', since, over: now - since >= NO_NODES_MS };
    }
    if (ready >= Math.max(1, required)) return { kind: 'Ready' };
    const definitive = failures.find((failure) => failure.definitive && halted.has(failure.image));
    if (definitive !== undefined) return { kind: 'Failed', ...definitive };
    return now >= deadline ? { kind: 'Overdue' } : { kind: 'Preloading' };
  })();

  const wanted = wantedPulls(input, nodes, halted, anyReady);
  const times = wakeTimes(input, nodes, halted, anyReady);
  if (verdict.kind === 'NoNodes') times.push(verdict.since + NO_NODES_MS);
  else times.push(deadline);
  const future = times.filter((time) => time > now);

  return {
    verdict,
    desired: counted.length,
    required,
    ready,
    readyNodes: new Set(nodes.filter((node) => node.ready).map(({ name }) => name)),
    pulling: counted.filter((node) => node.pulling).length,
    failed: nodes.filter((node) => node.failed).length,
    excluded: withLeavers(input.excluded, nodes),
    images: preload.spec.images.map((image) => countImage(image, nodes)),
    failures,
    wanted,
    running: nodes.reduce((sum, { slots: map }) => sum + countRunning(map), 0),
    remove,
    wakeAt: future.length === 0 ? undefined : Math.min(...future),
  };
}

function judgeNode(input: AssessInput, node: Node, remove: PullerPod[]): Map<PreloadImage, Slot> {
  const map = new Map<PreloadImage, Slot>();
  for (const image of input.preload.spec.images) {
    const pods = input.podsFor(image, node.name);
    remove.push(...overtaken(pods));
    const present = pods.length === 0 && !input.withSecret && isListed(image, node);
    map.set(
      image,
      present ? { state: 'present' } : judgeSlot(pods, input.knownFailure(image.image, node.name)),
    );
  }
  return map;
}

/**
 * Whether the node's own list says that the image is there, and a kubelet would ask nobody: only for IfNotPresent. The list
 * is cut at 50 images, so it is never proof of absence. Where a pull secret is involved it proves nothing either: a
 * kubelet asks the registry again when another secret is used (KEP-2535).
 */
export function isListed({ image, imagePullPolicy }: PreloadImage, node: Node): boolean {
  if (imagePullPolicy !== 'IfNotPresent') return false;
  return node.images.has(image) || node.images.has(normalizeImage(image));
}

function isReady(slots: ReadonlyMap<PreloadImage, Slot>): boolean {
  return slots.values().every(({ state }) => state === 'present' || state === 'pulled');
}

function viewNode(
  input: AssessInput,
  name: string,
  slots: ReadonlyMap<PreloadImage, Slot>,
  anyReady: boolean,
): NodeView {
  const all = [...slots.values()];
  let left: NodeView['left'];
  if (anyReady) {
    for (const slot of all) {
      if (slot.state === 'failed' && hasFailedForGood(slot, input.now)) left ??= 'PullFailed';
      if (slot.state === 'pulling' && input.now >= slot.since + nodeTimeout(input)) left ??= 'PullTimedOut';
    }
  }
  return {
    name,
    slots,
    ready: isReady(slots),
    pulling: countRunning(slots) > 0,
    failed: all.some(({ state }) => state === 'failed'),
    left,
  };
}

function hasFailedForGood(slot: Slot & { state: 'failed' }, now: number): boolean {
  return slot.attempt >= LEAVES_AFTER_ATTEMPTS && now - slot.firstAttemptAt >= LEAVES_AFTER_MS;
}

function nodeTimeout(input: AssessInput): number {
  return input.preload.spec.nodeTimeoutSeconds * 1000;
}

/** Pulls under way, retries of failed ones included. */
function countRunning(slots: ReadonlyMap<PreloadImage, Slot>): number {
  let running = 0;
  for (const slot of slots.values()) {
    if (slot.state === 'pulling' || (slot.state === 'failed' && slot.retryAt === undefined)) running += 1;
  }
  return running;
}

/** Images that a registry has definitively refused and that no node has: more pulls of them are pointless. */
function haltedImages(images: readonly PreloadImage[], nodes: readonly NodeView[]): Set<string> {
  const halted = new Set<string>();
  for (const image of images) {
    let refused = false;
    let somewhere = false;
    for (const { slots } of nodes) {
      const slot = slots.get(image);
      somewhere ||= slot?.state === 'present' || slot?.state === 'pulled';
      refused ||= slot?.state === 'failed' && slot.failure.definitive;
    }
    if (refused && !somewhere) halted.add(image.image);
  }
  return halted;
}

function failuresOf(node: NodeView): NodeFailure[] {
  const failures: NodeFailure[] = [];
  for (const [{ image }, slot] of node.slots) {
    const left = node.left === undefined ? {} : { left: node.left };
    if (slot.state === 'failed') failures.push({ node: node.name, image, ...slot.failure, ...left });
    else if (slot.state === 'pulling' && node.left === 'PullTimedOut') {
      const message = 'still pulling when the time for one node was over';
      failures.push({
        node: node.name,
        image,
        reason: 'Timeout',
        definitive: false,
        message,
        left: node.left,
      });
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
  anyReady: boolean,
): WantedPull[] {
  const wanted: WantedPull[] = [];
  for (const { node, image, slot } of dueRetries(input, nodes, halted)) {
    if (slot.retryAt === undefined || slot.retryAt > input.now) continue;
    wanted.push({ node, image, attempt: slot.attempt + 1, firstAttemptAt: slot.firstAttemptAt });
  }
  if (halted.size > 0) return wanted;

  // Failing nodes keep their place until some node is ready: a dead registry is asked by one wave, not by all.
  let busy = nodes.filter(({ pulling, failed }) => pulling || (failed && !anyReady)).length;
  const limit = parallelNodes(input.preload, input.eligible.length);
  for (const node of byImportance(nodes, input.preferred)) {
    const missing = [...node.slots].filter(([, { state }]) => state === 'missing');
    if (missing.length === 0) continue;
    if (!node.pulling && busy >= limit) continue;
    if (!node.pulling) busy += 1;
    for (const [image] of missing) {
      wanted.push({ node: node.name, image, attempt: 1, firstAttemptAt: input.now });
    }
  }
  return wanted;
}

/** The failed pulls that may be tried again: all of them, but only one for each image that is refused everywhere. */
function dueRetries(
  input: AssessInput,
  nodes: readonly NodeView[],
  halted: ReadonlySet<string>,
): { node: string; image: PreloadImage; slot: Slot & { state: 'failed' } }[] {
  return input.preload.spec.images.flatMap((image) => {
    const failed = nodes.flatMap(({ name, slots }) => {
      const slot = slots.get(image);
      return slot?.state === 'failed' ? [{ node: name, image, slot }] : [];
    });
    if (!halted.has(image.image)) return failed;
    // The one that has been tried most stays the one: the others' kubelets still try by themselves now and then.
    const probe = failed.reduce((a, b) => (b.slot.attempt > a.slot.attempt ? b : a));
    return [probe];
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

function wakeTimes(
  input: AssessInput,
  nodes: readonly NodeView[],
  halted: ReadonlySet<string>,
  anyReady: boolean,
): number[] {
  const times = dueRetries(input, nodes, halted).flatMap(({ slot }) => slot.retryAt ?? []);
  if (!anyReady) return times;
  for (const { slots } of nodes) {
    for (const slot of slots.values()) {
      if (slot.state === 'failed') times.push(slot.firstAttemptAt + LEAVES_AFTER_MS);
      if (slot.state === 'pulling') times.push(slot.since + nodeTimeout(input));
    }
  }
  return times;
}

function withLeavers(
  excluded: EligibleNodes['excluded'],
  nodes: readonly NodeView[],
): { reason: string; count: number }[] {
  const counts: { reason: string; count: number }[] = [...excluded];
  for (const reason of ['PullFailed', 'PullTimedOut']) {
    const count = nodes.filter(({ left }) => left === reason).length;
    if (count > 0) counts.push({ reason, count });
  }
  return counts;
}

function countImage(image: PreloadImage, nodes: readonly NodeView[]): ImageCount {
  const digests = new Set<string>();
  let alreadyPresent = 0;
  let pulled = 0;
  let failed = 0;
  let slowest: ImageCount['slowest'];
  for (const { name, slots } of nodes) {
    const slot = slots.get(image);
    if (slot?.state === 'present') alreadyPresent += 1;
    if (slot?.state === 'failed') failed += 1;
    if (slot?.state !== 'pulled') continue;
    pulled += 1;
    const digest = /sha256:[0-9a-f]{64}/.exec(slot.imageID)?.[0];
    if (digest !== undefined) digests.add(digest);
    if (slowest === undefined || slot.seconds > slowest.seconds)
      slowest = { node: name, seconds: slot.seconds };
  }
  const counts = { image: image.image, digests: [...digests], alreadyPresent, pulled, failed };
  return slowest === undefined ? counts : { ...counts, slowest };
}
