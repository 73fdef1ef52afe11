import type { ImagePreload } from '../../api/image-preload.ts';
import type { ExcludedNodes } from '../nodes/eligible-nodes.ts';

/** What is known when no node is eligible. */
export interface NoNodes {
  readonly preload: Pick<ImagePreload, 'createdAt' | 'spec'>;
  readonly excluded: readonly Pick<ExcludedNodes, 'reason'>[];
  /** Since when no node has been eligible, in ms since the epoch. */
  readonly since: number;
  readonly noNodesMs: number;
  /** See `AssessInput`. */
  readonly allowedAt?: number | undefined;
}

/** A node that the pods select, and that may take pods again without anybody changing the Deployment. */
const PASSING: ReadonlySet<string> = new Set(['NotReady', 'Cordoned', 'Deleting', 'Resources']);
/** A node that the pods select, and on which Pullgate can never preload. */
const NEVER: ReadonlySet<string> = new Set(['OperatingSystem', 'VirtualNode']);
/** A node that the pods do not select. */
const ELSEWHERE: ReadonlySet<string> = new Set(['NodeName', 'NodeSelector', 'NodeAffinity']);

/**
 * Returns whether no node could ever be preloaded for these pods: they select another operating system, or every node that they
 * select is one of another operating system or a virtual one.
 */
export function canNeverPreload({ preload, excluded }: Pick<NoNodes, 'preload' | 'excluded'>): boolean {
  const os = preload.spec.scheduling.nodeSelector?.['kubernetes.io/os'] ?? 'linux';
  if (os !== 'linux') return true;
  const reasons = excluded.map(({ reason }) => reason);
  return (
    reasons.some((reason) => NEVER.has(reason)) &&
    reasons.every((reason) => NEVER.has(reason) || ELSEWHERE.has(reason))
  );
}

/**
 * Returns until when an eligible node is waited for, in ms since the epoch: until the deadline if a node that the pods select is only
 * unavailable, for example because it reboots, and otherwise for as long as nodes that restart one by one may take. A node pool that
 * is scaled from zero would wait for ever, because its autoscaler adds a node only for pods that wait for one.
 */
export function noNodesUntil({ preload, excluded, since, noNodesMs, allowedAt = 0 }: NoNodes): number {
  if (canNeverPreload({ preload, excluded })) return since;
  const soonest = since + noNodesMs;
  if (!excluded.some(({ reason }) => PASSING.has(reason))) return soonest;
  return Math.max(soonest, Math.max(preload.createdAt, allowedAt) + preload.spec.deadlineSeconds * 1000);
}
