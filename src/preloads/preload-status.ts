import { approveCommand, describeAwaited } from '../api/approval.ts';
import {
  type Condition,
  DIGESTS_LIMIT,
  DIVERGED_IMAGES_LIMIT,
  EMPTY_STATUS,
  FAILURES_LIMIT,
  type ImagePreload,
  type ImagePreloadStatus,
  type ImageStatus,
  imageNames,
  type PreloadPhase,
} from '../api/image-preload.ts';
import type { Activity } from './activity.ts';
import type { Assessment, Progress } from './assess/assess.ts';
import { describeDivergence } from './assess/image-divergence.ts';
import type { NodeFailure, Outcome } from './assess/outcome.ts';
import { describeExcluded } from './nodes/eligible-nodes.ts';
import { describeFailure } from './pods/pull-failure.ts';
import { SERVED_LIMITS } from './served-preloads.ts';

export interface StatusInput {
  readonly preload: ImagePreload;
  readonly assessment: Assessment;
  readonly activity: Activity;
  /** ms since the epoch. */
  readonly now: number;
}

/** The whole status of one that is needed, times kept from the one before where nothing changed. */
export function preloadStatus({ preload, assessment, activity, now }: StatusInput): ImagePreloadStatus {
  const before = preload.status;
  const time = rfc3339(now);
  const ended = activity === 'standalone' && isAnswered(assessment);
  const { progress } = assessment;
  const { phase, reason, message } = withAwaited(summary(assessment), assessment, preload);
  const condition = (type: string, value: Condition['status'], why: string, text: string): Condition => {
    const same = before?.conditions.find((old) => old.type === type && old.status === value);
    // Kept over a new reason too, as the API conventions ask: it is the time of the status.
    const keeps = same !== undefined && (same.reason === why || type !== 'Progressing');
    return {
      type,
      status: value,
      observedGeneration: preload.generation,
      lastTransitionTime: keeps ? same.lastTransitionTime : time,
      reason: why,
      message: text,
    };
  };
  const ready = assessment.outcome.reason === 'Ready';
  const degraded = degradation(progress);
  const [release, releaseReason] = releaseStatus(assessment.outcome);
  // One that a rollout waits for again has not finished.
  const finishedAt = ended ? (before?.finishedAt ?? time) : undefined;
  return {
    phase,
    ready: `${progress.ready}/${progress.desired}`,
    imageNames: imageNames(preload),
    desiredNodes: progress.desired,
    readyNodes: progress.ready,
    pullingNodes: progress.pulling,
    failedNodes: progress.failed,
    excluded: progress.excluded.map(({ reason: why, count }) => ({ reason: why, count })),
    images: imageStatuses(progress),
    failures: progress.failures
      .slice(0, FAILURES_LIMIT)
      .map(({ node, image, reason: why, message: text }) => ({ node, image, reason: why, message: text })),
    conditions: [
      condition('Ready', ready ? 'True' : 'False', reason, message),
      condition(RELEASE_ALLOWED, release, releaseReason, message),
      condition(
        'Progressing',
        ready || ended ? 'False' : 'True',
        progressReason(assessment.outcome),
        message,
      ),
      condition('Failed', assessment.outcome.kind === 'fail' ? 'True' : 'False', reason, message),
      condition(
        'Degraded',
        degraded === undefined ? 'False' : 'True',
        degraded?.reason ?? 'AsExpected',
        degraded?.message ?? 'no pull is failing',
      ),
    ],
    startedAt: before?.startedAt ?? time,
    ...(finishedAt !== undefined && { finishedAt }),
  };
}

/** An approval can be given while the nodes still pull, so the message names it from the start. The phase is that of the pulls until then. */
function withAwaited(
  words: ReturnType<typeof summary>,
  { awaited, outcome }: Assessment,
  { namespace, owner }: ImagePreload,
): ReturnType<typeof summary> {
  if (awaited === undefined || owner === undefined || outcome.kind === 'fail') return words;
  const command = approveCommand(awaited, { namespace, name: owner.name });
  const parts = [words.message, describeAwaited(awaited), command];
  const message = parts.filter((part) => part !== undefined).join('; ');
  if (outcome.kind === 'wait') return { ...words, message };
  return { ...words, phase: awaited.kind === 'Approval' ? 'WaitingForApproval' : 'WaitingForTime', message };
}

