export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * How long to wait before trying again after the n-th failure in a row, counted from 0. Full jitter: of all variants
 * it spreads a crowd of clients best (AWS Architecture Blog, "Exponential Backoff And Jitter").
 * @param random a number in [0, 1)
 */
export function backoffMs(failure: number, { baseMs, maxMs }: Backoff, random: number): number {
  return random * Math.min(maxMs, baseMs * 2 ** failure);
}
