/** What one preload wants to start. */
export interface Demand {
  readonly key: string;
  readonly namespace: string;
  /** A rollout or a rejected update waits for it. */
  readonly urgent: boolean;
  /** Its pulls that run already. */
  readonly running: number;
  readonly wanted: number;
}

/** What the preloads of one namespace want in all, urgent ones or others. */
export interface Line {
  readonly namespace: string;
  readonly urgent: boolean;
  readonly wanted: number;
}

/** What is taken already, and who was served last. */
export interface Standing {
  /** Returns the places that the namespace has, for its urgent preloads only or for all. */
  taken(namespace: string, urgentOnly: boolean): number;
  /** Returns a number that is lower the longer ago the namespace, or the preload with this key, was served. */
  servedAt(namespaceOrKey: string): number;
}

/**
 * Returns how many of the free places each line gets. Urgent lines come before all others, in every namespace, except for the places
 * that are reserved for the others. Within each of the two classes the places are levelled from below (max-min fairness): the namespace
 * with the fewest places gets the next one, however many preloads and nodes want one. A remainder goes to the namespaces that have
 * waited longest.
 */
export function shareAmong<T extends Line>(
  free: number,
  lines: readonly T[],
  { taken, servedAt }: Standing,
  reserved = 0,
): Map<T, number> {
  const shares = new Map<T, number>();
  const granted = new Map<string, number>();
  let left = Math.max(0, free);
  const kept = Math.min(reserved, wantedOf(lines.filter(({ urgent }) => !urgent)));
  for (const urgent of [true, false]) {
    const open = lines
      .filter((line) => line.urgent === urgent && line.wanted > 0)
      .sort((a, b) => servedAt(a.namespace) - servedAt(b.namespace))
      .map((line) => ({
        ...{ line, wanted: line.wanted },
        running: taken(line.namespace, urgent) + (granted.get(line.namespace) ?? 0),
      }));
    for (const [{ line }, share] of levelled(urgent ? Math.max(0, left - kept) : left, open)) {
      if (share > 0) shares.set(line, share);
      granted.set(line.namespace, (granted.get(line.namespace) ?? 0) + share);
      left -= share;
    }
  }
  return shares;
}

export function wantedOf(lines: readonly Line[]): number {
  return lines.reduce((sum, { wanted }) => sum + wanted, 0);
}

/** Returns how many places of one line each of its preloads gets, levelled from below as well. */
export function shareWithin(
  share: number,
  members: Iterable<Demand>,
  servedAt: Standing['servedAt'],
): Map<string, number> {
  const first = (a: Demand, b: Demand) => a.running - b.running || servedAt(a.key) - servedAt(b.key);
  const grants = new Map<string, number>();
  // There may be thousands of preloads, but no more than there are places can get one.
  for (const [{ key }, grant] of levelled(share, lowest(members, share, first)))
    if (grant > 0) grants.set(key, grant);
  return grants;
}

function lowest<T>(items: Iterable<T>, count: number, compare: (a: T, b: T) => number): T[] {
  if (count !== 1) return [...items].sort(compare).slice(0, count);
  let found: T | undefined;
  for (const item of items) if (found === undefined || compare(item, found) < 0) found = item;
  return found === undefined ? [] : [found];
}

/** Returns what each item gets of the free places, so that the items with the least come up to the same level. */
function levelled<T extends { readonly running: number; readonly wanted: number }>(
  free: number,
  items: readonly T[],
): [T, number][] {
  const upTo = (level: number) =>
    items.map(({ running, wanted }) => Math.min(wanted, Math.max(0, level - running)));
  const total = (grants: readonly number[]) => grants.reduce((sum, grant) => sum + grant, 0);
  let level = 0;
  let tooHigh = 1 + items.reduce((most, { running, wanted }) => Math.max(most, running + wanted), 0);
  while (tooHigh - level > 1) {
    const middle = Math.floor((level + tooHigh) / 2);
    if (total(upTo(middle)) <= free) level = middle;
    else tooHigh = middle;
  }
  const grants = upTo(level);
  let left = free - total(grants);
  return items.map((item, index) => {
    const grant = grants[index] ?? 0;
    if (left === 0 || grant >= item.wanted || item.running + grant > level) return [item, grant];
    left -= 1;
    return [item, grant + 1];
  });
}
