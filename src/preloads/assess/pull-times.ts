/** How long is waited for what, in milliseconds. Data, so that a test can live through all of it in seconds. */
export interface PullTimes {
  /** First back-off after a failed attempt; it doubles with each up to the limit. */
  readonly backoffMs: number;
  readonly backoffLimitMs: number;
  /** When an "unauthorized" is asked again, once before each back-off. */
  readonly doubtMs: number;
  /** When a missing tag is asked for again before it is believed to be missing. */
  readonly missingMs: number;
  /** For how long the pull on a node has to fail, and to be tried, before the node is given up. */
  readonly givenUpAfterMs: number;
  /** Without any eligible node for so long there is nothing to wait for. */
  readonly noNodesMs: number;
  /** For how long a container is being created before the pod's events are asked whether it pulls at all. */
  readonly creatingMs: number;
  /** For how long a node that has pulled an image has to lack it in its list before the pull counts no longer. */
  readonly absentMs: number;
}

export const PULL_TIMES: PullTimes = {
  // A tag that is pushed late or a secret that is fixed is found within half a minute at first, and within five minutes
  // always: the limit is the kubelet's own for its pulls (MaxContainerBackOff).
  backoffMs: 30_000,
  backoffLimitMs: 300_000,
  // A kubelet that has not read a new pull secret yet pulls without it (seen right after the secret was made). After this
  // time it has read the secret.
  doubtMs: 2000,
  // A tag that was just pushed may take seconds to reach the registry of another region. A longer wait would report a typo too
  // late.
  missingMs: 5000,
  // Longer than a registry or a node takes to restart; three attempts fit in with the back-off above.
  givenUpAfterMs: 120_000,
  // Waiting longer would deadlock pools that scale from zero: their autoscaler adds a node only for pending pods. Long enough for
  // nodes that restart one by one.
  noNodesMs: 120_000,
  // A sandbox is created in a second or two, and its failure is in an event at once. Most pulls have ended by this time, so they
  // cost no request.
  creatingMs: 10_000,
  // A kubelet reads its images anew every 30 s and reports a change within 10 s. The garbage collector keeps an image for 2 minutes
  // in any case (imageMinimumGCAge).
  absentMs: 120_000,
};
