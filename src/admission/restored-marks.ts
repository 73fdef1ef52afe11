import { ownDecisionRecord, parseDecisionRecord } from '../api/decision-record.ts';
import type { Deployment } from '../api/deployment.ts';
import { parseHold, withMarks } from '../api/hold.ts';
import { DECIDED_ANNOTATION, GROUP, HOLD_ANNOTATION } from '../api/names.ts';
import type { JsonObject } from '../json.ts';

/**
 * Where the marks on the new object of an update come from.
 * - `Request`: the client sends them now.
 * - `Again`: the same, and admission has already decided on this request: it is called a second time.
 * - `Restored`: from another time or another Deployment. `kubectl rollout undo` puts all annotations of a ReplicaSet back, and
 *   a manifest that was read from a cluster has those of that moment.
 */
export type Origin = 'Request' | 'Again' | 'Restored';

/**
 * The largest difference between now and the time of a record that this same request has written. A request lasts at most a minute
 * (kube-apiserver --request-timeout), and the clocks of two replicas may differ.
 */
export const REQUEST_MS = 120_000;

/**
 * Returns the origin of the marks, which the decision record reveals. Each decision writes a new record, so an update whose record
 * differs from the stored one has its annotations from another time or object. Clients that send only changes keep the stored
 * record.
 */
export function originOf(old: Deployment, next: Deployment, now: number): Origin {
  const stored = old.annotations[DECIDED_ANNOTATION];
  const brought = next.annotations[DECIDED_ANNOTATION];
  if (brought === stored) return isBackAtRecord(old, next) ? 'Restored' : 'Request';
  // A manifest that replaces everything has no revision either; `rollout undo` keeps that one.
  if (brought === undefined)
    return old.revision !== '' && next.revision === old.revision ? 'Restored' : 'Request';
  return isOfThisRequest(brought, old, now) ? 'Again' : 'Restored';
}

/**
 * Returns whether the update goes back to the template of the stored record, after a rollout that started without the gate. The
 * records are equal then and do not reveal the origin.
 */
function isBackAtRecord(old: Deployment, next: Deployment): boolean {
  // kubectl refuses to undo while paused, and hashing what is stored would take as long as the rest.
  if (old.annotations[HOLD_ANNOTATION] !== undefined) return false;
  const template = ownDecisionRecord(old)?.template;
  return template !== undefined && template === next.templateHash && template !== old.templateHash;
}

function isOfThisRequest(brought: string, old: Deployment, now: number): boolean {
  // The uid comes from the old object: some multi-cluster controllers leave the new one's empty.
  const decided = ownDecisionRecord({ uid: old.uid, annotations: { [DECIDED_ANNOTATION]: brought } });
  if (decided === undefined) return false;
  const at = Date.parse(decided.at);
  return Math.abs(now - at) <= REQUEST_MS && at > (storedAt(old, now) ?? Number.NEGATIVE_INFINITY);
}

/** Returns the time of this decision in ms. It is later than the stored decision, even if another replica's clock was ahead. */
export function decisionTime(old: Deployment, next: Deployment, origin: Origin, now: number): number {
  const first = origin === 'Again' ? parseDecisionRecord(next.annotations[DECIDED_ANNOTATION]) : undefined;
  if (first !== undefined) return Date.parse(first.at);
  return Math.max(now, (storedAt(old, now) ?? 0) + 1);
}

/** Returns undefined without a record, and for a record from the future, which is forged. */
function storedAt(old: Deployment, now: number): number | undefined {
  const at = Date.parse(ownDecisionRecord(old)?.at ?? '');
  return at <= now + REQUEST_MS ? at : undefined;
}

/**
 * Returns the object with every annotation of Pullgate as it is stored, and the names of the annotations that differed. A restored
 * hold does not count, so its pause is removed as well.
 */
export function withStoredMarks(
  object: JsonObject,
  old: Deployment,
  next: Deployment,
): { readonly object: JsonObject; readonly ignored: readonly string[] } {
  const names = new Set([...Object.keys(old.annotations), ...Object.keys(next.annotations)]);
  const changed = [...names].filter(
    (name) => name.startsWith(`${GROUP}/`) && old.annotations[name] !== next.annotations[name],
  );
  const annotations = Object.fromEntries(changed.map((name) => [name, old.annotations[name] ?? null]));
  const hold = next.annotations[HOLD_ANNOTATION];
  const paused =
    hold === undefined || hold === old.annotations[HOLD_ANNOTATION]
      ? next.paused
      : next.paused && (old.paused || parseHold(hold)?.userPaused === true);
  return {
    object: withMarks(object, { annotations, paused }),
    ignored: changed.filter((name) => name !== HOLD_ANNOTATION && name !== DECIDED_ANNOTATION).sort(),
  };
}
