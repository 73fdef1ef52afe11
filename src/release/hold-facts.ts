import type { EventReason, GateEvent, ObjectRef } from '../cluster/events.ts';
import { type Decided, parseDecided, type RecordedDecision } from '../hold/decided.ts';
import type { Deployment } from '../hold/deployment.ts';
import { parseHold } from '../hold/hold.ts';
import { awaitedPreload } from '../hold/preload-name.ts';
import { API_VERSION, DECIDED_ANNOTATION, HOLD_ANNOTATION, IMAGE_PRELOAD_KIND } from '../names.ts';
import type { NextStep } from './next-step.ts';

/** Events live for an hour (--event-ttl): an older fact was told, and a restart must not tell it again. */
const FACT_LIFE_MS = 3600_000;

const REASONS: Readonly<Record<RecordedDecision, EventReason | undefined>> = {
  Held: 'RolloutHeld',
  Superseded: 'HoldSuperseded',
  Reverted: 'HoldReverted',
  Bypassed: 'HoldBypassed',
  OptedOut: 'GateOptedOut',
  NotNeeded: undefined,
};

/** The Event for what admission decided, as the Deployment itself tells it: admission writes none. */
export function decisionFact(deployment: Deployment, now: number): GateEvent | undefined {
  const decided = parseDecided(deployment.annotations[DECIDED_ANNOTATION]);
  if (decided === undefined || !(now - Date.parse(decided.at) <= FACT_LIFE_MS)) return undefined;
  const reason = REASONS[decided.decision];
  if (reason === undefined) return undefined;
  const preload = parseHold(deployment.annotations[HOLD_ANNOTATION])?.preload;
  return {
    type: decided.decision === 'Bypassed' || decided.decision === 'OptedOut' ? 'Warning' : 'Normal',
    reason,
    action: 'Admit',
    regarding: deploymentReference(deployment),
    ...(preload !== undefined && { related: preloadReference(deployment, preload) }),
    note: decisionNote(decided, deployment, preload),
    fact: `${decided.at} ${decided.template}`,
  };
}

function decisionNote(decided: Decided, { namespace }: Deployment, preload: string | undefined): string {
  const { by, reason } = decided;
  const look = preload === undefined ? '' : `; see kubectl -n ${namespace} get ipl ${preload}`;
  switch (decided.decision) {
    case 'Held':
      return `held until the nodes have ${reason}; asked for by ${by}${look}`;
    case 'Superseded':
      return `${reason}; asked for by ${by}${look}`;
    case 'Reverted':
      return `hold ended by ${by}: ${reason}`;
    case 'Bypassed':
      return `let through by ${by} without waiting: ${reason}`;
    case 'OptedOut':
      return `opted out by ${by}: ${reason}`;
    case 'NotNeeded':
      return reason;
  }
}

/** The Events for a step that was carried out. */
export function stepFacts(deployment: Deployment, step: NextStep, now: number): GateEvent[] {
  const regarding = deploymentReference(deployment);
  if (step.step === 'drop') {
    const reason = 'UngatedRollout';
    const fact = `${deployment.uid} ${deployment.generation} ${step.reason}`;
    const note = DROP_NOTES[step.reason];
    // A copy's or a broken hold was never a rollout of this Deployment: that it is gone is all there is to say.
    const type = step.reason === 'Resumed' ? 'Warning' : 'Normal';
    return [{ type, reason, action: 'Drop', regarding, note, fact }];
  }
  if (step.step !== 'release') return [];
  const { hold } = step;
  const related = preloadReference(deployment, awaitedPreload(deployment, hold));
  const fact = `${hold.template} ${hold.since}`;
  const seconds = Math.round((now - Date.parse(hold.since)) / 1000);
  const released = step.paused ? `; it stays paused, as asked: kubectl rollout resume starts it` : '';
  const facts: GateEvent[] = [];
  const warn = (reason: EventReason, note: string) =>
    facts.push({ type: 'Warning', reason, action: 'Release', regarding, related, note, fact });
  if (step.reason === 'DeadlineExceeded')
    warn('HoldDeadlineExceeded', 'some nodes are ready, the rest is late');
  if (step.reason === 'NoEligibleNodes')
    warn('NoEligibleNodes', 'no node is eligible, so none can be preloaded');
  facts.push({
    type: step.reason === 'Ready' || step.reason === 'Reverted' ? 'Normal' : 'Warning',
    reason: 'RolloutReleased',
    action: 'Release',
    regarding,
    related,
    note: `released after ${seconds} s (${step.reason})${released}`,
    fact,
  });
  return facts;
}

const DROP_NOTES = {
  Foreign: 'a hold made for another Deployment was dropped, and its pause with it',
  Unreadable: 'a hold that cannot be read was dropped, and its pause with it',
  Resumed: 'resumed while the gate was away: the rollout goes on without a preload',
};

function deploymentReference({ namespace, name, uid }: Deployment): ObjectRef {
  return { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name, uid };
}

function preloadReference({ namespace }: Deployment, name: string): ObjectRef {
  return { apiVersion: API_VERSION, kind: IMAGE_PRELOAD_KIND, namespace, name };
}