/** The condition that carries the outcome: `True` allows the release, `False` rules it out for now, and `Unknown` means wait. */
export const RELEASE_ALLOWED = 'ReleaseAllowed';

function releaseStatus(outcome: Outcome): [Condition['status'], string] {
  if (outcome.kind === 'wait') return ['Unknown', outcome.reason];
  return [outcome.kind === 'release' ? 'True' : 'False', outcome.reason];
}

function imageStatuses({ images }: Progress): ImageStatus[] {
  let diverged = 0;
  return images.map(({ digests, digestNodes, ...image }) => {
    if (digestNodes !== undefined) diverged += 1;
    const told = diverged > DIVERGED_IMAGES_LIMIT ? undefined : digestNodes?.slice(0, DIGESTS_LIMIT);
    return { ...image, digests: digests.slice(0, DIGESTS_LIMIT), ...(told && { digestNodes: told }) };
  });
}

/** What is wrong, a pull that fails before all else. */
function degradation({ failures, images }: Progress): { reason: string; message: string } | undefined {
  const [failure] = failures;
  if (failure !== undefined) {
    return { reason: failure.reason, message: wordsOf(failure) };
  }
  for (const { image, digestNodes } of images) {
    if (digestNodes !== undefined) {
      return { reason: 'ImageDiverged', message: describeDivergence(image, digestNodes) };
    }
  }
  return undefined;
}

/** What is left of a status once nothing needs the preload any more: how far it came, and when that was. */
export function endedStatus(last: ImagePreloadStatus, activity: Activity, now: number): ImagePreloadStatus {
  const time = rfc3339(now);
  const wasReady = last.conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  const phase = activity === 'finished' || wasReady ? 'Finished' : 'Superseded';
  // It no longer pulls, so its conditions may not say that it does.
  const words = last.phase === 'Preloading' ? endedWords(last, phase) : {};
  return {
    ...last,
    phase,
    pullingNodes: 0,
    conditions: last.conditions.map((condition) => {
      const now = condition.type === 'Degraded' ? condition : { ...condition, ...words };
      return now.type === 'Progressing' && now.status !== 'False'
        ? { ...now, status: 'False', lastTransitionTime: time }
        : now;
    }),
    finishedAt: last.finishedAt ?? time,
  };
}

function endedWords(
  { readyNodes, desiredNodes, failures: [failing] }: ImagePreloadStatus,
  phase: PreloadPhase,
): Pick<Condition, 'reason' | 'message'> {
  const count = `${readyNodes} of ${desiredNodes} nodes had every image when the preload was no longer needed`;
  return failing === undefined
    ? { reason: phase, message: count }
    : { reason: failing.reason, message: `${count}; ${wordsOf(failing)}` };
}

/** The status of one that asks for more than the gate carries. */
export function refusedStatus(preload: ImagePreload, why: string, now: number): ImagePreloadStatus {
  const message = `nothing is preloaded: ${why}`;
  return { ...idleStatus(preload, 'LimitExceeded', message, now), finishedAt: rfc3339(now) };
}

/** The reason of a preload in a namespace without a mode. */
export const NOT_SERVED = 'NotServed';

/** The status of one that nothing is done for, until its namespace opts in. */
export function unservedStatus(
  preload: Pick<ImagePreload, 'namespace' | 'generation'>,
  now: number,
): ImagePreloadStatus {
  return idleStatus(preload, NOT_SERVED, unservedMessage(preload), now);
}

export function unservedMessage({ namespace }: Pick<ImagePreload, 'namespace'>): string {
  return `nothing is preloaded: the namespace ${namespace} has no label pullgate.io/mode`;
}

function idleStatus(
  preload: Pick<ImagePreload, 'generation'>,
  reason: string,
  message: string,
  now: number,
): ImagePreloadStatus {
  const time = rfc3339(now);
  const condition = (type: string, status: 'True' | 'False'): Condition => ({
    type,
    status,
    observedGeneration: preload.generation,
    lastTransitionTime: time,
    reason,
    message,
  });
  return {
    ...EMPTY_STATUS,
    phase: 'Failed',
    conditions: [
      condition('Ready', 'False'),
      condition('Progressing', 'False'),
      condition('Failed', 'True'),
      condition('Degraded', 'True'),
    ],
    startedAt: time,
  };
}

