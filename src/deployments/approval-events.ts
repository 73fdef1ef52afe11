import { type Awaited, approveCommand, describeAwaited } from '../api/approval.ts';
import type { Deployment } from '../api/deployment.ts';
import { type Hold, ownHold } from '../api/hold.ts';
import { templateImages } from '../api/template/template-images.ts';
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
  const images = templateImages(deployment.template)
    .map(({ image }) => image)
    .join(', ');
  const { ready = 0, desired = 0 } = assessment?.progress ?? {};
  const nodes =
    desired === 0 ? `no node is eligible for ${images}` : `${ready} of ${desired} nodes have ${images}`;
  return {
    ...about,
    reason: awaited.kind === 'Approval' ? 'WaitingForApproval' : 'WaitingForTime',
    note: noteEnding(`${nodes}; ${describeAwaited(awaited)}`, approveCommand(awaited, deployment)),
    // A hold whose approval was lost waits anew.
    dedupKey: `${hold.template} ${hold.since} ${awaited.kind === 'Approval' ? awaited.template : awaited.until}`,
  };
}

/** Returns the Event for the approval that a hold records; undefined if it records none. */
export function approvedEvent(deployment: Deployment): GateEvent | undefined {
  const hold = ownHold(deployment);
  if (hold?.approved === undefined || hold.approved.template !== deployment.templateDigest) return undefined;
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
