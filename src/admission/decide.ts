import { type Decided, parseDecided, type RecordedDecision, writeDecided } from '../hold/decided.ts';
import { type Deployment, parseDeployment } from '../hold/deployment.ts';
import { withMarks } from '../hold/held-object.ts';
import { type Hold, parseHold, type RunningTemplate } from '../hold/hold.ts';
import { imagesToPull, runningTemplate } from '../hold/needs-pull.ts';
import { preloadName } from '../hold/preload-name.ts';
import type { PreloadProgress } from '../hold/preload-progress.ts';
import { at, type JsonObject } from '../json.ts';
import {
  BYPASS_ANNOTATION,
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  MODE_LABEL,
  MODE_OFF,
  type Mode,
} from '../names.ts';
import { type Denial, forbidden, rejection } from './denial.ts';

/** All that a decision knows. */
export interface DecideInput {
  /** Of the namespace, by the path that was called. */
  readonly mode: Mode;
  /** In mode reject, once it has been looked up; see `Decision.asks`. */
  readonly progress?: PreloadProgress;
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
  readonly dryRun: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The preload that an update in mode reject waits for. */
export interface Ask {
  /** Its name. */
  readonly preload: string;
  readonly from: RunningTemplate;
}

/**
 * - `Ignored`: not ours to judge: the gate's own write, an exempt namespace, an object that is being deleted.
 * - `Unchanged`: nothing that concerns a rollout changed.
 * - `Reheld`: an update to a held Deployment that does not end its hold.
 * - `Refused`: denied: `off` by a user who may not.
 * - `Rejected`: denied until its images are there (mode reject).
 */
export type DecisionKind = RecordedDecision | 'Ignored' | 'Unchanged' | 'Reheld' | 'Refused' | 'Rejected';

export interface Decision {
  readonly kind: DecisionKind;
  /** The object as it is to be stored; the very object of the input where nothing is to be changed. */
  readonly object: JsonObject;
  /** In words, for logs, audit and `decided`. */
  readonly reason: string;
  /** The hold on `object`. */
  readonly hold?: Hold;
  /** Images that the template waits for, or should have waited for. */
  readonly images: readonly string[];
  /** Why the update is denied; absent if it is let through. */
  readonly denial?: Denial;
  /** What to look up, and to see to: then decide again, with `progress`. */
  readonly asks?: Ask;
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
  const hash = next.templateHash;
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
  const annotations = superseded
    ? decidedMark(input, old, next, hash, 'Superseded', reason)
    : decidedBefore(old);
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
  const hash = next.templateHash;
  const optOut = optsOut(old, next);
  if (optOut && !input.mayBypass) return refused(input);

  const clean = withoutStrayHold(input.object, old, next);
  if (hash === from.template && !optOut) {
    const kept = withMarks(clean, { annotations: decidedBefore(old) });
    return plain('Unchanged', kept, 'the template did not change');
  }

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
  // Nothing runs that could go on. Held, the pods of the old template would be started instead: scaling is never held.
  if (old.replicas === 0) return record('NotNeeded', 'replicas was 0');
  const bypass = bypassReason(old, next);
  if (bypass !== undefined && input.mayBypass) return record('Bypassed', bypass);

  const images = needed.map(({ image }) => image);
  const reason = images.join(', ');
  if (input.mode === 'audit') return { ...record('Audited', reason), images };
  if (input.mode === 'reject') {
    const asks = { preload: preloadNameOf(old, next, hash), from };
    const verdict = input.progress?.verdict;
    if (verdict?.kind === 'ready') return record('Preloaded', verdict.reason);
    const denial = rejection(next, asks.preload, images, input.progress, input.dryRun);
    const bypassRefused = bypass !== undefined;
    return { ...plain('Rejected', input.object, denial.message), images, denial, asks, bypassRefused };
  }
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

/** The uid comes from the old object: some multi-cluster controllers leave the new one's empty. */
function preloadNameOf(old: Deployment, next: Deployment, template: string): string {
  return preloadName({ name: next.name, uid: old.uid, revision: old.revision }, template);
}

/**
 * The uid is the old object's, as for the name of the preload. Where admission is called
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
    preload: preloadNameOf(old, next, template),
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
 * and its pause with it: nobody would ever release it. One with the right uid that the old object does not have was put
 * there by this very request, by an earlier call of admission, and knows what the user wants. One that it has, and that
 * is not believed, has lost its pause: a pause now is the user's own.
 */
function withoutStrayHold(object: JsonObject, old: Deployment, next: Deployment): JsonObject {
  const stray = next.annotations[HOLD_ANNOTATION];
  if (stray === undefined)
    return next.labels[HELD_LABEL] === undefined ? object : withMarks(object, { hold: null });
  const own = ownHold(next, old.uid);
  const before = old.annotations[HOLD_ANNOTATION];
  if (own !== undefined && before === stray) return withMarks(object, { hold: null });
  const keep = next.annotations[KEEP_PAUSED_ANNOTATION] === 'true';
  const inherited = before === undefined ? old.paused : parseHold(stray)?.userPaused === true;
  const wanted = own?.userPaused ?? (keep || inherited);
  return withMarks(object, { hold: null, paused: next.paused && wanted });
}

/** Only a decision changes it: the events are made from it, and whoever could write it could speak for others. */
function decidedBefore(old: Deployment): Record<string, string | null> {
  return { [DECIDED_ANNOTATION]: old.annotations[DECIDED_ANNOTATION] ?? null };
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
  const reason = `${input.username} may not opt a Deployment out`;
  return { ...plain('Refused', input.object, reason), denial: forbidden(reason) };
}

function plain(kind: DecisionKind, object: JsonObject, reason: string): Decision {
  return { kind, object, reason, images: [], bypassRefused: false, resumeAsked: false };
}
