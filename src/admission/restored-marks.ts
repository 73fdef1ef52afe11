import { ownDecided, parseDecided } from '../hold/decided.ts';
import type { Deployment } from '../hold/deployment.ts';
import { withMarks } from '../hold/held-object.ts';
import { parseHold } from '../hold/hold.ts';
import type { JsonObject } from '../json.ts';
import { DECIDED_ANNOTATION, GROUP, HOLD_ANNOTATION } from '../names.ts';

/**
 * Where the marks on the new object of an update come from.
 * - `Request`: the client sends them now.
 * - `Again`: the same, and admission has already decided on this request: it is called a second time.
 * - `Restored`: from another time or another Deployment. `kubectl rollout undo` puts all annotations of a ReplicaSet back, and
 *   a manifest that was read from a cluster has those of that moment.
 */
export type Origin = 'Request' | 'Again' | 'Restored';

/**
 * A request lasts at most a minute (kube-apiserver --request-timeout), and the clocks of two replicas may differ. A record
 * that was written by the request in question is not older, nor further in the future.
 */
const REQUEST_MS = 120_000;

/**
 * The decision record tells. Each decision writes a new one, so an update that brings another one than is stored
 * has its annotations from somewhere else. Clients that send only what changes leave the stored one as it is.
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
 * Whether the update goes back to the template that was decided on last, after a rollout that the gate was not asked about. The
 * record of that template is the stored one then, and tells nothing apart.
 */
function isBackAtRecord(old: Deployment, next: Deployment): boolean {
  // kubectl refuses to undo while paused, and hashing what is stored would take as long as the rest.
  if (old.annotations[HOLD_ANNOTATION] !== undefined) return false;
  const template = ownDecided(old)?.template;
  return template !== undefined && template === next.templateHash && template !== old.templateHash;
}

function isOfThisRequest(brought: string, old: Deployment, now: number): boolean {
  // The uid comes from the old object: some multi-cluster controllers leave the new one's empty.
  const decided = ownDecided({ uid: old.uid, annotations: { [DECIDED_ANNOTATION]: brought } });
  if (decided === undefined) return false;
  const at = Date.parse(decided.at);
  return Math.abs(now - at) <= REQUEST_MS && at > (storedAt(old, now) ?? Number.NEGATIVE_INFINITY);
}

/** When this request is decided, in ms: later than the stored decision, even if another replica's clock was ahead. */
export function decisionTime(old: Deployment, next: Deployment, origin: Origin, now: number): number {
  const first = origin === 'Again' ? parseDecided(next.annotations[DECIDED_ANNOTATION]) : undefined;
  if (first !== undefined) return Date.parse(first.at);
  return Math.max(now, (storedAt(old, now) ?? 0) + 1);
}

/** Undefined without a record, and for one from the future, which only a forger writes. */
function storedAt(old: Deployment, now: number): number | undefined {
  const at = Date.parse(ownDecided(old)?.at ?? '');
  return at <= now + REQUEST_MS ? at : undefined;
}

/**
 * The object with every annotation of Pullgate as it is stored, and the names of those that would have asked for something
 * else. A hold that it brings along is none, so its pause goes with it.
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
