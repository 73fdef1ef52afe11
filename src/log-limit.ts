import type { Clock } from './clock.ts';

/** Writes at most one line per minute, and tells the next line how many were left out. */
export type LogLimit = (write: (fields: { readonly leftOut?: number }) => void) => void;

/** Nobody can fill the log by causing the same line again and again. */
const INTERVAL_MS = 60_000;

export function createLogLimit(clock: Clock): LogLimit {
  let nextAt = Number.NEGATIVE_INFINITY;
  let leftOut = 0;
  return (write) => {
    if (clock.monotonic() < nextAt) {
      leftOut += 1;
      return;
    }
    nextAt = clock.monotonic() + INTERVAL_MS;
    write(leftOut === 0 ? {} : { leftOut });
    leftOut = 0;
  };
}
