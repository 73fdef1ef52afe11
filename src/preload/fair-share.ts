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

/** What is taken already, and who was served last. */
export interface Standing {
  /** Places that the namespace has; of urgent preloads alone, or all of them. */
  taken(namespace: string, urgentOnly: boolean): number;
  /** The lower, the longer ago: of a namespace, or of the key of a preload. */
  servedAt(namespaceOrKey: string): number;
}

/**
 * How many of the free places each preload gets. Urgent preloads come before all others, wherever they are. Within each of these
 * classes the places go to namespaces first, then to the preloads of each: both are levelled from below (max-min fairness), so
 * that many preloads in a namespace, or many nodes of a preload, take nothing from others. What is left over of a level
 * goes to those that have waited longest.
 */
export function sharePlaces(
  free: number,
  demands: readonly Demand[],
  { taken, servedAt }: Standing,
): Map<string, number> {
  const grants = new Map<string, number>();
  const ofNamespace = new Map<string, number>();
  let left = Math.max(0, free);
  for (const urgent of [true, false]) {
    const open = demands.filter((demand) => demand.urgent === urgent && demand.wanted > 0);
    const byTurn = (a: string, b: string) => servedAt(a) - servedAt(b);
    const namespaces = [...Map.groupBy(open, ({ namespace }) => namespace)]
      .sort(([a], [b]) => byTurn(a, b))
      .map(([namespace, members]) => ({
        members: members.sort((a, b) => byTurn(a.key, b.key)),
        running: taken(namespace, urgent) + (ofNamespace.get(namespace) ?? 0),
        wanted: members.reduce((sum, { wanted }) => sum + wanted, 0),
      }));
    for (const [index, share] of levelled(left, namespaces).entries()) {
      const { members = [] } = namespaces[index] ?? {};
      for (const [member, grant] of levelled(share, members).entries()) {
        const { key = '', namespace = '' } = members[member] ?? {};
        if (grant > 0) grants.set(key, grant);
        ofNamespace.set(namespace, (ofNamespace.get(namespace) ?? 0) + grant);
      }
      left -= share;
    }
  }
  return grants;
}

/** What each gets of so many free places so that those with the least come up to the same level; in the order that is given. */
function levelled(
  free: number,
  items: readonly { readonly running: number; readonly wanted: number }[],
): number[] {
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
  return grants.map((grant, index) => {
    const { running = 0, wanted = 0 } = items[index] ?? {};
    if (left === 0 || grant >= wanted || running + grant > level) return grant;
    left -= 1;
    return grant + 1;
  });
}
