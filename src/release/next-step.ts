import type { Deployment } from '../hold/deployment.ts';
import { type Hold, parseHold } from '../hold/hold.ts';
import { imagesToPull } from '../hold/needs-pull.ts';
import { HELD_LABEL, HOLD_ANNOTATION, MODE_LABEL, MODE_OFF } from '../names.ts';
import type { Assessment } from '../preload/assess.ts';
import { wordsAbout } from '../preload/pull-failure.ts';
import { templateHash } from '../template/template-hash.ts';
import { pausedAfterHold } from './release-patch.ts';

export interface NextStepInput {
  readonly deployment: Deployment;
  /** The namespace's mode label; undefined if it has none. */
  readonly mode: string | undefined;
  /** Of the preload for the stored template; undefined until there is one. */
  readonly assessment: Assessment | undefined;
}

/** Why a hold is taken off. */
export type ReleaseReason = 'Ready' | 'DeadlineExceeded' | 'NoEligibleNodes' | 'OptedOut' | 'Reverted';
/** Why a hold that is none is dropped. */
export type DropReason = 'Foreign' | 'Unreadable' | 'Resumed';

/**
 * The one thing to do next about a Deployment.
 * - `preload`: see that the ImagePreload for the stored template exists.
 * - `fail` / `recover`: make a waiting `kubectl rollout status` fail, or wait again.
 */
export type NextStep =
  | { readonly step: 'nothing' }
  | { readonly step: 'drop'; readonly reason: DropReason; readonly paused: boolean }
  | {
      readonly step: 'release';
      readonly reason: ReleaseReason;
      readonly hold: Hold;
      readonly paused: boolean;
    }
  | { readonly step: 'preload'; readonly hold: Hold }
  | { readonly step: 'fail'; readonly message: string }
  | { readonly step: 'recover' };

/** What the gate writes into the condition Progressing begins with this, so that it knows its own. */
export const CONDITION_PREFIX = 'pullgate: ';

/** Pure: looks at what is stored, never at what happened, so it may run at any time and any number of times. */
export function nextStep({ deployment, mode, assessment }: NextStepInput): NextStep {
  if (deployment.deleting) return { step: 'nothing' };
  const annotation = deployment.annotations[HOLD_ANNOTATION];
  if (annotation === undefined) return withoutHold(deployment);

  const hold = parseHold(annotation);
  const paused = pausedAfterHold(deployment);
  if (hold === undefined) return { step: 'drop', reason: 'Unreadable', paused };
  if (hold.uid !== deployment.uid) return { step: 'drop', reason: 'Foreign', paused };
  if (!deployment.paused) return { step: 'drop', reason: 'Resumed', paused: false };
  if (mode !== 'pause' || deployment.labels[MODE_LABEL] === MODE_OFF) {
    return { step: 'release', reason: 'OptedOut', hold, paused };
  }
  // Admission ends such a hold itself; this one was stored while it was away.
  if (!needsPull(deployment, hold)) return { step: 'release', reason: 'Reverted', hold, paused };
  if (assessment === undefined) return { step: 'preload', hold };

  const release = releaseReason(assessment);
  if (release !== undefined) return { step: 'release', reason: release, hold, paused };
  const failure = failureMessage(assessment);
  const ours = failedByUs(deployment);
  if (failure !== undefined) {
    const said = ours && deployment.status.progressing?.message === CONDITION_PREFIX + failure;
    return said ? { step: 'nothing' } : { step: 'fail', message: CONDITION_PREFIX + failure };
  }
  return ours ? { step: 'recover' } : { step: 'nothing' };
}

function needsPull({ template }: Deployment, hold: Hold): boolean {
  return imagesToPull(hold.from, template, templateHash(template)).length > 0;
}

function withoutHold(deployment: Deployment): NextStep {
  if (deployment.labels[HELD_LABEL] !== undefined) {
    return { step: 'drop', reason: 'Unreadable', paused: deployment.paused };
  }
  // The Deployment controller takes the condition back itself, but not while its owner keeps it paused.
  return deployment.paused && failedByUs(deployment) ? { step: 'recover' } : { step: 'nothing' };
}

function releaseReason({ verdict, ready }: Assessment): ReleaseReason | undefined {
  if (verdict.kind === 'Ready') return 'Ready';
  if (verdict.kind === 'NoNodes' && verdict.over) return 'NoEligibleNodes';
  if (verdict.kind === 'Overdue' && ready > 0) return 'DeadlineExceeded';
  return undefined;
}

/** Why a waiting `kubectl rollout status` should fail; undefined as long as waiting makes sense. */
function failureMessage({ verdict, ready, desired }: Assessment): string | undefined {
  // Without the node: as more nodes fail in the same way, the first of them changes.
  if (verdict.kind === 'Failed') return `${wordsAbout(verdict.image, verdict.message)} (${verdict.reason})`;
  if (verdict.kind === 'Overdue') return `the deadline has passed with ${ready} of ${desired} nodes ready`;
  return undefined;
}

function failedByUs({ status }: Deployment): boolean {
  return (
    status.progressing?.reason === 'ProgressDeadlineExceeded' &&
    status.progressing.message.startsWith(CONDITION_PREFIX)
  );
}
