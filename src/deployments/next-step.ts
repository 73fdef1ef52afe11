import type { Awaited } from '../api/approval.ts';
import { exceededBound } from '../api/bounds.ts';
import { ownDecisionRecord } from '../api/decision-record.ts';
import type { Deployment } from '../api/deployment.ts';
import { type Hold, ownHold, parseHold, type RunningTemplate } from '../api/hold.ts';
import { imagesToPull, type PullRules } from '../api/images-to-pull.ts';
import { HELD_LABEL, HOLD_ANNOTATION, MODE_LABEL, MODE_OFF, type Mode } from '../api/names.ts';
import { awaitedPreload, preloadName } from '../api/preload-name.ts';
import {
  CONDITION_PREFIX,
  isFailed,
  isFailedByGate,
  isRolloutUnderWay,
  servesNothing,
} from '../api/rollout.ts';
import type { Assessment, Progress } from '../preloads/assess/assess.ts';
import type { Outcome } from '../preloads/assess/outcome.ts';
import { describeFailure } from '../preloads/pods/pull-failure.ts';
import { elide, TEXT_LIMIT } from '../text.ts';
import { pausedAfterHold } from './release-patch.ts';

export interface NextStepInput {
  readonly deployment: Deployment;
  /** Of the namespace; undefined where nobody opted in. */
  readonly mode: Mode | undefined;
  /** What the hold waits for besides its images. */
  readonly awaited?: Awaited | undefined;
  /** Of the preload that `preloadFor` names; undefined until there is one. */
  readonly assessment: Assessment | undefined;
  readonly rules?: PullRules | undefined;
}

/** The ImagePreload that a Deployment should have. */
export interface NeededPreload {
  readonly name: string;
  /** What its images are compared with. */
  readonly from: RunningTemplate;
  /**
   * - `Hold`: the rollout waits for it.
   * - `Audit`, `Ungated`: the rollout is under way without having waited, and the nodes to come profit.
   */
  readonly why: 'Hold' | 'Audit' | 'Ungated';
}

/** Why a hold is taken off. */
export type ReleaseReason =
  | 'Ready'
  | 'DeadlineExceeded'
  | 'NoEligibleNodes'
  | 'NothingServes'
  | 'ScaledToZero'
  | 'OptedOut'
  | 'Reverted'
  | 'NotPreloadable'
  | 'LimitExceeded';
/** Why a hold that does not count is removed. */
export type DropReason = 'Foreign' | 'Unreadable' | 'Resumed' | 'LimitExceeded';

/**
 * The one thing to do next about a Deployment.
 * - `preload`: see that this ImagePreload exists.
 * - `await`: the images are ready, but the rollout also waits for an approval or a time.
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
  | { readonly step: 'preload'; readonly preload: NeededPreload }
  | { readonly step: 'await'; readonly awaited: Awaited; readonly hold: Hold }
  | { readonly step: 'fail'; readonly message: string }
  | { readonly step: 'recover' };

/** Modes in which a hold is carried through. `reject` makes none, but takes over those that `pause` has made. */
const HOLDING: ReadonlySet<Mode | undefined> = new Set<Mode>(['pause', 'reject']);

/** Pure: looks at what is stored, never at what happened, so it may run at any time and any number of times. */
export function nextStep(input: NextStepInput): NextStep {
  const { deployment, mode, assessment, rules = {} } = input;
  if (deployment.deleting) return { step: 'nothing' };
  const annotation = deployment.annotations[HOLD_ANNOTATION];
  if (annotation === undefined) return withoutHold(input);

  const hold = parseHold(annotation);
  const paused = pausedAfterHold(deployment);
  if (hold === undefined) {
    const reason = deployment.refused === undefined ? 'Unreadable' : 'LimitExceeded';
    return { step: 'drop', reason, paused };
  }
  if (hold.uid !== deployment.uid) return { step: 'drop', reason: 'Foreign', paused };
  if (!deployment.paused) return { step: 'drop', reason: 'Resumed', paused: false };
  if (!HOLDING.has(mode) || isOff(deployment)) return { step: 'release', reason: 'OptedOut', hold, paused };
  // Admission makes no such hold; an earlier version did.
  if (exceededBound(deployment, hold.from, rules) !== undefined)
    return { step: 'release', reason: 'LimitExceeded', hold, paused };
  // Admission ends such a hold itself; this one was stored while it was away.
  if (!needsPull(deployment, hold, rules)) return { step: 'release', reason: 'Reverted', hold, paused };
  return assessment === undefined
    ? withoutAssessment(deployment, hold)
    : assessedStep(input, assessment, hold);
}

function withoutAssessment(deployment: Deployment, hold: Hold): NextStep {
  const preload = heldFor(deployment, hold);
  return isFailedBefore(deployment, hold, preload) ? { step: 'recover' } : { step: 'preload', preload };
}

function assessedStep({ deployment, awaited }: NextStepInput, assessment: Assessment, hold: Hold): NextStep {
  const { outcome, progress } = assessment;
  const release = releaseReason(deployment, assessment, awaited);
  // The Deployment controller fails no rollout that is paused: what is not the gate's is from before the hold.
  const failed = isFailed(deployment);
  if (release !== undefined) {
    // The other way round, a rollout of an old ReplicaSet would begin with its deadline exceeded.
    return failed
      ? { step: 'recover' }
      : { step: 'release', reason: release, hold, paused: pausedAfterHold(deployment) };
  }
  if (outcome.kind === 'fail') return failStep(deployment, failureMessage(outcome, progress));
  if (failed) return { step: 'recover' };
  return outcome.kind === 'release' && awaited !== undefined
    ? { step: 'await', awaited, hold }
    : { step: 'nothing' };
}

