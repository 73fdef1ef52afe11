import { exceededBound, exceededMarks, withRoomForRecord } from '../api/bounds.ts';
import { ownDecisionRecord, type RecordedDecision, writeDecisionRecord } from '../api/decision-record.ts';
import { type Deployment, parseDeployment } from '../api/deployment.ts';
import {
  digestToRestore,
  type Hold,
  ownHold,
  parseHold,
  type RunningTemplate,
  withMarks,
} from '../api/hold.ts';
import { imagesToPull, runningTemplate } from '../api/images-to-pull.ts';
import {
  APPROVED_ANNOTATION,
  BYPASS_ANNOTATION,
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MODE_LABEL,
  MODE_OFF,
  REVERT_ANNOTATION,
} from '../api/names.ts';
import { preloadName } from '../api/preload-name.ts';
import { asObject, at, type JsonObject } from '../json.ts';
import { type ApprovalUpdate, approvalOf, approves, waitsInHold } from './approval.ts';
import type { DecideInput, Decision, DecisionKind } from './decision.ts';
import { forbidden, overLimit, rejection, revertDenial } from './denial.ts';
import { decisionTime, originOf, withStoredMarks } from './restored-marks.ts';

/** One update on its way to a decision. */
interface Update extends ApprovalUpdate {
  readonly input: DecideInput;
  /** The object to decide on: that of the input, its restored marks put back. */
  readonly object: JsonObject;
  /** Whether admission has already decided on this request. */
  readonly isAgain: boolean;
}

/**
 * Decides on one update. Pure: the same input gives the same decision, and deciding again on its own result
 * changes nothing.
 */
export function decide(input: DecideInput): Decision {
  const old = parseDeployment(input.oldObject);
  const came = parseDeployment(input.object);
  const reason = reasonToIgnore(input, came);
  if (reason !== undefined) return plain('Ignored', input.object, reason);

  const origin = originOf(old, came, input.now);
  const at = new Date(decisionTime(old, came, origin, input.now)).toISOString();
  const isAgain = origin === 'Again';
  if (origin !== 'Restored')
    return decideUpdate({ input, old, object: input.object, next: came, at, isAgain });
  const { object, ignored } = withStoredMarks(input.object, old, came);
  const decision = decideUpdate({ input, old, object, next: parseDeployment(object), at, isAgain });
  return { ...decision, ignored };
}

/** Whether this update sets or changes the bypass, or opts out: what always needs `mayBypass`. */
export function endsGating(oldObject: unknown, object: unknown, now: number): boolean {
  const old = parseDeployment(oldObject);
  const next = parseDeployment(object);
  if (optsOut(old, next)) return true;
  return bypassReason(old, next) !== undefined && originOf(old, next, now) !== 'Restored';
}

/** Returns whether this update approves the template that it holds: what needs `mayApprove`. */
export function asksForApproval(oldObject: unknown, object: unknown, now: number): boolean {
  // Few updates have it, and parsing takes longer.
  if (at(object, 'metadata', 'annotations', APPROVED_ANNOTATION) === undefined) return false;
  const old = parseDeployment(oldObject);
  const next = parseDeployment(object);
  return approves(old, next) && originOf(old, next, now) !== 'Restored';
}

/** Returns the digest of the template that this update goes back to; undefined if it does not. Look the template up then. */
export function goesBack(oldObject: unknown, object: unknown, now: number): string | undefined {
  // Few updates have it, and parsing takes longer.
  if (at(object, 'metadata', 'annotations', REVERT_ANNOTATION) === undefined) return undefined;
  const old = parseDeployment(oldObject);
  const next = parseDeployment(object);
  if (revertReason(old, next) === undefined) return undefined;
  const hold = beganHold(old);
  return hold === undefined || originOf(old, next, now) === 'Restored' ? undefined : digestToRestore(hold);
}

function reasonToIgnore(input: DecideInput, next: Deployment): string | undefined {
  if (input.username === input.gateUsername) return 'the gate itself';
  if (next.deleting) return 'the Deployment is being deleted';
  if (input.exemptNamespaces.includes(next.namespace))
    return `Pullgate never holds updates in the namespace ${next.namespace}`;
  return undefined;
}

