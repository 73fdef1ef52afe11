import { resolveCountOrPercent } from '../hold/count-or-percent.ts';
import type { PreloadProgress } from '../hold/preload-progress.ts';
import type { Condition, ImagePreload } from './image-preload.ts';
import { noNodesUntil } from './no-nodes.ts';
import { NOT_PRELOADABLE, noNodesSince } from './preload-status.ts';
import { recordedFailure, wordsAbout } from './pull-failure.ts';
import type { PullTimes } from './pull-times.ts';

export const STALE: PreloadProgress = {
  verdict: { kind: 'stale' },
  readyNodes: 0,
  desiredNodes: 0,
  elapsedSeconds: 0,
  remainingSeconds: undefined,
};

export const UNANSWERED: PreloadProgress = { ...STALE, verdict: { kind: 'unanswered' } };

export function failed(reason: string): PreloadProgress {
  return { ...STALE, verdict: { kind: 'failed', reason } };
}

/**
 * Reads the progress from the status alone, so that any replica can tell. While the Deployment serves nothing, one ready node is
 * enough.
 */
export function requestProgress(
  preload: ImagePreload,
  times: PullTimes,
  now: number,
  nothingServes = false,
): PreloadProgress {
  const { status, createdAt } = preload;
  const verdict = verdictOf(preload, times, now);
  const isEnough = nothingServes && verdict.kind === 'waiting' && (status?.readyNodes ?? 0) > 0;
  const failure = status?.failures[0];
  return {
    ...(failure !== undefined && {
      trouble: `${failure.node}: ${wordsAbout(failure.image, failure.message)}`,
    }),
    verdict: isEnough
      ? { kind: 'ready', reason: 'no pod of this Deployment is ready, and a node has the images' }
      : verdict,
    readyNodes: status?.readyNodes ?? 0,
    desiredNodes: status?.desiredNodes ?? 0,
    elapsedSeconds: Math.max(0, now - createdAt) / 1000,
    remainingSeconds: remainingSeconds(preload),
  };
}

function verdictOf(preload: ImagePreload, { noNodesMs }: PullTimes, now: number): PreloadProgress['verdict'] {
  const { status } = preload;
  const ready = condition(status?.conditions, 'Ready');
  if (status === undefined || ready === undefined) return { kind: 'waiting' };
  if (ready.status === 'True') return { kind: 'ready', reason: ready.message };
  if (ready.reason === NOT_PRELOADABLE) return { kind: 'ready', reason: ready.message };
  const since = noNodesSince(preload);
  if (since !== undefined) {
    return now >= noNodesUntil({ preload, excluded: status.excluded, since, noNodesMs })
      ? { kind: 'ready', reason: 'no node is eligible, so none can be preloaded' }
      : { kind: 'waiting' };
  }
  if (status.phase !== 'Failed') return { kind: 'waiting' };
  if (recordedFailure(ready.reason, '')?.definitive) {
    return { kind: 'failed', reason: `${ready.message} (${ready.reason})` };
  }
  // The deadline has passed.
  return status.readyNodes > 0
    ? { kind: 'ready', reason: ready.message }
    : { kind: 'failed', reason: ready.message };
}

/**
 * At most about that long, as the slowest node so far took for its pull, for each wave that is left. Undefined before
 * a node is ready: nothing has been shown then.
 */
function remainingSeconds({ spec, status }: ImagePreload): number | undefined {
  const slowest = (status?.images ?? []).flatMap((image) => image.slowest?.seconds ?? []);
  if (status === undefined || status.readyNodes === 0 || slowest.length === 0) return undefined;
  const missing = resolveCountOrPercent(spec.minNodes, status.desiredNodes) - status.readyNodes;
  const waves = Math.ceil(missing / Math.max(1, status.pullingNodes));
  // One image after the other, as kubelets pull.
  const each = slowest.reduce((sum, seconds) => sum + seconds, 0);
  return Math.max(0, waves * each);
}

function condition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((entry) => entry.type === type);
}
