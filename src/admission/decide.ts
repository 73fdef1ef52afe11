import { type Decided, parseDecided, type RecordedDecision, writeDecided } from '../hold/decided.ts';
import { type Deployment, parseDeployment } from '../hold/deployment.ts';
import { withMarks } from '../hold/held-object.ts';
import { type Hold, parseHold, type RunningTemplate } from '../hold/hold.ts';
import { imagesToPull, runningTemplate } from '../hold/needs-pull.ts';
import { preloadName } from '../hold/preload-name.ts';
import { at, type JsonObject } from '../json.ts';
import {
  BYPASS_ANNOTATION,
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MODE_LABEL,
  MODE_OFF,
} from '../names.ts';
import { templateHash } from '../template/template-hash.ts';

/** All that a decision knows. */
export interface DecideInput {
  readonly oldObject: JsonObject;
  readonly object: JsonObject;
  /** As the API server authenticated it. */
  readonly username: string;
  /** The gate's own user name: its writes, the release above all, pass. */
  readonly gateUsername: string;
  /** Namespaces that are never gated, whatever their labels say. */
  readonly exemptNamespaces: readonly string[];
  /** Whether this user may end a hold by bypass or `off`. */
  readonly mayBypass: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * - `Ignored`: not ours to judge: the gate's own write, an exempt namespace, an object that is being deleted.
 * - `Unchanged`: nothing that concerns a rollout changed.
 * - `Reheld`: an update to a held Deployment that does not end its hold.
 * - `Refused`: the one answer that denies: `off` by a user who may not.
 */
export type DecisionKind = RecordedDecision | 'Ignored' | 'Unchanged' | 'Reheld' | 'Refused';

export interface Decision {
  readonly kind: DecisionKind;
  /** The object as it is to be stored; the very object of the input where nothing is to be changed. */
  readonly object: JsonObject;
  /** In words, for logs, audit and `decided`. */
  readonly reason: string;
  /** The hold on `object`. */
  readonly hold?: Hold;
  /** Images that the held template waits for. */
  readonly images: readonly string[];
  /** A bypass that was asked for and not granted. */
  readonly bypassRefused: boolean;
  /** The user asked for `paused: false` while the hold needs it true. */
  readonly resumeAsked: boolean;
}

/**
 * Decides on one update. Pure: the same input gives the same decision, and deciding again on its own result
 * changes nothing.
 */
export function decide(input: DecideInput): Decision {
  const old = parseDeployment(input.oldObject);
  const next = parseDeployment(input.object);
  const ignored = reasonToIgnore(input, next);
  if (ignored !== undefined) return plain('Ignored', input.object, ignored);

  // Only the old object's hold is believed, and only if it was made for this very Deployment. Without its pause it has
  // been resumed while nobody was asked: that rollout has begun, and is never paused half way.
  const hold = old.paused ? ownHold(old, old.uid) : undefined;
  return hold === undefined ? decideUnheld(input, old, next) : decideHeld(input, old, next, hold);
}

/** Whether this update sets or changes the bypass, or opts out: what needs `mayBypass`. */
export function endsGating(oldObject: unknown, object: unknown): boolean {
  const old = parseDeployment(oldObject);
  const next = parseDeployment(object);
  return bypassReason(old, next) !== undefined || optsOut(old, next);
}

function reasonToIgnore(input: DecideInput, next: Deployment): string | undefined {
  if (input.username === input.gateUsername) return 'the gate itself';
  if (next.deleting) return 'the Deployment is being deleted';
  if (input.exemptNamespaces.includes(next.namespace)) return `namespace ${next.namespace} is never gated`;
  return undefined;
}

function decideHeld(input: DecideInput, old: Deployment, next: Deployment, hold: Hold): Decision {
  const hash = templateHash(next.template);
  const userPaused = wantsPause(next, hold);
  const end = (decision: RecordedDecision, reason: string): Decision => {
    const paused = userPaused || next.annotations[KEEP_PAUSED_ANNOTATION] === 'true';
    const annotations = decidedMark(input, old, next, hash, decision, reason);
    return plain(decision, withMarks(input.object, { hold: null, paused, annotations }), reason);
  };

  if (optsOut(old, next)) {
    if (!input.mayBypass) return refused(input);
    return end('OptedOut', `label ${MODE_LABEL}=${MODE_OFF}`);
  }
  const bypass = bypassReason(old, next);
  if (bypass !== undefined && input.mayBypass) return end('Bypassed', bypass);

  const needed = imagesToPull(hold.from, next.template, hash);
  if (needed.length === 0) return end('Reverted', 'the template needs no image beyond what runs');

  const superseded = hash !== hold.template;
  const images = needed.map(({ image }) => image);
  const reason = superseded ? `another template while held: ${images.join(', ')}` : 'still held';
  const begun = superseded ? newHold(input, old, next, hold.from, hash) : hold;
  const held: Hold = { ...begun, userPaused };
  const annotations = superseded ? decidedMark(input, old, next, hash, 'Superseded', reason) : {};
  return {
    ...plain(
      superseded ? 'Superseded' : 'Reheld',
      withMarks(input.object, { hold: held, paused: true, annotations }),
      reason,
    ),
    hold: held,
    images,
    bypassRefused: bypass !== undefined,
    resumeAsked: !next.paused,
  };
}

function decideUnheld(input: DecideInput, old: Deployment, next: Deployment): Decision {
  const from = runningTemplate(old.template);
  const hash = templateHash(next.template);
  const optOut = optsOut(old, next);
  if (optOut && !input.mayBypass) return refused(input);

  const clean = withoutStrayHold(input.object, old, next);
  if (hash === from.template && !optOut) return plain('Unchanged', clean, 'the template did not change');

  const record = (decision: RecordedDecision, reason: string): Decision =>
    plain(
      decision,
      withMarks(clean, { annotations: decidedMark(input, old, next, hash, decision, reason) }),
      reason,
    );

  if (next.labels[MODE_LABEL] === MODE_OFF) return record('OptedOut', `label ${MODE_LABEL}=${MODE_OFF}`);
  const needed = imagesToPull(from, next.template, hash);
  if (needed.length === 0) return record('NotNeeded', 'no image to pull');
  if (next.replicas === 0) return record('NotNeeded', 'replicas is 0');
  const bypass = bypassReason(old, next);
  if (bypass !== undefined && input.mayBypass) return record('Bypassed', bypass);

  const images = needed.map(({ image }) => image);
  const reason = images.join(', ');
  const userPaused = at(clean, 'spec', 'paused') === true;
  const hold: Hold = { ...newHold(input, old, next, from, hash), userPaused };
  const annotations = decidedMark(input, old, next, hash, 'Held', reason);
  return {
    ...plain('Held', withMarks(clean, { hold, paused: true, annotations }), reason),
    hold,
    images,
    bypassRefused: bypass !== undefined,
  };
}

/**
 * The uid comes from the old object: some multi-cluster controllers leave the new one's empty. Where admission is called
 * again on its own result (reinvocation, retries), `since` stays what it was.
 */
function newHold(
  input: DecideInput,
  old: Deployment,
  next: Deployment,
  from: RunningTemplate,
  template: string,
): Hold {
  const there = ownHold(next, old.uid);
  const begun = there?.template === template ? Date.parse(there.since) : input.now;
  return {
    v: 1,
    uid: old.uid,
    preload: preloadName({ name: next.name, uid: old.uid, revision: old.revision }, template),
    template,
    from,
    since: new Date(Math.min(begun, input.now)).toISOString(),
    userPaused: false,
  };
}

/**
 * What the user wants `spec.paused` to be while a hold has it. Called again on its own result, also with a template that
 * another webhook has changed in between, the wish of the request is found in the hold on the new object. All that a
 * forger could say with it is what `spec.paused` says too.
 */
function wantsPause(next: Deployment, hold: Hold): boolean {
  return next.paused && hold.userPaused && ownHold(next, hold.uid)?.userPaused !== false;
}

function ownHold(deployment: Deployment, uid: string): Hold | undefined {
  const hold = parseHold(deployment.annotations[HOLD_ANNOTATION]);
  return hold?.uid === uid ? hold : undefined;
}

/**
 * A hold that the old object does not have for itself (a copy, a restored backup, something that is not JSON) goes,
 * and its pause with it: nobody would ever release it. One with the right uid was put there by this very request, by
 * an earlier call of admission, and knows what the user wants.
 */
function withoutStrayHold(object: JsonObject, old: Deployment, next: Deployment): JsonObject {
  const stray = next.annotations[HOLD_ANNOTATION];
  if (stray === undefined)
    return next.labels[HELD_LABEL] === undefined ? object : withMarks(object, { hold: null });
  const oldHadIt = old.annotations[HOLD_ANNOTATION] !== undefined;
  const inherited = oldHadIt ? parseHold(stray)?.userPaused === true : old.paused;
  const wanted = ownHold(next, old.uid)?.userPaused ?? inherited;
  return withMarks(object, { hold: null, paused: next.paused && wanted });
}

function decidedMark(
  input: DecideInput,
  old: Deployment,
  next: Deployment,
  template: string,
  decision: RecordedDecision,
  reason: string,
): Record<string, string> {
  const decided: Decided = {
    template,
    decision,
    by: input.username,
    at: new Date(input.now).toISOString(),
    reason: reason.slice(0, REASON_LIMIT),
  };
  const there = parseDecided(next.annotations[DECIDED_ANNOTATION]);
  const before = parseDecided(old.annotations[DECIDED_ANNOTATION]);
  const again =
    there !== undefined &&
    there.at !== before?.at &&
    Date.parse(there.at) <= input.now &&
    writeDecided({ ...there, at: decided.at }) === writeDecided(decided);
  return { [DECIDED_ANNOTATION]: writeDecided(again ? there : decided) };
}

/** Annotations share 256 KiB; a reason is for people. */
const REASON_LIMIT = 512;

function bypassReason(old: Deployment, next: Deployment): string | undefined {
  const reason = next.annotations[BYPASS_ANNOTATION];
  return reason && reason !== old.annotations[BYPASS_ANNOTATION] ? reason : undefined;
}

function optsOut(old: Deployment, next: Deployment): boolean {
  return next.labels[MODE_LABEL] === MODE_OFF && old.labels[MODE_LABEL] !== MODE_OFF;
}

function refused(input: DecideInput): Decision {
  return plain('Refused', input.object, `${input.username} may not opt a Deployment out`);
}

function plain(kind: DecisionKind, object: JsonObject, reason: string): Decision {
  return { kind, object, reason, images: [], bypassRefused: false, resumeAsked: false };
}