function decideUpdate(update: Update): Decision {
  const { old } = update;
  const hold = beganHold(old);
  const decision = hold === undefined ? decideUnheld(update) : decideHeld(update, hold);
  if (decision.object === update.object) return decision;
  return { ...decision, object: withRoomForRecord(decision.object, old.annotations[DECIDED_ANNOTATION]) };
}

/**
 * Returns the hold of the old object, if it was made for this Deployment. A hold without its pause does not count: the Deployment
 * was resumed while no replica answered, its rollout has begun, and a rollout is never paused half way. While a Deployment is opted
 * out, the webhook is not called, and any user may have written a hold.
 */
function beganHold(old: Deployment): Hold | undefined {
  return old.paused && !isOff(old) ? ownHold(old) : undefined;
}

function decideHeld(update: Update, hold: Hold): Decision {
  const { input, old, object, next } = update;
  const hash = next.templateHash;
  const userPaused = wantsPause(next, hold);
  const paused = userPaused || next.annotations[KEEP_PAUSED_ANNOTATION] === 'true';
  const end = (decision: RecordedDecision, reason: string): Decision => {
    const annotations = { ...decidedMark(update, decision, reason), [APPROVED_ANNOTATION]: null };
    return plain(decision, withMarks(object, { hold: null, paused, annotations }), reason);
  };

  const optOut = optsOut(old, next);
  if (optOut && !input.mayBypass) return refused(input);
  const revert = revertReason(old, next);
  if (revert !== undefined) return goBack(update, hold, paused, revert);
  if (optOut) {
    return end('OptedOut', `label ${MODE_LABEL}=${MODE_OFF}`);
  }
  const bypass = bypassReason(old, next);
  if (bypass !== undefined && input.mayBypass) return end('Bypassed', bypass);

  const needed = imagesToPull(hold.from, next.template, hash, input.rules);
  if (needed.length === 0) return end('Reverted', whyNotNeeded(update, hold, paused));

  const superseded = hash !== hold.template || next.templateDigest !== old.templateDigest;
  const images = needed.map(({ image }) => image);
  const reason = superseded
    ? `another pod template, held until the nodes have ${images.join(', ')}`
    : 'still held';
  const begun = superseded ? newHold(update, hold.from) : hold;
  const approval = approvalOf(update, { ...begun, userPaused });
  const held = approval.hold;
  const annotations = {
    ...(superseded ? decidedMark(update, 'Superseded', reason) : decidedBefore(old)),
    ...approval.annotations,
  };
  const marked = withMarks(object, { hold: held, paused: true, annotations });
  const exceeded = exceededBound(next, hold.from, input.rules) ?? exceededMarks(marked);
  if (exceeded !== undefined)
    return input.mayBypass ? end('LimitExceeded', exceeded) : refusedAsTooLarge(update, exceeded);
  return {
    ...plain(superseded ? 'Superseded' : 'Reheld', marked, reason),
    hold: held,
    images,
    approval: approval.kind,
    bypassRefused: bypass !== undefined,
    resumeAsked: !next.paused,
  };
}

/** Ends the hold with the running template, whole. Everything else that the update changes is kept. */
function goBack(update: Update, hold: Hold, paused: boolean, asked: string): Decision {
  const { input, next, object } = update;
  const { running = { kind: 'unanswered' } } = input;
  if (running.kind !== 'found') {
    const denial = revertDenial(next, running.kind);
    return { ...plain('Refused', input.object, denial.message), denial };
  }
  const isUnused = ![hold.template, hold.from.template].includes(next.templateHash);
  const reason = `${BACK}${isUnused ? ' (not the pod template of this update)' : ''}: ${asked}`;
  const annotations = {
    [REVERT_ANNOTATION]: null,
    [APPROVED_ANNOTATION]: null,
    ...decidedMark(update, 'Reverted', reason, hold.from.template),
  };
  const back = { ...object, spec: { ...asObject(object['spec']), template: running.template } };
  return plain('Reverted', withMarks(back, { hold: null, paused, annotations }), reason);
}

