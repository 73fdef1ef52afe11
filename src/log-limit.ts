import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';
import { createTokenBuckets } from './token-bucket.ts';

/**
 * Calls `write` unless there have been too many lines of that kind. `leftOut` is the number of lines that were left out since the
 * last one.
 */
export type LogLimit = (kind: string, write: (fields: { readonly leftOut?: number }) => void) => void;

export interface LogRate {
  /** Lines of one kind at once. */
  readonly burst: number;
  /** After that, one line in so many milliseconds. */
  readonly everyMs: number;
}

/** Keeps a line that is caused again and again from filling the log: at 1 kB a line, one kind is 1.4 MB a day. */
const RATE: LogRate = { burst: 1, everyMs: 60_000 };
/**
 * Of what fails in one namespace, for whatever object: a namespace whose webhooks refuse everything, or take too long, has
 * thousands of failures.
 */
export const FAILURE_RATE: LogRate = { burst: 10, everyMs: 10_000 };
/**
 * Of what holds and preloads of one namespace make progress with. A rollout on 1,000 nodes has a line for each. Users who cause them
 * without end make 14 MB an hour, at 400 bytes a line.
 */
export const PROGRESS_RATE: LogRate = { burst: 1000, everyMs: 100 };
const REMEMBERED_KINDS = 10_000;

export function createLogLimit(
  clock: Pick<Clock, 'monotonic'>,
  { burst, everyMs }: LogRate = RATE,
): LogLimit {
  const buckets = createTokenBuckets({ burst, refillMs: everyMs, clock });
  const leftOut = new LRUCache<string, number>({ max: REMEMBERED_KINDS });
  return (kind, write) => {
    const missing = leftOut.get(kind) ?? 0;
    if (!buckets.take(kind)) {
      leftOut.set(kind, missing + 1);
      return;
    }
    leftOut.delete(kind);
    write(missing === 0 ? {} : { leftOut: missing });
  };
}