/** The status of one that waits for others of its namespace. It has no `startedAt`. */
export function waitingStatus(preload: ImagePreload, now: number): ImagePreloadStatus {
  const condition = (type: string, status: 'True' | 'False', message: string): Condition => ({
    type,
    status,
    observedGeneration: preload.generation,
    lastTransitionTime: rfc3339(now),
    reason: WAITING_REASON,
    message,
  });
  return {
    ...EMPTY_STATUS,
    imageNames: preload.trimmed?.imageNames ?? imageNames(preload),
    conditions: [
      condition('Ready', 'False', WAITING_MESSAGE),
      condition('Progressing', 'True', WAITING_MESSAGE),
      condition('Degraded', 'False', 'no pull is failing'),
    ],
  };
}

/** Whether the status says already that it waits for others. */
export function isReportedWaiting({ status }: ImagePreload): boolean {
  return (
    status?.conditions.some(({ type, reason }) => type === 'Ready' && reason === WAITING_REASON) ?? false
  );
}

const WAITING_REASON = 'WaitingForOthers';
const WAITING_MESSAGE =
  `Pullgate serves at most ${SERVED_LIMITS.preloads} ImagePreloads of a namespace at a time (fewer if they have many images): ` +
  'first those that a rollout waits for, then the oldest. This one begins when others finish or are deleted';

/** One made by hand ends as soon as there is an answer; a failing one is tried until its deadline. */
function isAnswered({ outcome, progress }: Assessment): boolean {
  if (outcome.kind === 'wait') return false;
  return outcome.kind === 'release' || progress.overdue;
}

/** Since when there has been no eligible node, as the status has it: a restart must not begin to count anew. */
export function noNodesSince(preload: ImagePreload): number | undefined {
  const progressing = preload.status?.conditions.find(({ type }) => type === 'Progressing');
  // One that has ended keeps the reason, and no longer waits.
  if (progressing?.reason !== NO_NODES_REASON || progressing.status !== 'True') return undefined;
  const since = Date.parse(progressing.lastTransitionTime);
  return Number.isNaN(since) ? undefined : Math.max(since, preload.createdAt);
}

const NO_NODES_REASON = 'NoEligibleNodes';

function progressReason({ kind, reason }: Outcome): string {
  return kind === 'fail' ? 'Failed' : reason;
}

function summary({ outcome, progress }: Assessment): {
  phase: PreloadPhase;
  reason: string;
  message: string;
} {
  const { ready, desired, required, pulling, failed, failures } = progress;
  const count = `${ready} of ${desired} nodes have every image`;
  const [failing] = failures;
  const why = failing === undefined ? '' : `; ${wordsOf(failing)}`;
  const { reason } = outcome;
  switch (reason) {
    case 'Preloading': {
      const phase = ready + pulling + failed === 0 ? 'Pending' : 'Preloading';
      return { phase, reason: failing?.reason ?? 'Pulling', message: `${count}, ${pulling} pulling${why}` };
    }
    case 'Ready':
      return {
        phase: 'Ready',
        reason: ready === desired ? 'AllNodesReady' : 'EnoughNodesReady',
        message: ready === desired ? count : `${count}, ${required} were required`,
      };
    case 'DeadlineExceeded':
      return { phase: 'Failed', reason, message: `the deadline has passed: ${count}${why}` };
    case 'NotPreloadable':
      return { phase: 'Finished', reason, message: outcome.message };
    case 'NoEligibleNodes': {
      const left = describeExcluded(progress.excluded);
      const message = left === '' ? 'no node is eligible' : `no node is eligible: ${left}`;
      return { phase: 'Pending', reason, message };
    }
    default:
      return { phase: 'Failed', reason, message: `${count}; ${wordsOf(outcome.failure)}` };
  }
}

function wordsOf({ node, image, message }: Pick<NodeFailure, 'node' | 'image' | 'message'>): string {
  return `${node}: ${describeFailure(image, message)}`;
}

/** In seconds, as other controllers write them. */
function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