const BACK = 'back to the running template, whole';

function whyNotNeeded({ old, next, isAgain }: Update, hold: Hold, paused: boolean): string {
  if (next.templateHash === hold.from.template) {
    // What admission said when it was called first for this request.
    const first = isAgain ? ownDecisionRecord({ uid: old.uid, annotations: next.annotations }) : undefined;
    return first?.decision === 'Reverted' && first.reason.startsWith(BACK)
      ? first.reason
      : 'this is the running template';
  }
  return `the template needs no new image, but differs from the running one; its rollout starts ${paused ? 'once it is resumed' : 'now'}`;
}

function decideUnheld(update: Update): Decision {
  const { input, old, next } = update;
  const hash = next.templateHash;
  const optOut = optsOut(old, next);
  if (optOut && !input.mayBypass) return refused(input);

  const clean = withoutStrayHold(update.object, old, next);
  const record = (decision: RecordedDecision, reason: string): Decision =>
    plain(decision, withMarks(clean, { annotations: decidedMark(update, decision, reason) }), reason);

  // The hash is too short here: a user can make two templates with the same one, and have the first of them approved.
  if (next.templateDigest === old.templateDigest && !optOut) {
    // What the record says was written while nobody was asked.
    if (isOff(old) && !isOff(next)) return record('NotNeeded', `label ${MODE_LABEL}=${MODE_OFF} removed`);
    const kept = withMarks(clean, { annotations: decidedBefore(old) });
    return plain('Unchanged', kept, 'the template did not change');
  }

  if (isOff(next)) return record('OptedOut', `label ${MODE_LABEL}=${MODE_OFF}`);
  const from = runningTemplate(old.template, old.templateDigest);
  const needed = imagesToPull(from, next.template, hash, input.rules);
  if (needed.length === 0) return record('NotNeeded', 'no image to pull');
  if (next.replicas === 0) return record('NotNeeded', 'replicas is 0');
  // No pod runs, so there is nothing to keep. If the update were held, pods of the old template would start instead, because
  // scaling is never held.
  if (old.replicas === 0) return record('NotNeeded', 'replicas was 0');
  const bypass = bypassReason(old, next);
  if (bypass !== undefined && input.mayBypass) return record('Bypassed', bypass);

  // Nothing waits in mode audit, so that exceeding a bound avoids nothing there.
  const tooLarge = (exceeded: string): Decision =>
    input.mayBypass || input.mode === 'audit'
      ? record('LimitExceeded', exceeded)
      : refusedAsTooLarge(update, exceeded);
  const beyond = exceededBound(next, from, input.rules);
  if (beyond !== undefined) return tooLarge(beyond);

  const images = needed.map(({ image }) => image);
  const reason = images.join(', ');
  if (input.mode === 'audit') return { ...record('Audited', reason), images };
  if (input.mode === 'reject' && !waitsInHold(update)) {
    const asks = { preload: preloadNameOf(update), from, object: update.object };
    const outcome = input.progress?.outcome;
    if (outcome?.kind === 'release') return record('Preloaded', outcome.message);
    const denial = rejection(next, asks.preload, images, input.progress, input.dryRun);
    const bypassRefused = bypass !== undefined;
    return { ...plain('Rejected', input.object, denial.message), images, denial, asks, bypassRefused };
  }
  const userPaused = at(clean, 'spec', 'paused') === true;
  const approval = approvalOf(update, { ...newHold(update, from), userPaused });
  const { hold } = approval;
  const annotations = { ...decidedMark(update, 'Held', reason), ...approval.annotations };
  const held = withMarks(clean, { hold, paused: true, annotations });
  const exceeded = exceededMarks(held);
  if (exceeded !== undefined) return tooLarge(exceeded);
  return {
    ...plain('Held', held, reason),
    hold,
    images,
    approval: approval.kind,
    bypassRefused: bypass !== undefined,
  };
}

