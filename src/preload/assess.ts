import { resolveCountOrPercent } from '../hold/count-or-percent.ts';
import type { EligibleNodes, ExcludedNodes } from './eligible-nodes.ts';
import { type DigestNodes, divergence, type PulledImage } from './image-divergence.ts';
import type { ImagePreload, PreloadImage } from './image-preload.ts';
import { isListed, isWorthKeeping, type JudgedNode, type Judgements, judgeNode } from './judged-node.ts';
import { canNeverPreload, noNodesUntil } from './no-nodes.ts';
import type { Node } from './node.ts';
import type { PullTimes } from './pull-times.ts';
import type { PullerPod } from './puller-pod-status.ts';
import { type Failure, type Slot, startOf } from './slot.ts';

/** All that is known about one preload at one moment. */
export interface AssessInput {
  readonly preload: ImagePreload;
  readonly eligible: readonly Node[];
  readonly excluded: EligibleNodes['excluded'];
  /** The puller pods of this image on this node, those being deleted left out. */
  readonly podsFor: (image: PreloadImage, node: string) => readonly PullerPod[];
  /** A failure that an earlier assessment saw there. */
  knownFailure(image: string, node: string): Failure | undefined;
  /** What keeps that pod from beginning to pull, if it is known. */
  troubleOf(pod: PullerPod): Failure | undefined;
  /** Whether the pods pull with a secret, their own or their service account's. */
  readonly withSecret: boolean;
  /** Nodes that run the Deployment's pods: they come first. */
  readonly preferred: ReadonlySet<string>;
  /**
   * After them it begins here, counted from 0 and as often around as it may be. Kubelets pull one image after the other: preloads
   * that all begin at the same node wait there for each other.
   */
  readonly beginAt?: number;
  /** ms since the epoch since when no node has been eligible; undefined if unknown. */
  readonly noNodesSince: number | undefined;
  readonly times: PullTimes;
  readonly now: number;
  /** Of the same preload: read, and brought up to date. The answer is the same without, but for `newlyReady`. */
  readonly judged?: Judgements;
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
  | {
      readonly kind: 'NoNodes';
      readonly since: number;
      readonly over: boolean;
      /** No node could ever be preloaded for these pods. */
      readonly never: boolean;
    };

export interface Assessment {
  readonly verdict: Verdict;
  /** The nodes that a release waits for: see `countedNodes`. */
  readonly desired: number;
  /** How many of them must be ready. */
  readonly required: number;
  readonly ready: number;
  /** Nodes that have every image and had not when they were judged before. */
  readonly newlyReady: readonly string[];
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

/** A node that something is going on at: few of thousands. */
interface OpenNode extends JudgedNode {
  readonly name: string;
  readonly pulling: boolean;
  readonly failed: boolean;
  /** Takes one of the places that parallelism gives. */
  readonly busy: boolean;
  readonly left: GivenUp | undefined;
}

/** Decides what to do next for one preload. Pure: pods and nodes say everything, so any process can go on. */
export function assess(input: AssessInput): Assessment {
  const { preload, times, now } = input;
  const { nodes, newlyReady } = judgeAll(input);
  // Ready nodes do not leave.
  const anyReady = nodes.some(({ ready }) => ready);
  const open = nodes.filter(({ settled }) => !settled).map((node) => openNode(input, node, anyReady));
  const gone = new Set(open.filter(({ left }) => left !== undefined).map(({ name }) => name));
  const staying = nodes.filter(({ node }) => !gone.has(node.name));
  const deadline = lastReadyAt(preload, nodes) + preload.spec.deadlineSeconds * 1000;
  const counted = countedNodes(preload, staying, now >= deadline);
  const ready = counted.reduce((sum, node) => sum + Number(node.ready), 0);
  const desired = counted.length;
  const required = resolveCountOrPercent(preload.spec.minNodes, desired);
  const halted = haltedImages(input, nodes, open);
  const failures = open.flatMap((node) => failuresOf(input, node));
  const timedOut = open.flatMap((node) => hanging(input, node));
  const hangs = new Set(timedOut.map(({ pod }) => pod.node));

  const noNodes = { ...input, since: input.noNodesSince ?? now, noNodesMs: times.noNodesMs };
  const verdict = ((): Verdict => {
    if (staying.length === 0) {
      const never = canNeverPreload(input);
      return { kind: 'NoNodes', since: noNodes.since, over: now >= noNodesUntil(noNodes), never };
    }
    if (ready >= Math.max(1, required)) return { kind: 'Ready' };
    const definitive = failures.find((failure) => failure.definitive && halted.has(failure.image));
    if (definitive !== undefined) return { kind: 'Failed', ...definitive };
    return now >= deadline ? { kind: 'Overdue' } : { kind: 'Preloading' };
  })();

  const due = wakeTimes(input, open, halted);
  if (verdict.kind === 'NoNodes') due.push(noNodesUntil(noNodes));
  else due.push(deadline);
  const future = due.filter((time) => time > now);

  return {
    verdict,
    desired,
    required,
    ready,
    newlyReady,
    pulling: open.filter(({ pulling, left }) => pulling && left === undefined).length,
    failed: open.filter(({ failed, name }) => failed || hangs.has(name)).length,
    excluded: withUncounted(
      input.excluded,
      open,
      counted === staying ? [] : staying.filter((node) => isLater(preload, node)),
    ),
    late: counted.find((node) => !node.ready)?.node.name,
    images: preload.spec.images.map((image, index) => countImage(image, index, nodes)),
    failures,
    wanted: wantedPulls(input, nodes, open, halted),
    running: open.reduce((sum, { slots }) => sum + countRunning(slots), 0),
    overdue: now >= deadline,
    remove: open.flatMap(({ remove }) => remove),
    timedOut,
    creating: open.flatMap(({ slots }) => slots.flatMap((slot) => longCreating(input, slot))),
    wakeAt: future.length === 0 ? undefined : Math.min(...future),
  };
}

function judgeAll(input: AssessInput): { nodes: readonly JudgedNode[]; newlyReady: readonly string[] } {
  const { preload, eligible, judged } = input;
  const images = preload.spec.images.map((image) => ({ image, isListed: isListed(image) }));
  const newlyReady: string[] = [];
  const nodes = eligible.map((node) => {
    const before = judged?.get(node.name);
    const now = judgeNode(input, node, images, before);
    if (now === before) return now;
    if (now.ready && before?.ready !== true) newlyReady.push(node.name);
    if (isWorthKeeping(now)) judged?.set(node.name, now);
    else judged?.delete(node.name);
    return now;
  });
  if (judged !== undefined && judged.size > nodes.length) {
    const names = new Set(eligible.map(({ name }) => name));
    for (const name of judged.keys()) if (!names.has(name)) judged.delete(name);
  }
  return { nodes, newlyReady };
}

/**
 * Returns the nodes that a release waits for: those that are as old as the preload, by the API server's clock. Nodes that join later
 * get the images as well, but where nodes join all the time, a release that waited for them would never come. If no older node is
 * left, or none of them is ready at the deadline, all nodes count.
 */
function countedNodes(
  preload: ImagePreload,
  staying: readonly JudgedNode[],
  overdue: boolean,
): readonly JudgedNode[] {
  const older = staying.filter((node) => !isLater(preload, node));
  return older.length === 0 || (overdue && !older.some(({ ready }) => ready)) ? staying : older;
}

function isLater(preload: ImagePreload, { node }: JudgedNode): boolean {
  return node.createdAt > preload.createdAt;
}

function openNode(input: AssessInput, node: JudgedNode, anyReady: boolean): OpenNode {
  const { slots } = node;
  const givenUp = slots.map((slot) => reasonToGiveUp(slot, input)).find((reason) => reason !== undefined);
  const failed = slots.some(({ state }) => state === 'failed');
  return {
    ...node,
    name: node.node.name,
    pulling: countRunning(slots) > 0,
    failed,
    // A failing node keeps its place until some node is ready: a dead registry is asked by one wave, not by all. But not
    // for ever: what fails may be the node.
    busy:
      slots.some((slot) => runningSince(slot) !== undefined && !isHanging(slot, input)) ||
      (failed && !anyReady && givenUp === undefined),
    left: anyReady ? givenUp : undefined,
  };
}

function reasonToGiveUp(slot: Slot, input: AssessInput): GivenUp | undefined {
  if (isHanging(slot, input)) return 'PullTimedOut';
  if (slot.state !== 'failed') return undefined;
  if (slot.timedOut) return 'PullTimedOut';
  if (slot.failedAttempts < GIVEN_UP_AFTER_ATTEMPTS) return undefined;
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

/** The pods of the last attempts: the others have failed. */
function hanging(input: AssessInput, { node, slots, pods }: OpenNode): Assessment['timedOut'] {
  return slots.flatMap((slot, index) => {
    if (!isHanging(slot, input)) return [];
    const mine = (pods[index] ?? []).filter(({ createdAt }) => createdAt >= node.createdAt);
    const last = Math.max(...mine.map(({ attempt }) => attempt));
    return mine
      .filter(({ attempt }) => attempt === last)
      .map((pod) => ({ pod, at: startOf(pod) + nodeTimeout(input) }));
  });
}

function nodeTimeout(input: AssessInput): number {
  return input.preload.spec.nodeTimeoutSeconds * 1000;
}

/** Pulls under way, retries of failed ones included. */
function countRunning(slots: readonly Slot[]): number {
  return slots.filter((slot) => runningSince(slot) !== undefined).length;
}

/**
 * Images that a registry has definitively refused and that no node has: more pulls of them are pointless. A node
 * that hangs when it is to ask again is no witness any more: others are asked then.
 */
function haltedImages(
  input: AssessInput,
  nodes: readonly JudgedNode[],
  open: readonly OpenNode[],
): Set<string> {
  const halted = new Set<string>();
  for (const [index, { image }] of input.preload.spec.images.entries()) {
    const refused = open.some(({ slots }) => {
      const slot = slots[index];
      return slot?.state === 'failed' && slot.failure.definitive && !isHanging(slot, input);
    });
    const isThere = ({ slots }: JudgedNode) => {
      const state = slots[index]?.state;
      return state === 'present' || state === 'pulled';
    };
    if (refused && !nodes.some(isThere)) halted.add(image);
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

function failuresOf(input: AssessInput, { name, slots, left: reason }: OpenNode): NodeFailure[] {
  const left = reason === undefined ? {} : { left: reason };
  return input.preload.spec.images.flatMap(({ image }, index) => {
    const slot = slots[index];
    if (slot?.state === 'failed') return { node: name, image, ...slot.failure, ...left };
    if (slot?.state !== 'pulling') return [];
    // Told, and no more: the kubelet goes on by itself, and its time is that of the pull.
    const trouble = slot.creating && input.troubleOf(slot.creating);
    const failure = trouble ?? (isHanging(slot, input) ? TIMED_OUT : undefined);
    return failure === undefined ? [] : { node: name, image, ...failure, ...left };
  });
}

/**
 * The deadline counts from the last node that became ready: as long as nodes become ready, it moves on. Nodes that join later do not
 * move it, as there may be no end of them.
 */
function lastReadyAt(preload: ImagePreload, nodes: readonly JudgedNode[]): number {
  let last = preload.createdAt;
  for (const judged of nodes) {
    if (!judged.ready || isLater(preload, judged)) continue;
    for (const slot of judged.slots) if (slot.state === 'pulled') last = Math.max(last, slot.finishedAt);
  }
  return last;
}

function wantedPulls(
  input: AssessInput,
  nodes: readonly JudgedNode[],
  open: readonly OpenNode[],
  halted: ReadonlySet<string>,
): WantedPull[] {
  const wanted: WantedPull[] = [];
  const { images } = input.preload.spec;
  const busy = new Set(open.filter((node) => node.busy).map(({ name }) => name));
  const limit = parallelNodes(input.preload, nodes.length);
  const takesPlace = (node: string): boolean => {
    if (busy.size < limit) busy.add(node);
    return busy.has(node);
  };
  // Before the retries: a node that has not been tried is the better bet.
  for (const { ready, slots, node } of halted.size > 0 ? [] : byImportance(nodes, input)) {
    if (ready) continue;
    for (const [index, image] of images.entries()) {
      if (slots[index]?.state !== 'missing' || !takesPlace(node.name)) continue;
      wanted.push({ node: node.name, image, attempt: 1, firstAttemptAt: input.now });
    }
  }
  const due = retries(input, open, halted).filter(({ retryAt }) => retryAt <= input.now);
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
function retries(input: AssessInput, open: readonly OpenNode[], halted: ReadonlySet<string>): Retry[] {
  return input.preload.spec.images.flatMap((image, index) => {
    const failed = open.flatMap(({ name, slots }) => {
      const slot = slots[index];
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

function byImportance(
  nodes: readonly JudgedNode[],
  { preferred, beginAt = 0 }: AssessInput,
): readonly JudgedNode[] {
  const first = nodes.filter(({ node }) => preferred.has(node.name));
  const rest = nodes.filter(({ node }) => !preferred.has(node.name));
  const begin = rest.length === 0 ? 0 : beginAt % rest.length;
  return [...first, ...rest.slice(begin), ...rest.slice(0, begin)];
}

function wakeTimes(input: AssessInput, open: readonly OpenNode[], halted: ReadonlySet<string>): number[] {
  const times = retries(input, open, halted).map(({ retryAt }) => retryAt);
  for (const { slots } of open) {
    for (const slot of slots) {
      const since = runningSince(slot);
      if (since !== undefined) times.push(since + nodeTimeout(input));
      if (slot.state === 'pulling' && slot.creating) times.push(slot.since + input.times.creatingMs);
      if (slot.state === 'failed') times.push(slot.firstAttemptAt + input.times.givenUpAfterMs);
    }
  }
  return times;
}

function withUncounted(
  excluded: EligibleNodes['excluded'],
  open: readonly OpenNode[],
  later: readonly JudgedNode[],
): ExcludedNodes[] {
  const counts: ExcludedNodes[] = [...excluded];
  if (later[0] !== undefined)
    counts.push({ reason: 'JoinedLater', count: later.length, node: later[0].node.name });
  for (const reason of ['PullFailed', 'PullTimedOut']) {
    const gone = open.filter(({ left }) => left === reason);
    if (gone[0] !== undefined) counts.push({ reason, count: gone.length, node: gone[0].name });
  }
  return counts;
}

function countImage(image: PreloadImage, index: number, nodes: readonly JudgedNode[]): ImageCount {
  const imageIDs = new Set<string>();
  let alreadyPresent = 0;
  let pulled = 0;
  let failed = 0;
  let slowest: ImageCount['slowest'];
  for (const { node, slots } of nodes) {
    const slot = slots[index];
    // What a node only lists has no digest that is known.
    if (slot?.state === 'present') alreadyPresent += 1;
    if (slot?.state === 'failed') failed += 1;
    if (slot?.state !== 'pulled') continue;
    pulled += 1;
    imageIDs.add(slot.imageID);
    if (slowest === undefined || slot.seconds > slowest.seconds)
      slowest = { node: node.name, seconds: slot.seconds };
  }
  const digests = new Set([...imageIDs].flatMap((imageID) => /sha256:[0-9a-f]{64}/.exec(imageID)?.[0] ?? []));
  const digestNodes = digests.size > 1 ? divergence(pulledImages(index, nodes)) : [];
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

function pulledImages(index: number, nodes: readonly JudgedNode[]): PulledImage[] {
  return nodes.flatMap(({ node, slots }) => {
    const slot = slots[index];
    if (slot?.state !== 'pulled') return [];
    return { node: node.name, arch: node.labels['kubernetes.io/arch'] ?? '', imageID: slot.imageID };
  });
}
