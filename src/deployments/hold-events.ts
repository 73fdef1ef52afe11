import { exceededBound } from '../api/bounds.ts';
import { describePreload, goBack, letThrough, resume } from '../api/commands.ts';
import { type Decided, ownDecisionRecord, type RecordedDecision } from '../api/decision-record.ts';
import type { Deployment } from '../api/deployment.ts';
import { type Hold, ownHold } from '../api/hold.ts';
import type { PullRules } from '../api/images-to-pull.ts';
import { MODE_LABEL, MODE_OFF, type Mode } from '../api/names.ts';
import { awaitedPreload } from '../api/preload-name.ts';
import { isRolloutFinished, knownFailure } from '../api/rollout.ts';
import { templateImages } from '../api/template/template-images.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { EventKind } from '../cluster/event-reasons.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference, preloadReference } from '../cluster/object-reference.ts';
import type { Assessment } from '../preloads/assess/assess.ts';
import { describeExcluded } from '../preloads/nodes/eligible-nodes.ts';
import { describeFailure } from '../preloads/pods/pull-failure.ts';
import type { DropReason, NeededPreload, NextStep, ReleaseReason } from './next-step.ts';

/** Events live for an hour (--event-ttl): an older one was written, and a restart must not write it again. */
export const EVENT_LIFE_MS = 3600_000;

const KINDS: Readonly<Record<RecordedDecision, EventKind | undefined>> = {
  Held: { reason: 'RolloutHeld', type: 'Normal' },
  Superseded: { reason: 'HoldSuperseded', type: 'Normal' },
  Reverted: { reason: 'HoldReverted', type: 'Normal' },
  Bypassed: { reason: 'HoldBypassed', type: 'Warning' },
  OptedOut: { reason: 'GateOptedOut', type: 'Warning' },
  NotNeeded: undefined,
  Preloaded: { reason: 'RolloutReleased', type: 'Normal' },
  Audited: { reason: 'RolloutAudited', type: 'Normal' },
  LimitExceeded: { reason: 'LimitExceeded', type: 'Warning' },
};

/** Returns the Events for what admission decided, according to the decision record. Admission itself emits none. */
export function decisionEvents(
  deployment: Deployment,
  mode: Mode,
  assessment: Assessment | undefined,
  now: number,
): GateEvent[] {
  const hold = ownHold(deployment);
  const events = hold !== undefined && mode === 'reject' ? [takenOver(deployment, hold)] : [];
  const decided = reportedDecision(deployment, now);
  if (decided === undefined) return events;
  const kind = KINDS[decided.decision];
  if (kind === undefined) return events;
  // Not yet, while the number of nodes that lack the image may still become known.
  if (decided.decision === 'Audited' && assessment === undefined && !isRolloutFinished(deployment))
    return events;
  events.push({
    ...kind,
    action: 'Admit',
    regarding: deploymentReference(deployment),
    ...(hold !== undefined && { related: preloadReference(deployment, hold.preload) }),
    note: decisionNote(decided, deployment, hold, assessment),
    dedupKey: `${decided.at} ${decided.template}`,
  });
  return events;
}

/**
 * Returns the decision for which an Event may name a user: one that admission wrote for this Deployment. While a Deployment is
 * opted out, the webhook is not called, and every user who may edit the Deployment can write any record. So only the record of the
 * opt-out counts then.
 */
function reportedDecision(deployment: Deployment, now: number): Decided | undefined {
  const decided = ownDecisionRecord(deployment);
  if (decided?.uid === undefined || Math.abs(now - Date.parse(decided.at)) > EVENT_LIFE_MS) return undefined;
  const isOff = deployment.labels[MODE_LABEL] === MODE_OFF;
  return isOff && decided.decision !== 'OptedOut' ? undefined : decided;
}

/** Mode reject makes no holds. This hold was made before the namespace had that mode. */
function takenOver(deployment: Deployment, hold: Hold): GateEvent {
  return {
    type: 'Normal',
    reason: 'RolloutHeld',
    action: 'TakeOver',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, hold.preload),
    note: 'still held: the namespace is in mode reject now, but this hold was created before and continues',
    dedupKey: `${hold.template} ${hold.since} reject`,
  };
}

/** Returns the Event for a preload whose rollout started ungated, so that no hold waits for it. */
export function preloadCreatedEvents(deployment: Deployment, { name, why }: NeededPreload): GateEvent[] {
  if (why !== 'Ungated') return [];
  return [
    {
      type: 'Warning',
      reason: 'UngatedRollout',
      action: 'CatchUp',
      regarding: deploymentReference(deployment),
      related: preloadReference(deployment, name),
      note: noteEnding(
        `rollout started while the Pullgate webhook was unavailable; it continues, and the remaining nodes are being preloaded with ${imagesOf(deployment)}`,
        `see kubectl -n ${deployment.namespace} get ipl ${name}`,
      ),
      dedupKey: name,
    },
  ];
}

