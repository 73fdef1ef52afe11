/** What one preload could start. */
export interface Demand {
  readonly key: string;
  readonly namespace: string;
  /** A rollout or a rejected update waits for it. */
  readonly urgent: boolean;
  /** Of its pulls, those that run already. */
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
  /** Places that the namespace has; of urgent preloads alone, or all of them. */
  taken(namespace: string, urgentOnly: boolean): number;
  /** The lower, the longer ago: of a namespace, or of the key of a preload. */
  servedAt(namespaceOrKey: string): number;
}

/**
 * How many of the free places each line gets. Urgent ones come before all others, wherever they are. Within each of these
 * classes the places are levelled from below (max-min fairness): the namespace with the fewest gets the next one, however many
 * preloads and nodes it wants them for. What is left over of a level goes to those that have waited longest.
 */
export function shareAmong<T extends Line>(
  free: number,
  lines: readonly T[],
  { taken, servedAt }: Standing,
): Map<T, number> {
  const shares = new Map<T, number>();
  const granted = new Map<string, number>();
  let left = Math.max(0, free);
  for (const urgent of [true, false]) {
    const open = lines
      .filter((line) => line.urgent === urgent && line.wanted > 0)
      .sort((a, b) => servedAt(a.namespace) - servedAt(b.namespace))
      .map((line) => ({
        ...{ line, wanted: line.wanted },
        running: taken(line.namespace, urgent) + (granted.get(line.namespace) ?? 0),
      }));
    for (const [{ line }, share] of levelled(left, open)) {
      if (share > 0) shares.set(line, share);
      granted.set(line.namespace, (granted.get(line.namespace) ?? 0) + share);
      left -= share;
    }
  }
  return shares;
}

/** How many of the places of one line each of its preloads gets, levelled from below as well. Each of them wants something. */
export function shareWithin(
  share: number,
  members: Iterable<Demand>,
  servedAt: Standing['servedAt'],
): Map<string, number> {
  const first = (a: Demand, b: Demand) => a.running - b.running || servedAt(a.key) - servedAt(b.key);
  const grants = new Map<string, number>();
  // There may be thousands. No more of them than there are places can get one.
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

/** What each gets of so many free places so that those with the least come up to the same level; in the order that is given. */
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
