import { type Awaited, describeTime } from '../api/approval.ts';
import { approve } from '../api/commands.ts';
import type { Deployment } from '../api/deployment.ts';
import { type Hold, ownHold } from '../api/hold.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference, preloadReference } from '../cluster/object-reference.ts';
import type { Assessment } from '../preloads/assess/assess.ts';

/** Returns the Event for a hold whose images are ready, and that waits for an approval or a time. */
export function awaitedEvent(
  deployment: Deployment,
  hold: Hold,
  awaited: Awaited,
  assessment: Assessment | undefined,
): GateEvent {
  const about = {
    type: 'Normal',
    action: 'Await',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, hold.preload),
  } as const;
  const nodes =
    assessment === undefined
      ? 'the images are on the nodes'
      : `${assessment.progress.ready} of ${assessment.progress.desired} nodes have the images`;
  if (awaited.kind === 'Approval')
    return {
      ...about,
      reason: 'WaitingForApproval',
      note: noteEnding(`${nodes}; the rollout waits for an approval`, `approve: ${approve(deployment)}`),
      dedupKey: `${hold.template} ${hold.since}`,
    };
  return {
    ...about,
    reason: 'WaitingForTime',
    note: `${nodes}; ${describeTime(awaited.until)}`,
    dedupKey: `${hold.template} ${hold.since} ${awaited.until}`,
  };
}

/** Returns the Event for the approval that a hold records; undefined if it records none. */
export function approvedEvent(deployment: Deployment): GateEvent | undefined {
  const hold = ownHold(deployment);
  if (hold?.approved === undefined) return undefined;
  const { by, at } = hold.approved;
  return {
    type: 'Normal',
    reason: 'RolloutApproved',
    action: 'Approve',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, hold.preload),
    note: `approved by ${by}`,
    dedupKey: `${hold.template} ${at}`,
  };
}
