import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import { createLimiter, type Limiter } from '../limiter.ts';

/** Runs the call as soon as it is the turn of the peer that has sent the review, and of the namespace that the review names. */
export type LookUpTurns = <T>(
  from: { readonly peer: string; readonly namespace: string },
  call: () => Promise<T>,
  signal: AbortSignal,
) => Promise<T>;

/** API servers are a few. One that is forgotten begins with no namespace that is known to be slow. */
const REMEMBERED_PEERS = 100;

/**
 * Shares look-ups among peers first, and those of a peer among the namespaces that its reviews name: all tenants of a cluster have the
 * same peer, its API server. So neither a stranger, who may name any namespace, nor a tenant whose look-ups are slow keeps others
 * waiting until their updates go ahead without an answer.
 */
export function createLookUpTurns(places: number, clock: Pick<Clock, 'monotonic'>): LookUpTurns {
  // A namespace is slow, never its peer.
  const peers = createLimiter(places, clock, false);
  const namespaces = new LRUCache<string, Limiter>({ max: REMEMBERED_PEERS });

  function namespacesOf(peer: string): Limiter {
    const known = namespaces.get(peer);
    if (known !== undefined) return known;
    // As many as a peer has at most.
    const limiter = createLimiter(Math.ceil(places / 2), clock);
    namespaces.set(peer, limiter);
    return limiter;
  }

  return ({ peer, namespace }, call, signal) =>
    namespacesOf(peer)(namespace, () => peers(peer, call, signal), signal);
}
