import { ownDecisionRecord, writeDecisionRecord } from '../api/decision-record.ts';
import { type Deployment, isMarked } from '../api/deployment.ts';
import { ownHold } from '../api/hold.ts';
import { MODE_LABEL, MODE_OFF } from '../api/names.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference } from '../cluster/object-reference.ts';
import { EVENT_LIFE_MS, isExpectedEnd } from './hold-events.ts';
import type { NextStep } from './next-step.ts';

/**
 * Returns the record of the decision, with how the leader ends the hold that it began; undefined if there is no such record. A leader
 * that crashes between the patch and its answer has reported nothing, and the next one knows of the end only by this record.
 */
export function endRecord(
  deployment: Deployment,
  step: NextStep & { readonly step: 'release' | 'drop' },
  now: number,
): string | undefined {
  const decided = ownDecisionRecord(deployment);
  const hold = ownHold(deployment);
  if (step.step === 'drop' || decided?.uid === undefined || hold === undefined) return undefined;
  if (decided.at !== hold.since || decided.template !== hold.template) return undefined;
  return writeDecisionRecord({ ...decided, ended: { reason: step.reason, at: new Date(now).toISOString() } });
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
