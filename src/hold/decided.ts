import { asString, isObject } from '../json.ts';

/**
 * What admission can decide about a changed template, or about a hold that a user ends. `Preloaded`: let through in mode
 * reject, as its images are there. `Audited`: let through in mode audit, although they are not.
 */
const DECISIONS = [
  'Held',
  'Superseded',
  'Reverted',
  'Bypassed',
  'OptedOut',
  'NotNeeded',
  'Preloaded',
  'Audited',
] as const;
export type RecordedDecision = (typeof DECISIONS)[number];

/**
 * The annotation `pullgate.io/decided`: the last decision on this Deployment. The events are made from it, and a
 * stored template with another hash was never decided on, so the gate was away.
 */
export interface Decided {
  readonly template: string;
  readonly decision: RecordedDecision;
  /** The user of the request, as the API server authenticated it. */
  readonly by: string;
  /** RFC 3339. */
  readonly at: string;
  readonly reason: string;
}

export function writeDecided({ template, decision, by, at, reason }: Decided): string {
  return JSON.stringify({ template, decision, by, at, reason });
}

export function parseDecided(annotation: string | undefined): Decided | undefined {
  if (annotation === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(annotation);
  } catch {
    return undefined;
  }
  if (!isObject(json)) return undefined;
  const template = asString(json['template']);
  const by = asString(json['by']);
  const at = asString(json['at']);
  const decision = DECISIONS.find((known) => known === json['decision']);
  if (!template || by === undefined || !at || decision === undefined) return undefined;
  return { template, decision, by, at, reason: asString(json['reason']) ?? '' };
}
