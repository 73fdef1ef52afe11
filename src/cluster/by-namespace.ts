/**
 * Returns the entry of the namespace that has most. A bounded store takes from that one when it is full: so a namespace loses
 * nothing to another one that has more.
 */
export function largestShare<T>(
  shares: ReadonlyMap<string, T>,
  sizeOf: (share: T) => number,
): readonly [string, T] | undefined {
  let largest: readonly [string, T] | undefined;
  for (const entry of shares) {
    if (largest === undefined || sizeOf(entry[1]) > sizeOf(largest[1])) largest = entry;
  }
  return largest;
}