/** Of the 1 kB of a note: beyond it, words say how to go back. */
const GO_BACK_ROOM = 300;

/** What can be done about a hold. */
function waysOut(deployment: Deployment, hold: Hold): string[] {
  const back = goBack(deployment, hold, deployment.template, GO_BACK_ROOM);
  return [`release it now: ${letThrough(deployment)}`, ...(back === undefined ? [] : [`go back: ${back}`])];
}

function decisionNote(
  decided: Decided,
  deployment: Deployment,
  hold: Hold | undefined,
  assessment: Assessment | undefined,
): string {
  const { by, reason } = decided;
  const next =
    hold === undefined
      ? []
      : [...waysOut(deployment, hold), `see kubectl -n ${deployment.namespace} get ipl ${hold.preload}`];
  switch (decided.decision) {
    case 'Held':
      return noteEnding(`held until the nodes have ${reason}; requested by ${by}`, ...next);
    case 'Superseded':
      return noteEnding(`${reason}; requested by ${by}`, ...next);
    case 'Reverted':
      return `hold ended by ${by}: ${reason}`;
    case 'Bypassed':
      return `released by ${by} without waiting: ${reason}`;
    case 'OptedOut':
      return `opted out by ${by}: ${reason}`;
    case 'Preloaded':
      return `update accepted: ${reason}; requested by ${by}`;
    case 'Audited': {
      const lacking = assessment === undefined ? 0 : assessment.progress.desired - assessment.progress.ready;
      const count =
        lacking === 0 ? '' : `: ${lacking} of ${assessment?.progress.desired} nodes lack the image`;
      return `would have been held for ${reason}${count}; requested by ${by}`;
    }
    case 'LimitExceeded':
      return `${withoutPreload(reason)}; requested by ${by}`;
    case 'NotNeeded':
      return reason;
  }
}

/** The Events for a step that was carried out. */
export function stepEvents(
  deployment: Deployment,
  step: NextStep,
  assessment: Assessment | undefined,
  now: number,
  rules: PullRules = {},
): GateEvent[] {
  const regarding = deploymentReference(deployment);
  if (step.step === 'drop') {
    const { words, ...kind } = DROPS[step.reason];
    const dedupKey = `${deployment.uid} ${deployment.generation} ${step.reason}`;
    const note = `${words}${step.reason === 'LimitExceeded' ? `: ${deployment.refused}` : ''}`;
    return [{ ...kind, action: 'Drop', regarding, note, dedupKey }];
  }
  if (step.step !== 'release') return [];
  const { hold } = step;
  const preload = awaitedPreload(deployment, hold);
  const related = preloadReference(deployment, preload);
  const dedupKey = `${hold.template} ${hold.since}`;
  // The clock of the replica that made the hold may be ahead.
  const seconds = Math.max(0, Math.round((now - Date.parse(hold.since)) / 1000));
  const { namespace } = deployment;
  const events: GateEvent[] = [];
  const add = (kind: EventKind, note: string) =>
    events.push({ ...kind, action: 'Release', regarding, related, note, dedupKey });
  const see = `see ${describePreload({ namespace, name: preload })}`;
  if (step.reason === 'DeadlineExceeded') {
    const back = goBack(deployment, hold, deployment.template, GO_BACK_ROOM);
    const note = noteEnding(describeLate(deployment, assessment), back && `go back: ${back}`, see);
    add({ reason: 'HoldDeadlineExceeded', type: 'Warning' }, note);
  }
  if (step.reason === 'LimitExceeded')
    add(
      { reason: 'LimitExceeded', type: 'Warning' },
      withoutPreload(exceededBound(deployment, hold.from, rules) ?? ''),
    );
  // Without a way back, because that would also wait for nodes.
  // Where no node could ever be preloaded, nothing is wrong.
  const outcome = assessment?.outcome;
  const never = outcome?.kind === 'release' && outcome.reason === 'NoEligibleNodes' && outcome.never;
  if (step.reason === 'NoEligibleNodes') {
    const note = noteEnding(describeNoNodes(deployment, assessment), 'see kubectl get nodes', see);
    add({ reason: 'NoEligibleNodes', type: never ? 'Normal' : 'Warning' }, note);
  }
  const released = noteEnding(
    `released after ${seconds} s (${step.reason})${approvedBy(hold, deployment)}${whyReleased(deployment, step, assessment)}`,
    step.paused ? `it stays paused, as requested; start the rollout: ${resume(deployment)}` : undefined,
  );
  const expected = isExpectedEnd(step.reason) || never;
  add({ reason: 'RolloutReleased', type: expected ? 'Normal' : 'Warning' }, released);
  return events;
}

