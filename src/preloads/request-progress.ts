import { resolveCountOrPercent } from '../api/count-or-percent.ts';
import type { ImagePreload } from '../api/image-preload.ts';
import type { PreloadProgress } from '../api/preload-progress.ts';
import { describeFailure, recordedFailure } from './pods/pull-failure.ts';
import { RELEASE_ALLOWED } from './preload-status.ts';

export const STALE: PreloadProgress = {
  outcome: { kind: 'stale' },
  readyNodes: 0,
  desiredNodes: 0,
  elapsedSeconds: 0,
  remainingSeconds: undefined,
};

export const UNANSWERED: PreloadProgress = { ...STALE, outcome: { kind: 'unanswered' } };

export const CROWDED: PreloadProgress = { ...STALE, outcome: { kind: 'crowded' } };

export function failed(message: string): PreloadProgress {
  return { ...STALE, outcome: { kind: 'fail', message } };
}

/**
 * Reads the progress from the status alone, so that any replica can tell. While the Deployment serves nothing, one ready node is
 * enough.
 */
export function requestProgress(preload: ImagePreload, now: number, nothingServes = false): PreloadProgress {
  const { status, createdAt } = preload;
  const outcome = outcomeOf(preload);
  const isEnough = nothingServes && outcome.kind === 'wait' && (status?.readyNodes ?? 0) > 0;
  const failure = status?.failures[0];
  return {
    ...(failure !== undefined && {
      trouble: `${failure.node}: ${describeFailure(failure.image, failure.message)}`,
    }),
    outcome: isEnough
      ? { kind: 'release', message: 'no pod of this Deployment is ready, and a node has the images' }
      : outcome,
    readyNodes: status?.readyNodes ?? 0,
    desiredNodes: status?.desiredNodes ?? 0,
    elapsedSeconds: Math.max(0, now - createdAt) / 1000,
    remainingSeconds: remainingSeconds(preload),
  };
}

/** A status without the condition was written by an earlier version. The leader replaces that status within moments. */
function outcomeOf({ status }: ImagePreload): PreloadProgress['outcome'] {
  const stored = status?.conditions.find(({ type }) => type === RELEASE_ALLOWED);
  if (stored?.status === 'True') return { kind: 'release', message: stored.message };
  if (stored?.status !== 'False') return { kind: 'wait' };
  const isPullFailure = recordedFailure(stored.reason, '') !== undefined;
  return { kind: 'fail', message: isPullFailure ? `${stored.message} (${stored.reason})` : stored.message };
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
