import { resolveCountOrPercent } from '../hold/count-or-percent.ts';
import type { EligibleNodes, ExcludedNodes } from './eligible-nodes.ts';
import type { ImageAbsences } from './image-absence.ts';
import { countImage } from './image-counts.ts';
import type { ImagePreload, ImageStatus, PreloadImage } from './image-preload.ts';
import {
  isOfThisBoot,
  isWorthKeeping,
  type JudgedNode,
  type Judgements,
  judgeNode,
  lacksAll,
  type WantedImages,
  wantedImages,
} from './judged-node.ts';
import { canNeverPreload, noNodesUntil } from './no-nodes.ts';
import type { Node } from './node.ts';
import { hadFailed } from './preload-outcome.ts';
import { isDefinitive } from './pull-failure.ts';
import type { PullTimes } from './pull-times.ts';
import type { PullerPod } from './puller-pod-status.ts';
import { isRefused, type Refusals, refusalsOf } from './refusals.ts';
import { type Failure, runningSince, type Slot, startOf } from './slot.ts';
import { troubleOf, withMissingSecret } from './slot-trouble.ts';
import { byImportance, retries, type WantedPull, wantedPulls } from './wanted-pulls.ts';

/** All that is known about one preload at one moment. */
export interface AssessInput {
  readonly preload: ImagePreload;
  readonly eligible: readonly Node[];
  readonly excluded: EligibleNodes['excluded'];
  /** The puller pods of this image on a node, those being deleted left out. Asked for once at each look. */
  readonly podsOf: (image: PreloadImage) => (node: string) => readonly PullerPod[];
  /** A failure that an earlier assessment saw there. */
  knownFailure(image: string, node: string): Failure | undefined;
  /** Why no puller pod may be made, in words. */
  readonly notPreloadable?: string | undefined;
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
  /** ms since the epoch, when the gate began to serve it: the deadline does not run while it waits for others. */
  readonly servedSince: number;
  readonly times: PullTimes;
  readonly now: number;
  /** Of the same preload. Undefined: what was pulled is believed to be there for as long as its pod is. */
  readonly absences?: ImageAbsences;
  /** Of the same preload: read, and brought up to date. The answer is the same without, but for `newlyReady`. */
  readonly judged?: Judgements;
}

interface NodeFailure extends Failure {
  readonly node: string;
  readonly image: string;
  /** Set once the node no longer counts. */
  readonly left?: Left;
}

/**
 * - `Preloading`: go on.
 * - `Ready`: as many nodes as asked for have every image.
 * - `Failed`: every node that was asked has given a definitive answer: hold on, and say so.
 * - `Overdue`: the deadline has passed; with a ready node the rollout is let go, with none it is kept.
 * - `NoNodes`: nothing to preload on; let go once `over`.
 * - `NotPreloadable`: a puller pod would do more than pull. Nothing can be promised, so the rollout is let go.
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
    }
  | { readonly kind: 'NotPreloadable'; readonly message: string };

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
  readonly images: readonly ImageStatus[];
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

type GivenUp = 'PullFailed' | 'PullTimedOut';
/** Why a node left the count. One that refuses the pod leaves it at once, whether or not another one is ready. */
const LEFT = ['NodeRefusesPod', 'PullFailed', 'PullTimedOut'] as const;
type Left = (typeof LEFT)[number];

/** A node that something is going on at: few of thousands. */
interface OpenNode extends JudgedNode {
  readonly name: string;
  readonly pulling: boolean;
  readonly failed: boolean;
  /** Takes one of the places that parallelism gives. */
  readonly busy: boolean;
  readonly left: Left | undefined;
}

/** Decides what to do next for one preload. Pure: pods and nodes say everything, so any process can go on. */
export function assess(input: AssessInput): Assessment {
  const { preload, times, now } = input;
  const wantedOf = wantedImages(preload.spec.images, input.podsOf);
  const { nodes, newlyReady } = judgeAll(input, wantedOf);
  // Ready nodes do not leave.
  const anyReady = nodes.some(({ ready }) => ready);
  const open = nodes.filter(({ settled }) => !settled).map((node) => openNode(input, node, anyReady));
  const gone = new Set(open.filter(({ left }) => left !== undefined).map(({ name }) => name));
  const staying = nodes.filter(({ node }) => !gone.has(node.name));
  const deadline = lastReadyAt(input, nodes) + preload.spec.deadlineSeconds * 1000;
  const counted = countedNodes(preload, staying, now >= deadline);
  const ready = counted.reduce((sum, node) => sum + Number(node.ready), 0);
  const desired = counted.length;
  const required = resolveCountOrPercent(preload.spec.minNodes, desired);
  const pulls = { ...input, isHanging: (slot: Slot) => isHanging(slot, input) };
  const refusals = refusalsOf({
    images: preload.spec.images,
    nodes,
    byImportance: () => byImportance(nodes, input),
    isOut: (slot) => isOut(slot, input),
    hadFailed: hadFailed(preload),
    times,
  });
  const failures = open.flatMap((node) => failuresOf(input, node));
  const timedOut = open.flatMap((node) => hanging(input, node));
  const hangs = new Set(timedOut.map(({ pod }) => pod.node));

  const noNodes = { ...input, since: input.noNodesSince ?? now, noNodesMs: times.noNodesMs };
  const verdict = ((): Verdict => {
    if (input.notPreloadable !== undefined) return { kind: 'NotPreloadable', message: input.notPreloadable };
    if (staying.length === 0) {
      const never = canNeverPreload(input);
      return { kind: 'NoNodes', since: noNodes.since, over: now >= noNodesUntil(noNodes), never };
    }
    if (ready >= Math.max(1, required)) return { kind: 'Ready' };
    const definitive = failures.find((failure) => failure.definitive && refusals.final.has(failure.image));
    if (definitive !== undefined) return { kind: 'Failed', ...definitive };
    return now >= deadline ? { kind: 'Overdue' } : { kind: 'Preloading' };
  })();

  const touched = nodes.filter((node) => !lacksAll(node, wantedOf));
  const due = wakeTimes(pulls, open, refusals);
  if (verdict.kind === 'NoNodes') due.push(noNodesUntil(noNodes));
  else due.push(deadline);
  for (const { againAt } of nodes) if (againAt !== undefined) due.push(againAt);
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
    images: preload.spec.images.map((image, index) => countImage(image, index, touched)),
    failures,
    wanted: verdict.kind === 'NotPreloadable' ? [] : wantedPulls(pulls, nodes, open, refusals),
    running: open.reduce((sum, { slots }) => sum + countRunning(slots), 0),
    overdue: now >= deadline,
    remove: open.flatMap(({ remove }) => remove),
    timedOut,
    creating: open.flatMap(({ slots }) => slots.flatMap((slot) => worthAsking(input, slot))),
    wakeAt: future.length === 0 ? undefined : Math.min(...future),
  };
}

