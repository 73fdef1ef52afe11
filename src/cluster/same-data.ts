/**
 * The most values that one comparison looks at. A Node with its 50 images and a held Deployment have some hundreds. A hostile
 * object may have a million, and comparing all of them at each event would block the event loop.
 */
const MOST_VALUES = 10_000;

/**
 * Returns whether two values of plain data are equal. Values that would take long to compare count as different, and no depth
 * overflows the stack.
 */
export function isSameData(one: unknown, other: unknown): boolean {
  // A recursion overflows at some thousand levels, and an API server stores 10,000.
  const pairs: unknown[] = [one, other];
  let left = MOST_VALUES;
  while (pairs.length > 0) {
    const b = pairs.pop();
    const a = pairs.pop();
    if (Object.is(a, b)) continue;
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
    left -= addPairs(pairs, a, b) ?? Number.POSITIVE_INFINITY;
    if (left < 0) return false;
  }
  return true;
}

/** Adds the parts that have to be equal, and returns how many there are; undefined if the two differ already. */
function addPairs(pairs: unknown[], a: object, b: object): number | undefined {
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length || a.length > MOST_VALUES)
      return undefined;
    for (const [index, value] of a.entries()) pairs.push(value, b[index]);
    return a.length;
  }
  if (a instanceof Set || b instanceof Set) {
    if (!(a instanceof Set) || !(b instanceof Set) || a.size !== b.size) return undefined;
    return a.isSubsetOf(b) ? a.size : undefined;
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length || keys.length > MOST_VALUES) return undefined;
  for (const key of keys) {
    if (!Object.hasOwn(b, key)) return undefined;
    pairs.push(fieldOf(a, key), fieldOf(b, key));
  }
  return keys.length;
}

function fieldOf(object: object, key: string): unknown {
  return (object as Readonly<Record<string, unknown>>)[key];
}