/** Returns whether a release for this reason leaves nothing to look at. */
export function isExpectedEnd(reason: string): boolean {
  return EXPECTED.has(reason);
}

const EXPECTED: ReadonlySet<string> = new Set<ReleaseReason>(['Ready', 'Reverted', 'ScaledToZero']);

function approvedBy({ approved }: Hold, { templateDigest }: Deployment): string {
  return approved?.template === templateDigest ? `, approved by ${approved?.by}` : '';
}

function whyReleased(
  deployment: Deployment,
  { reason }: { readonly reason: ReleaseReason },
  assessment: Assessment | undefined,
): string {
  switch (reason) {
    case 'NothingServes': {
      const count =
        assessment === undefined
          ? ''
          : `; ${assessment.progress.ready} of ${assessment.progress.desired} nodes have its images`;
      return `: no pod of this Deployment is ready, so its rollout starts now${count}`;
    }
    case 'ScaledToZero':
      return ': no pod is wanted, so the next scale-up starts the new version';
    case 'OptedOut': {
      const failure = knownFailure(deployment);
      return failure === undefined
        ? ''
        : `: the rollout starts although its image is known to be unavailable: ${failure}`;
    }
    case 'Reverted':
      return deployment.templateHash === ownHold(deployment)?.from.template
        ? ''
        : ': the template needs no new image, but differs from the running one; its rollout starts now';
    default:
      return '';
  }
}

function withoutPreload(why: string): string {
  return `continues without a preload: ${why}; each node pulls when a pod starts there`;
}

/** Returns the Event for a rollout that started ungated and that exceeds a limit, so that Pullgate cannot preload for it. */
export function exceededEvent(deployment: Deployment, why: string): GateEvent {
  return {
    type: 'Warning',
    reason: 'LimitExceeded',
    action: 'CatchUp',
    regarding: deploymentReference(deployment),
    note: withoutPreload(why),
    dedupKey: deployment.templateHash,
  };
}

function describeLate(deployment: Deployment, assessment: Assessment | undefined): string {
  if (assessment === undefined) return 'some nodes are ready and the others are late; the rollout starts';
  const { ready, desired, failures, late } = assessment.progress;
  const [first] = failures;
  const why =
    first === undefined
      ? `${late} is still pulling`
      : `${first.node}: ${describeFailure(first.image, first.message)} (${first.reason})`;
  return (
    `the deadline has passed and ${ready} of ${desired} nodes have ${imagesOf(deployment)}; ${why}; ` +
    'the rollout starts, and the remaining nodes pull when their pods start'
  );
}

function describeNoNodes(deployment: Deployment, assessment: Assessment | undefined): string {
  const left = describeExcluded(assessment?.progress.excluded ?? []);
  const why = left === '' ? 'there is none' : `excluded: ${left}`;
  return `no node is eligible to be preloaded with ${imagesOf(deployment)}; ${why}; the rollout starts`;
}

function imagesOf({ template }: Deployment): string {
  return templateImages(template)
    .map(({ image }) => image)
    .join(', ');
}

/** The Event for an ImagePreload that a quota, a policy or a missing right refuses: nothing is being done. */
export function refusedEvent(deployment: Deployment, preload: string, words: string): GateEvent {
  const hold = ownHold(deployment);
  const text = `${words}; no node is preloaded with ${imagesOf(deployment)}, the running version is unchanged`;
  return {
    type: 'Warning',
    reason: 'PreloadFailed',
    action: 'Preload',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, preload),
    note: noteEnding(text, ...(hold === undefined ? [] : waysOut(deployment, hold))),
    // Without the words: they may have another number each time.
    dedupKey: `${preload} refused`,
  };
}

/** The Event for an ImagePreload that cannot be made for now, because the API server or a webhook that it asks does not answer. */
export function unansweredEvent(deployment: Deployment, preload: string, words: string): GateEvent {
  const text = `ImagePreload ${preload} could not be created: ${words}; the request is retried automatically`;
  return { ...refusedEvent(deployment, preload, text), dedupKey: `${preload} unanswered` };
}

/** A copied or broken hold was never a rollout of this Deployment, so the Event only says that it was removed. */
const DROPS: Readonly<Record<DropReason, EventKind & { readonly words: string }>> = {
  Foreign: {
    reason: 'RolloutReleased',
    type: 'Normal',
    words: 'a hold that was copied from another Deployment was removed, together with its pause',
  },
  Unreadable: {
    reason: 'RolloutReleased',
    type: 'Normal',
    words: 'an unreadable hold was removed, together with its pause',
  },
  Resumed: {
    reason: 'UngatedRollout',
    type: 'Warning',
    words: 'resumed while Pullgate was unavailable; the rollout continues without a preload',
  },
  LimitExceeded: {
    reason: 'LimitExceeded',
    type: 'Warning',
    words: 'a hold was removed, together with its pause',
  },
};