/**
 * Returns whether the Deployment is marked as failed from before this hold. Nobody who waits for the held version must see that,
 * so it does not wait for the first look at the preload.
 */
function isFailedBefore(deployment: Deployment, hold: Hold, { name }: NeededPreload): boolean {
  const { progressing } = deployment.status;
  if (progressing === undefined || !isFailed(deployment)) return false;
  // A refusal of this very preload belongs to this hold, even if the clocks of two replicas differ.
  if (progressing.message.includes(name)) return false;
  // Times of conditions are in whole seconds. Within the second in which it begins, a hold fails only by that refusal.
  return Date.parse(progressing.updatedAt) <= Date.parse(hold.since);
}

/** Makes a waiting `kubectl rollout status` fail with these words, unless it already has. */
export function failStep(deployment: Deployment, words: string): NextStep {
  // Shorter than the text of a condition that is read: the two are compared.
  const message = elide(CONDITION_PREFIX + words, TEXT_LIMIT / 2);
  const said = isFailedByGate(deployment) && deployment.status.progressing?.message === message;
  return said ? { step: 'nothing' } : { step: 'fail', message };
}

/** The ImagePreload that a Deployment should have by what is stored; undefined if it needs none. */
export function preloadFor(
  deployment: Deployment,
  mode: Mode | undefined,
  rules: PullRules = {},
): NeededPreload | undefined {
  const hold = ownHold(deployment);
  if (hold !== undefined) return heldFor(deployment, hold);
  return besideFor(deployment, mode, rules);
}

function heldFor(deployment: Deployment, hold: Hold): NeededPreload {
  return { name: awaitedPreload(deployment, hold), from: hold.from, why: 'Hold' };
}

/** Nothing is known of what ran before: all images of the template are needed. */
const UNKNOWN: RunningTemplate = { template: '', images: {} };
/** The Deployment controller counts from it: a Deployment's creation, which is nobody's to hold. */
const FIRST_REVISION = '1';

function besideFor(
  deployment: Deployment,
  mode: Mode | undefined,
  rules: PullRules,
): NeededPreload | undefined {
  const needed = neededBeside(deployment, mode, rules);
  if (needed === undefined) return undefined;
  return exceededBound(deployment, needed.from, rules) === undefined ? needed : undefined;
}

/** Returns why there is no preload for a rollout that began without the gate being asked; undefined if there is one to make. */
export function exceededBeside(
  deployment: Deployment,
  mode: Mode | undefined,
  rules: PullRules,
): string | undefined {
  if (deployment.annotations[HOLD_ANNOTATION] !== undefined) return undefined;
  const needed = neededBeside(deployment, mode, rules);
  return needed === undefined ? undefined : exceededBound(deployment, needed.from, rules);
}

/** Returns the preload for a rollout that is in progress without having been held: in mode audit, or ungated. */
function neededBeside(
  deployment: Deployment,
  mode: Mode | undefined,
  rules: PullRules,
): NeededPreload | undefined {
  const { revision, refused } = deployment;
  if (mode === undefined || isOff(deployment) || !isRolloutUnderWay(deployment)) return undefined;
  if (revision === '' || revision === FIRST_REVISION) return undefined;
  const hash = deployment.templateHash;
  const decided = ownDecisionRecord(deployment);
  const asked = decided?.template === hash;
  if (asked && decided.decision !== 'Audited') return undefined;
  if (refused === undefined && imagesToPull(UNKNOWN, deployment.template, hash, rules).length === 0)
    return undefined;
  return { name: preloadName(deployment, hash), from: UNKNOWN, why: asked ? 'Audit' : 'Ungated' };
}

function isOff({ labels }: Deployment): boolean {
  return labels[MODE_LABEL] === MODE_OFF;
}

function needsPull({ template, templateHash }: Deployment, hold: Hold, rules: PullRules): boolean {
  return imagesToPull(hold.from, template, templateHash, rules).length > 0;
}

function withoutHold({ deployment, mode, assessment, rules = {} }: NextStepInput): NextStep {
  if (deployment.labels[HELD_LABEL] !== undefined) {
    return { step: 'drop', reason: 'Unreadable', paused: pausedAfterHold(deployment) };
  }
  // The Deployment controller takes the condition back itself, but not while its owner keeps it paused.
  if (deployment.paused) return isFailedByGate(deployment) ? { step: 'recover' } : { step: 'nothing' };
  const preload = besideFor(deployment, mode, rules);
  return preload === undefined || assessment !== undefined
    ? { step: 'nothing' }
    : { step: 'preload', preload };
}

/** An approval and a time go before everything that the images and the pods say. */
function releaseReason(
  deployment: Deployment,
  { outcome, progress }: Assessment,
  awaited: Awaited | undefined,
): ReleaseReason | undefined {
  if (awaited !== undefined) return undefined;
  if (outcome.kind === 'release') return outcome.reason;
  if (outcome.kind === 'fail') return undefined;
  // No pod runs, so there is nothing to keep. If the Deployment stayed held, the next scale-up would start pods of the old version.
  if (deployment.replicas === 0) return 'ScaledToZero';
  // The hold would prolong an outage. One node is enough to know that the image exists.
  if (progress.ready > 0 && servesNothing(deployment)) return 'NothingServes';
  return undefined;
}

/**
 * Returns why a waiting `kubectl rollout status` fails. The text does not name the node: as more nodes fail in the same way, the first of
 * them changes.
 */
function failureMessage(
  { reason, failure }: Outcome & { kind: 'fail' },
  { ready, desired }: Progress,
): string {
  const why = failure && describeFailure(failure.image, failure.message);
  if (reason !== 'DeadlineExceeded') return `${why} (${reason})`;
  const count = `the deadline has passed with ${ready} of ${desired} nodes ready`;
  return why === undefined ? count : `${count}; ${why}`;
}
