/**
 * Returns the entry of the namespace with the largest share. A bounded store that is full takes from this namespace, so no
 * namespace loses anything to one that has more.
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