function judgeAll(
  input: AssessInput,
  images: WantedImages,
): { nodes: readonly JudgedNode[]; newlyReady: readonly string[] } {
  const { eligible, judged } = input;
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
  const refuses = slots.some((slot) => refusesPod(slot, input));
  return {
    ...node,
    name: node.node.name,
    pulling: countRunning(slots) > 0,
    failed,
    // A failing node keeps its place until some node is ready: a dead registry is asked by one wave, not by all. But not
    // for ever: what fails may be the node. A refusal has its witnesses.
    busy:
      slots.some((slot) => runningSince(slot) !== undefined && !isHanging(slot, input)) ||
      (failed &&
        !anyReady &&
        !refuses &&
        (givenUp === undefined || slots.some((slot) => isRefused(slot) && !isHanging(slot, input)))),
    left: refuses ? 'NodeRefusesPod' : anyReady ? givenUp : undefined,
  };
}

/** Whether the node would refuse every pod like this one. */
function refusesPod(slot: Slot, { troubleOf }: AssessInput): boolean {
  const { failure } = slot.state === 'failed' ? slot : { failure: undefined };
  const trouble = slot.state === 'pulling' && slot.creating ? troubleOf(slot.creating) : undefined;
  return (failure ?? trouble)?.reason === 'NodeRefusesPod';
}

function reasonToGiveUp(slot: Slot, input: AssessInput): GivenUp | undefined {
  if (isHanging(slot, input)) return 'PullTimedOut';
  if (slot.state !== 'failed') return undefined;
  if (slot.timedOut) return 'PullTimedOut';
  if (slot.failedAttempts < GIVEN_UP_AFTER_ATTEMPTS) return undefined;
  return input.now - slot.firstAttemptAt >= input.times.givenUpAfterMs ? 'PullFailed' : undefined;
}

/** Whether the pull says nothing about the image. A node that fails for reasons of its own is no witness for ever. */
function isOut(slot: Slot, input: AssessInput): boolean {
  if (isHanging(slot, input) || refusesPod(slot, input)) return true;
  if (slot.state === 'failed' && isDefinitive(slot.failure.reason)) return false;
  return reasonToGiveUp(slot, input) !== undefined;
}

function isHanging(slot: Slot, input: AssessInput): boolean {
  const since = runningSince(slot);
  return since !== undefined && input.now >= since + nodeTimeout(input);
}

/** The pods of the last attempts: the others have failed. */
function hanging(input: AssessInput, { node, slots, pods }: OpenNode): Assessment['timedOut'] {
  return slots.flatMap((slot, index) => {
    if (!isHanging(slot, input)) return [];
    const mine = (pods[index] ?? []).filter((pod) => isOfThisBoot(pod, node));
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

/** The kubelet says of a pull secret that it cannot find only in an event of the pod. */
function worthAsking({ times, now }: AssessInput, slot: Slot): PullerPod[] {
  if (slot.state === 'failed' && slot.failure.reason === 'Unauthorized') return [slot.pod];
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
    if (slot?.state === 'failed') return { node: name, image, ...withMissingSecret(slot, input), ...left };
    if (slot?.state !== 'pulling') return [];
    // Told, and no more: the kubelet goes on by itself, and its time is that of the pull.
    const trouble = slot.creating && troubleOf(slot.creating, slot.since, input);
    const failure = trouble ?? (isHanging(slot, input) ? TIMED_OUT : undefined);
    return failure === undefined ? [] : { node: name, image, ...failure, ...left };
  });
}

/**
 * The deadline counts from the last node that became ready: as long as nodes become ready, it moves on. Nodes that join later do not
 * move it, as there may be no end of them.
 */
function lastReadyAt({ preload, servedSince }: AssessInput, nodes: readonly JudgedNode[]): number {
  let last = Math.max(preload.createdAt, servedSince);
  for (const judged of nodes) {
    if (!judged.ready || isLater(preload, judged)) continue;
    for (const slot of judged.slots) if (slot.state === 'pulled') last = Math.max(last, slot.finishedAt);
  }
  return last;
}

function wakeTimes(
  input: AssessInput & Parameters<typeof retries>[0],
  open: readonly OpenNode[],
  { final, probes }: Refusals,
): number[] {
  const times = [...retries(input, open, final), ...probes].map(({ at }) => at);
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
  for (const reason of LEFT) {
    const gone = open.filter(({ left }) => left === reason);
    if (gone[0] !== undefined) counts.push({ reason, count: gone.length, node: gone[0].name });
  }
  return counts;
}
