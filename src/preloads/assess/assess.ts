import { type Awaited, lookAgainAt } from '../../api/approval.ts';
import { resolveCountOrPercent } from '../../api/count-or-percent.ts';
import type { ImagePreload, ImageStatus, PreloadImage } from '../../api/image-preload.ts';
import type { EligibleNodes, ExcludedNodes } from '../nodes/eligible-nodes.ts';
import type { Node } from '../nodes/node.ts';
import type { TimedOutPull } from '../pods/ended-pulls.ts';
import type { Failure } from '../pods/pull-failure.ts';
import type { PullerPod } from '../pods/puller-pod-status.ts';
import { hadFailed } from './failed-before.ts';
import type { ImageAbsences } from './image-absence.ts';
import { countImage } from './image-counts.ts';
import {
  isWorthKeeping,
  type JudgedNode,
  type Judgements,
  judgeNode,
  lacksAll,
  type WantedImages,
  wantedImages,
} from './judged-node.ts';
import { canNeverPreload, noNodesUntil } from './no-nodes.ts';
import {
  countRunning,
  failuresOf,
  hanging,
  isHanging,
  isOut,
  nodeTimeout,
  type OpenNode,
  openNode,
  worthAsking,
} from './open-node.ts';
import { LEAVE_REASONS, type NodeFailure, type Outcome } from './outcome.ts';
import type { PullTimes } from './pull-times.ts';
import { type Refusals, refusalsOf } from './refusals.ts';
import { runningSince, type Slot } from './slot.ts';
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
  /** What the rollout waits for besides its images. */
  readonly awaited?: Awaited | undefined;
  /** ms since the epoch, when the approval or the time came that the rollout waited for; undefined if it waits for none. */
  readonly allowedAt?: number | undefined;
  readonly times: PullTimes;
  readonly now: number;
  /** Of the same preload. Undefined: what was pulled is believed to be there for as long as its pod is. */
  readonly absences?: ImageAbsences;
  /** Of the same preload: read, and brought up to date. The answer is the same without, but for `newlyReady`. */
  readonly judged?: Judgements;
}

/** How far the preload is. */
export interface Progress {
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
  /** The deadline has passed, whatever the outcome. */
  readonly overdue: boolean;
}

/** What to do next. */
export interface Plan {
  /** Pulls to start, the most important first. */
  readonly wanted: readonly WantedPull[];
  /** Pulls under way. */
  readonly running: number;
  readonly remove: readonly PullerPod[];
  /** Pulls that still run although the time for one node is over, and when it was. */
  readonly timedOut: readonly TimedOutPull[];
  /** Pods that take so long that their events should be read: they may not have come to the pull at all. */
  readonly creating: readonly PullerPod[];
  /** ms since the epoch when time alone changes the assessment. */
  readonly wakeAt: number | undefined;
}

export interface Assessment {
  /** As in the input. */
  readonly allowedAt?: number | undefined;
  readonly awaited?: Awaited | undefined;
  readonly outcome: Outcome;
  readonly progress: Progress;
  readonly plan: Plan;
}

/** Decides what to do next for one preload. Pure: pods and nodes contain all state, so any process can continue. */
export function assess(input: AssessInput): Assessment {
  const { preload, times, now } = input;
  const wantedOf = wantedImages(preload.spec.images, input.podsOf);
  const { nodes, newlyReady } = judgeAll(input, wantedOf);
  // Ready nodes do not leave.
  const anyReady = nodes.some(({ ready }) => ready);
  const open = nodes.filter(({ settled }) => !settled).map((node) => openNode(input, node, anyReady));
  const gone = new Set(open.filter(({ left }) => left !== undefined).map(({ name }) => name));
  const staying = nodes.filter(({ node }) => !gone.has(node.name));
  const began = Math.max(lastReadyAt(input, nodes), input.allowedAt ?? 0);
  const deadline = began + preload.spec.deadlineSeconds * 1000;
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
  const outcome = ((): Outcome => {
    if (input.notPreloadable !== undefined)
      return { kind: 'release', reason: 'NotPreloadable', message: input.notPreloadable };
    if (staying.length === 0) {
      const reason = 'NoEligibleNodes';
      const until = noNodesUntil(noNodes);
      if (now < until) return { kind: 'wait', reason, until };
      return { kind: 'release', reason, never: canNeverPreload(input) };
    }
    if (ready >= Math.max(1, required)) return { kind: 'release', reason: 'Ready' };
    const definitive = failures.find((failure) => failure.definitive && refusals.final.has(failure.image));
    if (definitive !== undefined) return { kind: 'fail', reason: definitive.reason, failure: definitive };
    // While an approval or a time is awaited, nothing is late.
    if (now < deadline || (input.awaited !== undefined && ready === 0))
      return { kind: 'wait', reason: 'Preloading' };
    if (ready > 0) return { kind: 'release', reason: 'DeadlineExceeded' };
    return { kind: 'fail', reason: 'DeadlineExceeded', failure: failures[0] };
  })();

  const touched = nodes.filter((node) => !lacksAll(node, wantedOf));
  const due = wakeTimes(pulls, open, refusals);
  due.push(staying.length === 0 ? noNodesUntil(noNodes) : deadline);
  const awaitedAt = input.awaited && lookAgainAt(input.awaited, now);
  if (awaitedAt !== undefined) due.push(awaitedAt);
  for (const { againAt } of nodes) if (againAt !== undefined) due.push(againAt);
  const future = due.filter((time) => time > now);

  return {
    allowedAt: input.allowedAt,
    awaited: input.awaited,
    outcome,
    progress: {
      ...{ desired, required, ready, newlyReady, failures },
      pulling: open.filter(({ pulling, left }) => pulling && left === undefined).length,
      failed: open.filter(({ failed, name }) => failed || hangs.has(name)).length,
      excluded: withUncounted(
        input.excluded,
        open,
        counted === staying ? [] : staying.filter((node) => isLater(preload, node)),
      ),
      late: counted.find((node) => !node.ready)?.node.name,
      images: preload.spec.images.map((image, index) => countImage(image, index, touched)),
      overdue: now >= deadline,
    },
    plan: {
      wanted: input.notPreloadable === undefined ? wantedPulls(pulls, nodes, open, refusals) : [],
      running: open.reduce((sum, { slots }) => sum + countRunning(slots), 0),
      remove: open.flatMap(({ remove }) => remove),
      timedOut,
      creating: open.flatMap(({ slots }) => slots.flatMap((slot) => worthAsking(input, slot))),
      wakeAt: future.length === 0 ? undefined : Math.min(...future),
    },
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
  for (const reason of LEAVE_REASONS) {
    const gone = open.filter(({ left }) => left === reason);
    if (gone[0] !== undefined) counts.push({ reason, count: gone.length, node: gone[0].name });
  }
  return counts;
}
