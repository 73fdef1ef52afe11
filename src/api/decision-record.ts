import { asString, at, isObject } from '../json.ts';
import type { Deployment } from './deployment.ts';
import { DECIDED_ANNOTATION, USERNAME_LIMIT } from './names.ts';

/**
 * The decisions about a changed template, or about a hold that a user ends, each with what happens to the update. `npm run docs`
 * writes them to docs/reference/labels-and-annotations.md.
 */
export const RECORDED_DECISIONS = {
  Held: 'The update is stored and held.',
  Superseded: 'The update changes the template of a held Deployment, and the new template is held.',
  Reverted:
    'The hold ends: by the annotation `pullgate.io/revert`, or because the template needs no new image.',
  Bypassed: 'The update goes ahead because of the annotation `pullgate.io/bypass`.',
  OptedOut: 'The update goes ahead because of the label `pullgate.io/mode=off`.',
  NotNeeded: 'The update goes ahead because it needs no new image, or starts no pod.',
  Preloaded: 'The update goes ahead in mode `reject`, because the images are on the nodes.',
  Audited: 'The update goes ahead in mode `audit`. Mode `pause` would hold it.',
  LimitExceeded:
    'The update goes ahead because it, or the hold on it, exceeds a [limit](../security.md#limits).',
} as const;
export type RecordedDecision = keyof typeof RECORDED_DECISIONS;

/**
 * The annotation `pullgate.io/decided`: the last decision on this Deployment. The Events are made from it. A stored
 * template with another hash was never decided on, so the gate was away.
 */
export interface Decided {
  /** uid of the Deployment that was decided on. Undefined in a record of version 0.1, which named none. */
  readonly uid: string | undefined;
  readonly template: string;
  readonly decision: RecordedDecision;
  /** The user of the request, as the API server authenticated it. */
  readonly by: string;
  /** RFC 3339. */
  readonly at: string;
  readonly reason: string;
  /** How the leader has ended the hold that this decision began. Written in the same patch, so that no crash can lose it. */
  readonly ended?: EndOfHold;
}

export interface EndOfHold {
  /** A word, such as `Ready`. */
  readonly reason: string;
  /** RFC 3339. */
  readonly at: string;
}

/** Annotations share 256 KiB; a reason is for people. */
const REASON_LIMIT = 512;
/** The longest reason for which a leader ends a hold has 16 characters. */
const END_LIMIT = 32;
/** Each character of both can become six (`\u0007`); the rest has at most 300. */
export const DECIDED_CHARACTERS = 6 * (USERNAME_LIMIT + REASON_LIMIT) + 300;

export function writeDecisionRecord({ uid, template, decision, by, at, reason, ended }: Decided): string {
  return JSON.stringify({
    v: 1,
    uid,
    template,
    decision,
    by: by.slice(0, USERNAME_LIMIT),
    at,
    reason: reason.slice(0, REASON_LIMIT),
    ended,
  });
}

/** Returns `undefined` for anything that no version of admission writes, such as a record that is longer. */
export function parseDecisionRecord(annotation: string | undefined): Decided | undefined {
  if (annotation === undefined || annotation.length > DECIDED_CHARACTERS) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(annotation);
  } catch {
    return undefined;
  }
  if (!isObject(json)) return undefined;
  const uid = json['v'] === undefined ? undefined : asString(json['uid']);
  if (json['v'] !== undefined && !uid) return undefined;
  const template = asString(json['template']);
  const by = asString(json['by']);
  const time = asString(json['at']);
  const decision = asString(json['decision']);
  if (!template || by === undefined || !time || !isRecorded(decision)) return undefined;
  if (Number.isNaN(Date.parse(time))) return undefined;
  const reason = (asString(json['reason']) ?? '').slice(0, REASON_LIMIT);
  const ended = parseEnd(json['ended']);
  return {
    uid,
    template,
    decision,
    by: by.slice(0, USERNAME_LIMIT),
    at: time,
    reason,
    ...(ended && { ended }),
  };
}

function parseEnd(json: unknown): EndOfHold | undefined {
  const reason = asString(at(json, 'reason'));
  const time = asString(at(json, 'at'));
  if (!reason || reason.length > END_LIMIT || !time || Number.isNaN(Date.parse(time))) return undefined;
  return { reason, at: time };
}

/** Returns the record on the Deployment unless it was made for another one: a copy tells nothing. */
export function ownDecisionRecord({
  annotations,
  uid,
}: Pick<Deployment, 'annotations' | 'uid'>): Decided | undefined {
  const decided = parseDecisionRecord(annotations[DECIDED_ANNOTATION]);
  return decided === undefined || decided.uid === undefined || decided.uid === uid ? decided : undefined;
}

function isRecorded(decision: string | undefined): decision is RecordedDecision {
  return decision !== undefined && Object.hasOwn(RECORDED_DECISIONS, decision);
}
