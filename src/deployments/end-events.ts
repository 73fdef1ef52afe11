import type { Awaited } from '../api/approval.ts';
import { ownDecisionRecord } from '../api/decision-record.ts';
import { type Deployment, isMarked } from '../api/deployment.ts';
import type { Hold } from '../api/hold.ts';
import { MODE_LABEL, MODE_OFF } from '../api/names.ts';
import { awaitedPreload } from '../api/preload-name.ts';
import { knownFailure } from '../api/rollout.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference, preloadReference } from '../cluster/object-reference.ts';
import { EVENT_LIFE_MS, isExpectedEnd } from './hold-events.ts';

/** The Event for a hold that ends because Pullgate is stopped or uninstalled. */
export function endedEvent({
  deployment,
  hold,
  awaited,
  end,
  now,
}: {
  readonly deployment: Deployment;
  readonly hold: Hold;
  /** What the rollout waited for besides its images. */
  readonly awaited: Awaited | undefined;
  readonly end: 'release' | 'revert';
  readonly now: number;
}): GateEvent {
  const failure = knownFailure(deployment);
  const unavailable =
    failure === undefined ? '' : `; the image of the held version is known to be unavailable: ${failure}`;
  const waited = awaited && (awaited.kind === 'Approval' ? 'an approval' : 'a later time');
  const why = waited === undefined ? unavailable : `; the rollout waited for ${waited}${unavailable}`;
  const seconds = Math.max(0, Math.round((now - Date.parse(hold.since)) / 1000));
  const reverted = `Pullgate stops, so the running pod template was restored after ${seconds} s${why}`;
  return {
    type: 'Warning',
    reason: end === 'revert' ? 'HoldReverted' : 'RolloutReleased',
    action: 'Uninstall',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, awaitedPreload(deployment, hold)),
    note:
      end === 'revert'
        ? noteEnding(
            reverted,
            `apply the new version again${failure === undefined ? '' : ' when its image is available'}`,
          )
        : `Pullgate stops, so the rollout was released after ${seconds} s${why}`,
    dedupKey: `${hold.template} ${hold.since}`,
  };
}

/**
 * Returns the Event for a hold that a leader has ended, from the decision record. The leader itself emits the same Event with a
 * longer note.
 */
export function recordedEndEvents(deployment: Deployment, now: number): GateEvent[] {
  const decided = ownDecisionRecord(deployment);
  const { ended } = decided ?? {};
  // While a Deployment is opted out, anybody who may edit it may have written the record.
  const isOff = deployment.labels[MODE_LABEL] === MODE_OFF;
  if (decided?.uid === undefined || ended === undefined || isMarked(deployment) || isOff) return [];
  const endedAt = Date.parse(ended.at);
  if (Math.abs(now - endedAt) > EVENT_LIFE_MS) return [];
  const seconds = Math.max(0, Math.round((endedAt - Date.parse(decided.at)) / 1000));
  return [
    {
      type: isExpectedEnd(ended.reason) ? 'Normal' : 'Warning',
      reason: 'RolloutReleased',
      action: 'Release',
      regarding: deploymentReference(deployment),
      note: `released after ${seconds} s (${ended.reason})`,
      dedupKey: `${decided.template} ${decided.at}`,
    },
  ];
}
