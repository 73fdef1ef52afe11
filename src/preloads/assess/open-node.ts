import type { ImagePreload } from '../../api/image-preload.ts';
import type { TimedOutPull } from '../pods/ended-pulls.ts';
import { isDefinitive } from '../pods/failure-reasons.ts';
import type { Failure } from '../pods/pull-failure.ts';
import { type PullerPod, startOf } from '../pods/puller-pod-status.ts';
import { isOfThisBoot, type JudgedNode } from './judged-node.ts';
import type { LeaveReason, NodeFailure } from './outcome.ts';
import type { PullTimes } from './pull-times.ts';
import { isRefused } from './refusals.ts';
import { runningSince, type Slot } from './slot.ts';
import { troubleOf, withMissingSecret } from './slot-trouble.ts';

/** What an open node is judged by; see AssessInput. */
export interface OpenNodeInput {
  readonly preload: Pick<ImagePreload, 'spec'>;
  troubleOf(pod: PullerPod): Failure | undefined;
  readonly times: PullTimes;
  /** ms since the epoch. */
  readonly now: number;
}

/**
 * A node is given up when its pull has failed this often over `givenUpAfterMs`, or still runs when the time for one node is over.
 * Once another node is ready, it no longer counts, so that no release waits for it. Its pull is still retried.
 */
const GIVEN_UP_AFTER_ATTEMPTS = 3;

/** A node that something is going on at: few of thousands. */
export interface OpenNode extends JudgedNode {
  readonly name: string;
  readonly pulling: boolean;
  readonly failed: boolean;
  /** Takes one of the places that parallelism gives. */
  readonly busy: boolean;
  readonly left: LeaveReason | undefined;
}

export function openNode(input: OpenNodeInput, node: JudgedNode, anyReady: boolean): OpenNode {
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
function refusesPod(slot: Slot, { troubleOf }: OpenNodeInput): boolean {
  const { failure } = slot.state === 'failed' ? slot : { failure: undefined };
  const trouble = slot.state === 'pulling' && slot.creating ? troubleOf(slot.creating) : undefined;
  return (failure ?? trouble)?.reason === 'NodeRefusesPod';
}

function reasonToGiveUp(
  slot: Slot,
  input: OpenNodeInput,
): Exclude<LeaveReason, 'NodeRefusesPod'> | undefined {
  if (isHanging(slot, input)) return 'PullTimedOut';
  if (slot.state !== 'failed') return undefined;
  if (slot.timedOut) return 'PullTimedOut';
  if (slot.failedAttempts < GIVEN_UP_AFTER_ATTEMPTS) return undefined;
  return input.now - slot.firstAttemptAt >= input.times.givenUpAfterMs ? 'PullFailed' : undefined;
}

/** Whether the pull says nothing about the image. A node that fails for reasons of its own is no witness for ever. */
export function isOut(slot: Slot, input: OpenNodeInput): boolean {
  if (isHanging(slot, input) || refusesPod(slot, input)) return true;
  if (slot.state === 'failed' && isDefinitive(slot.failure.reason)) return false;
  return reasonToGiveUp(slot, input) !== undefined;
}

export function isHanging(slot: Slot, input: OpenNodeInput): boolean {
  const since = runningSince(slot);
  return since !== undefined && input.now >= since + nodeTimeout(input);
}

/** The pods of the last attempts: the others have failed. */
export function hanging(input: OpenNodeInput, { node, slots, pods }: OpenNode): TimedOutPull[] {
  return slots.flatMap((slot, index) => {
    if (!isHanging(slot, input)) return [];
    const mine = (pods[index] ?? []).filter((pod) => isOfThisBoot(pod, node));
    const last = Math.max(...mine.map(({ attempt }) => attempt));
    return mine
      .filter(({ attempt }) => attempt === last)
      .map((pod) => ({ pod, at: startOf(pod) + nodeTimeout(input) }));
  });
}

export function nodeTimeout(input: OpenNodeInput): number {
  return input.preload.spec.nodeTimeoutSeconds * 1000;
}

/** Pulls under way, retries of failed ones included. */
export function countRunning(slots: readonly Slot[]): number {
  return slots.filter((slot) => runningSince(slot) !== undefined).length;
}

/** The kubelet says of a pull secret that it cannot find only in an event of the pod. */
export function worthAsking({ times, now }: OpenNodeInput, slot: Slot): PullerPod[] {
  if (slot.state === 'failed' && slot.failure.reason === 'Unauthorized') return [slot.pod];
  if (slot.state !== 'pulling' || slot.creating === undefined) return [];
  return now >= slot.since + times.creatingMs ? [slot.creating] : [];
}

const TIMED_OUT: Failure = {
  reason: 'Timeout',
  definitive: false,
  message: 'still pulling when the time for one node was over',
};

export function failuresOf(input: OpenNodeInput, { name, slots, left: reason }: OpenNode): NodeFailure[] {
  const left = reason === undefined ? {} : { left: reason };
  return input.preload.spec.images.flatMap(({ image }, index) => {
    const slot = slots[index];
    if (slot?.state === 'failed') return { node: name, image, ...withMissingSecret(slot, input), ...left };
    if (slot?.state !== 'pulling') return [];
    // Only reported: the kubelet retries on its own, within the time of the pull.
    const trouble = slot.creating && troubleOf(slot.creating, slot.since, input);
    const failure = trouble ?? (isHanging(slot, input) ? TIMED_OUT : undefined);
    return failure === undefined ? [] : { node: name, image, ...failure, ...left };
  });
}
