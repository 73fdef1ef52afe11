import { asNumber, asString, at, type JsonObject } from '../json.ts';
import { microTime } from './micro-time.ts';

/** Other replicas wait this long after the last renewal that they saw. */
export const LEASE_MS = 15_000;
/**
 * The holder stops acting this long after it *sent* its last successful renewal. Different machines measure the two durations.
 * Their clocks may show different times, and one may run up to half as fast again as the other (15 to 10). No clock helps while a
 * whole machine is suspended. Only its preconditions fence a write that is sent then.
 */
export const RENEW_DEADLINE_MS = 10_000;
/** Between two tries. Four fit into the deadline. */
export const RETRY_MS = 2000;

/** What is read of a coordination.k8s.io/v1 Lease. */
export interface Lease {
  readonly resourceVersion: string;
  /** Empty: nobody. */
  readonly holder: string;
  /** What its holder promised: gates of two versions may have two lengths. */
  readonly durationMs: number;
  /** As stored. */
  readonly acquireTime: string | undefined;
  readonly transitions: number;
}

/** The Lease as one elector knows it. */
export interface View {
  /** Undefined: there is none. */
  readonly lease: Lease | undefined;
  /** In `clock.monotonic` of this replica. Before that, another replica may be acting. */
  readonly freeAt: number;
}

export type Move =
  | { readonly do: 'wait'; readonly ms: number }
  /** Take it, or keep it: write `claim`, as long as the Lease is still this one. Undefined: create it. */
  | { readonly do: 'claim'; readonly lease: Lease | undefined };

export function parseLease(raw: unknown): Lease {
  const resourceVersion = asString(at(raw, 'metadata', 'resourceVersion'));
  // A write that names none would not be fenced.
  if (resourceVersion === undefined || resourceVersion === '')
    throw new Error('a Lease without a resourceVersion');
  const seconds = asNumber(at(raw, 'spec', 'leaseDurationSeconds')) ?? 0;
  return {
    resourceVersion,
    holder: asString(at(raw, 'spec', 'holderIdentity')) ?? '',
    durationMs: seconds > 0 ? seconds * 1000 : LEASE_MS,
    acquireTime: asString(at(raw, 'spec', 'acquireTime')),
    transitions: asNumber(at(raw, 'spec', 'leaseTransitions')) ?? 0,
  };
}

/**
 * Returns what is known after the Lease was read. The times in the Lease are ignored, because they come from another clock. What
 * counts is when this replica first saw a change, which is never before the change was made.
 *
 * @param now `clock.monotonic` after the answer
 */
export function seen(before: View | undefined, lease: Lease | undefined, now: number, self: string): View {
  if (before !== undefined && before.lease?.resourceVersion === lease?.resourceVersion) return before;
  const last = before?.lease;
  if (lease === undefined) {
    // Deleted by hand: the replica that held it does not know yet.
    return { lease, freeAt: last === undefined || last.holder === self ? now : now + LEASE_MS };
  }
  return { lease, freeAt: lease.holder === '' || lease.holder === self ? now : now + lease.durationMs };
}

export function nextMove({ lease, freeAt }: View, now: number): Move {
  return now < freeAt ? { do: 'wait', ms: freeAt - now } : { do: 'claim', lease };
}

/** The `spec` that makes it ours, or keeps it so. */
export function claim(lease: Lease | undefined, self: string, epochMs: number): JsonObject {
  const time = microTime(epochMs);
  const isOurs = lease?.holder === self;
  return {
    holderIdentity: self,
    leaseDurationSeconds: LEASE_MS / 1000,
    acquireTime: isOurs ? (lease.acquireTime ?? time) : time,
    renewTime: time,
    leaseTransitions: lease === undefined ? 0 : lease.transitions + (isOurs ? 0 : 1),
  };
}