/** The uid comes from the old object: some multi-cluster controllers leave the new one's empty. */
function preloadNameOf({ old, next }: Update): string {
  return preloadName({ name: next.name, uid: old.uid, revision: old.revision }, next.templateHash);
}

/** The uid is the old object's, as for the name of the preload. */
function newHold(update: Update, from: RunningTemplate): Hold {
  const { old, next, at } = update;
  const template = next.templateHash;
  return { v: 1, uid: old.uid, preload: preloadNameOf(update), template, from, since: at, userPaused: false };
}

/**
 * What the user wants `spec.paused` to be while a hold has it. Called again on its own result, also with a template that
 * another webhook has changed in between, the wish of the request is found in the hold on the new object. All that a
 * forger could say with it is what `spec.paused` says too.
 */
function wantsPause({ annotations, paused }: Deployment, hold: Hold): boolean {
  return paused && hold.userPaused && ownHold({ annotations, uid: hold.uid })?.userPaused !== false;
}

/**
 * A hold that the old object does not have for itself (a copy, a restored backup, something that is not JSON) goes,
 * and its pause with it: nobody would ever release it. One with the right uid that the old object does not have was put
 * there by this very request, by an earlier call of admission, and knows what the user wants. One that it has without its
 * pause is not believed: a pause now is the user's own.
 */
function withoutStrayHold(object: JsonObject, old: Deployment, next: Deployment): JsonObject {
  const stray = next.annotations[HOLD_ANNOTATION];
  if (stray === undefined)
    return next.labels[HELD_LABEL] === undefined ? object : withMarks(object, { hold: null });
  const own = ownHold({ annotations: next.annotations, uid: old.uid });
  const before = old.annotations[HOLD_ANNOTATION];
  if (own !== undefined && before === stray && !old.paused) return withMarks(object, { hold: null });
  const keep = next.annotations[KEEP_PAUSED_ANNOTATION] === 'true';
  const inherited = before === undefined ? old.paused : parseHold(stray)?.userPaused === true;
  const isNew = own !== undefined && before !== stray;
  const wanted = isNew ? own.userPaused : keep || (own?.userPaused ?? inherited);
  return withMarks(object, { hold: null, paused: next.paused && wanted });
}

/** Only a decision changes the record. Events are made from it, so a user who could write it could speak in the name of others. */
function decidedBefore(old: Deployment): Record<string, string | null> {
  return { [DECIDED_ANNOTATION]: old.annotations[DECIDED_ANNOTATION] ?? null };
}

function decidedMark(
  { input, old, next, at }: Update,
  decision: RecordedDecision,
  reason: string,
  template = next.templateHash,
): Record<string, string> {
  const decided = { uid: old.uid, template, decision, by: input.username, at, reason };
  return { [DECIDED_ANNOTATION]: writeDecisionRecord(decided) };
}

function bypassReason(old: Deployment, next: Deployment): string | undefined {
  return reasonIn(BYPASS_ANNOTATION, old, next);
}

function revertReason(old: Deployment, next: Deployment): string | undefined {
  return reasonIn(REVERT_ANNOTATION, old, next);
}

/** A reason counts in the update that sets or changes it. */
function reasonIn(annotation: string, old: Deployment, next: Deployment): string | undefined {
  const reason = next.annotations[annotation];
  return reason && reason !== old.annotations[annotation] ? reason : undefined;
}

function optsOut(old: Deployment, next: Deployment): boolean {
  return isOff(next) && !isOff(old);
}

function isOff({ labels }: Deployment): boolean {
  return labels[MODE_LABEL] === MODE_OFF;
}

function refused(input: DecideInput): Decision {
  const reason = `${input.username} may not opt a Deployment out`;
  return { ...plain('Refused', input.object, reason), denial: forbidden(reason) };
}

function refusedAsTooLarge({ input, next }: Update, exceeded: string): Decision {
  return { ...plain('Refused', input.object, exceeded), denial: overLimit(next, exceeded, input.username) };
}

function plain(kind: DecisionKind, object: JsonObject, reason: string): Decision {
  return { kind, object, reason, images: [], bypassRefused: false, resumeAsked: false, ignored: [] };
}
