import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';

/**
 * Runs the call as soon as the namespace may take a place, and resolves or rejects as the call does. Rejects with the signal's
 * reason if the signal is aborted while the call waits.
 */
export type Limiter = <T>(namespace: string, call: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

/**
 * API servers answer most calls within 100 ms. A call that takes longer than this has met a webhook, a quota or an API
 * server that is slow, and the next call of the same namespace probably does as well.
 */
const SLOW_MS = 1000;
/** Several times as long as a call may take. So a webhook that hangs now and then keeps its namespace slow. */
const SLOW_MEMORY_MS = 60_000;
const REMEMBERED_NAMESPACES = 1000;

interface Share {
  readonly waiting: (() => void)[];
  /** Of `clock.monotonic`, one for each call in flight, in the order in which they began. */
  readonly begun: Set<{ readonly at: number }>;
  /** How many places the namespace may hold: one more for each quick answer. */
  window: number;
}

/**
 * Runs a bounded number of calls at a time, and shares these places among namespaces. A key may also be anything else that causes
 * calls, such as a peer. A call in flight cannot give its place back, so the rules apply before a call begins:
 *
 * - A namespace begins with one place, and gets another one for each call that is answered quickly.
 * - A namespace takes another place only while it holds fewer than are free. So one namespace alone takes at most half of the
 *   places, and two take a third each.
 * - All namespaces whose calls are slow have half of the places together, however many they are. The other half is for namespaces
 *   whose calls are answered.
 * - A place that becomes free goes to the namespaces that wait, in turn.
 *
 * @param isPaced whether a namespace begins with one place, and slow ones have half of the places
 */
export function createLimiter(places: number, clock: Pick<Clock, 'monotonic'>, isPaced = true): Limiter {
  /** The namespaces that have calls waiting or in flight. The one whose turn is next comes first. */
  const shares = new Map<string, Share>();
  /** Of these, the ones that run something: no more than there are places, however many wait. */
  const running = new Map<string, Share>();
  /** Of `clock.monotonic`, when the last slow call ended. */
  const slowAt = new LRUCache<string, number>({ max: REMEMBERED_NAMESPACES });
  const forSlow = Math.ceil(places / 2);

  function isSlow(namespace: string, { begun }: Share): boolean {
    if (!isPaced) return false;
    const now = clock.monotonic();
    const [oldest] = begun;
    if (oldest !== undefined && now - oldest.at > SLOW_MS) return true;
    return now - (slowAt.get(namespace) ?? Number.NEGATIVE_INFINITY) < SLOW_MEMORY_MS;
  }

  /** Returns the limits below which a namespace may take another place. */
  function freePlaces(): { readonly free: number; readonly freeIfSlow: number } {
    let free = places;
    let freeIfSlow = forSlow;
    for (const [namespace, share] of running) {
      free -= share.begun.size;
      if (isSlow(namespace, share)) freeIfSlow -= share.begun.size;
    }
    return { free, freeIfSlow: Math.min(free, freeIfSlow) };
  }

  function mayBegin(namespace: string, share: Share, { free, freeIfSlow } = freePlaces()): boolean {
    return share.begun.size < Math.min(share.window, isSlow(namespace, share) ? freeIfSlow : free);
  }

  function shareOf(namespace: string): Share {
    const known = shares.get(namespace);
    if (known !== undefined) return known;
    const share: Share = { waiting: [], begun: new Set(), window: isPaced ? 1 : places };
    shares.set(namespace, share);
    return share;
  }

  function begin(namespace: string, share: Share): { readonly at: number } {
    const call = { at: clock.monotonic() };
    share.begun.add(call);
    running.set(namespace, share);
    putLast(namespace, share);
    return call;
  }

  /** The namespace gets its next turn after all others. */
  function putLast(namespace: string, share: Share): void {
    shares.delete(namespace);
    shares.set(namespace, share);
  }

  function end(namespace: string, share: Share, call: { readonly at: number }): void {
    share.begun.delete(call);
    if (share.begun.size === 0) running.delete(namespace);
    const now = clock.monotonic();
    if (isPaced && now - call.at > SLOW_MS) {
      slowAt.set(namespace, now);
      share.window = 1;
    } else share.window = Math.min(share.window + 1, places);
    putLast(namespace, share);
    forget(namespace, share);
    while (beginNext()) {}
  }

  function forget(namespace: string, share: Share): void {
    if (share.waiting.length === 0 && share.begun.size === 0) shares.delete(namespace);
  }

  function beginNext(): boolean {
    const left = freePlaces();
    if (left.free === 0) return false;
    for (const [namespace, share] of shares) {
      if (share.waiting.length === 0 || !mayBegin(namespace, share, left)) continue;
      share.waiting.shift()?.();
      return true;
    }
    return false;
  }

  function turn(namespace: string, share: Share, signal: AbortSignal | undefined) {
    if (share.waiting.length === 0 && mayBegin(namespace, share))
      return Promise.resolve(begin(namespace, share));
    return new Promise<{ readonly at: number }>((resolve, reject) => {
      const onAbort = () => {
        share.waiting.splice(share.waiting.indexOf(onTurn), 1);
        forget(namespace, share);
        reject(signal?.reason);
      };
      const onTurn = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve(begin(namespace, share));
      };
      share.waiting.push(onTurn);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  return async (namespace, call, signal) => {
    signal?.throwIfAborted();
    const share = shareOf(namespace);
    const begun = await turn(namespace, share, signal);
    try {
      return await call();
    } finally {
      end(namespace, share, begun);
    }
  };
}
