import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
/** Frees what nothing refers to any more. */
export const collectMemory = runInNewContext('gc') as () => void;

/** How much more memory is in use, in bytes, as long as what `make` returns is kept. */
export function retainedBytes(make: () => unknown): number {
  // The first run fills caches and has the code compiled.
  make();
  const before = inUse();
  const made = make();
  const bytes = inUse() - before;
  // Read after the measurement, or it could be collected before.
  if (made === undefined) throw new Error('nothing was made');
  return bytes;
}

const ROUNDS = 3;

/**
 * The same, in the smallest of up to three measurements, as what else the process allocates meanwhile only adds to it. The first one
 * that is small enough will do.
 */
export function leastRetainedBytes(make: () => unknown, enough: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS && least > enough; round += 1)
    least = Math.min(least, retainedBytes(make));
  return least;
}

function inUse(): number {
  // Buffers that one collection finds unused are freed beside it, and by the next one at the latest.
  collectMemory();
  collectMemory();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
