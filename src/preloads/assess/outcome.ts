import type { PullFailureReason } from '../pods/failure-reasons.ts';
import type { Failure } from '../pods/pull-failure.ts';

/** Why a node no longer counts. A node that refuses the pod leaves at once; the others leave once another node is ready. */
export const LEAVE_REASONS = ['NodeRefusesPod', 'PullFailed', 'PullTimedOut'] as const;
export type LeaveReason = (typeof LEAVE_REASONS)[number];

/** Why a release does not wait for an eligible node. `npm run docs` writes this to docs/reference/failures.md. */
export const UNCOUNTED_REASONS: Readonly<Record<LeaveReason | 'JoinedLater', string>> = {
  NodeRefusesPod: 'The node refuses the puller pod: see above.',
  PullFailed: 'Three attempts of the node have failed over 2 minutes, and another node is ready.',
  PullTimedOut: 'The node is still pulling after `--node-timeout-seconds`, and another node is ready.',
  JoinedLater: 'The Node object is newer than the ImagePreload. The node gets the images as well.',
};

/** The failure of one image on one node. */
export interface NodeFailure extends Failure {
  readonly node: string;
  readonly image: string;
  /** Set once the node no longer counts. */
  readonly left?: LeaveReason;
}

/**
 * What follows from everything that is known about a preload for the rollout that waits for it. `assess` decides it once. The
 * controllers, the status, the Events and mode reject act on it, and none of them derives it again.
 *
 * - `wait`: nodes are still pulling, or no node is eligible yet.
 * - `release`: the rollout may start. `Ready`: as many nodes as required have every image. `DeadlineExceeded`: the deadline has passed
 *   with a ready node. `NoEligibleNodes`: no node is eligible, and waiting longer is pointless. `NotPreloadable`: a puller pod would
 *   do more than pull, so nothing can be promised.
 * - `fail`: waiting is pointless until somebody does something. Either every node that was asked gives the same definitive answer, or
 *   the deadline has passed without a ready node: `failure` is then the first failure, if there is one.
 */
export type Outcome =
  | { readonly kind: 'wait'; readonly reason: 'Preloading' }
  | {
      readonly kind: 'wait';
      readonly reason: 'NoEligibleNodes';
      /** In ms since the epoch. */
      readonly until: number;
    }
  | { readonly kind: 'release'; readonly reason: 'Ready' | 'DeadlineExceeded' }
  | {
      readonly kind: 'release';
      readonly reason: 'NoEligibleNodes';
      /** No node could ever be preloaded for these pods. */
      readonly never: boolean;
    }
  | { readonly kind: 'release'; readonly reason: 'NotPreloadable'; readonly message: string }
  | { readonly kind: 'fail'; readonly reason: PullFailureReason; readonly failure: NodeFailure }
  | { readonly kind: 'fail'; readonly reason: 'DeadlineExceeded'; readonly failure: NodeFailure | undefined };
