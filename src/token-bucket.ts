import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';

/** One bucket for each key: it begins full, and is refilled slowly. */
export interface TokenBuckets {
  /** Takes a token from the key's bucket. False if the bucket is empty. */
  take(key: string): boolean;
}

/** A bucket that is forgotten is full again: with more keys than that in use, the limit is a little wider. */
const REMEMBERED_BUCKETS = 10_000;

export function createTokenBuckets(options: {
  /** Tokens in a full bucket. */
  readonly burst: number;
  /** Until an empty bucket has one token more. */
  readonly refillMs: number;
  readonly clock: Pick<Clock, 'monotonic'>;
}): TokenBuckets {
  const { burst, refillMs, clock } = options;
  const buckets = new LRUCache<string, { tokens: number; at: number }>({ max: REMEMBERED_BUCKETS });
  return {
    take(key) {
      const now = clock.monotonic();
      const { tokens, at } = buckets.get(key) ?? { tokens: burst, at: now };
      const available = Math.min(burst, tokens + (now - at) / refillMs);
      const taken = available >= 1 ? 1 : 0;
      buckets.set(key, { tokens: available - taken, at: now });
      return taken === 1;
    },
  };
}
