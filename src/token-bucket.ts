import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';

/** One bucket for each key. A bucket begins full and is refilled slowly. */
export interface TokenBuckets {
  /** Takes a token from the key's bucket. False if the bucket is empty. */
  take(key: string): boolean;
}

/** A forgotten bucket starts full again, so the limit is a little wider if more keys than this are in use. */
const REMEMBERED_BUCKETS = 10_000;

export function createTokenBuckets(options: {
  /** Tokens in a full bucket. */
  readonly burst: number;
  /** Time until a bucket gets another token. */
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
