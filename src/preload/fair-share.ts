/** What one preload has running and what it could start. */
export interface Demand {
  readonly key: string;
  readonly running: number;
  readonly wanted: number;
}

/**
 * How many pulls each may start, so that no more than `cap` run in all and the smallest are served first: the
 * shares are levelled from below (max-min fairness), so a small preload is never starved by a large one. Nothing that
 * runs is taken back.
 */
export function fairShare(cap: number, demands: readonly Demand[]): Map<string, number> {
  const grants = new Map<string, number>();
  let free = cap - demands.reduce((sum, { running }) => sum + running, 0);
  const open = demands.filter(({ wanted }) => wanted > 0);
  let level = Math.min(...open.map(({ running }) => running));
  while (free > 0 && open.length > 0) {
    // Those below the level get one each, in a fixed order; when nobody is left below it, the level rises.
    let served = false;
    for (const { key, running, wanted } of open) {
      const granted = grants.get(key) ?? 0;
      if (free === 0 || granted >= wanted || running + granted > level) continue;
      grants.set(key, granted + 1);
      free -= 1;
      served = true;
    }
    if (!served && open.every(({ key, wanted }) => (grants.get(key) ?? 0) >= wanted)) break;
    level += 1;
  }
  return grants;
}
