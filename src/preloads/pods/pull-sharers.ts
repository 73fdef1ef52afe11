import { type Pull, pullPlace } from './pod-index.ts';

/** A preload with the pulls that it needs. */
export interface Sharer {
  readonly pulls: readonly Pull[];
  /** Whether it may need its pods. */
  live: boolean;
  /** Whether a rollout or a rejected update waits for it. */
  urgent: boolean;
}

/** Knows which preloads need which pull. Thousands may need one pull, so frequent questions are answered from counts. */
export interface PullSharers {
  add(key: string, sharer: Sharer): void;
  remove(key: string, sharer: Sharer): void;
  use(sharer: Sharer, now: Pick<Sharer, 'live' | 'urgent'>): void;
  /** Keys of the preloads that need the pull, live or not. */
  keysOf(pull: Pull): Iterable<string>;
  /** Whether any preload has the pull in its list, or any live one needs it, or any urgent one. */
  isListed(pull: Pull): boolean;
  isNeeded(pull: Pull): boolean;
  isUrgent(pull: Pull): boolean;
}

interface Entry {
  readonly keys: Set<string>;
  live: number;
  urgent: number;
}

export function createPullSharers(): PullSharers {
  const entries = new Map<string, Entry>();
  const entryOf = (pull: Pull) => entries.get(pullPlace(pull));

  function count(pulls: readonly Pull[], live: number, urgent: number): void {
    for (const pull of pulls) {
      const entry = entryOf(pull);
      if (entry === undefined) continue;
      entry.live += live;
      entry.urgent += urgent;
    }
  }

  return {
    add(key, { pulls, live, urgent }) {
      for (const place of pulls.map(pullPlace)) {
        const entry = entries.get(place) ?? { keys: new Set(), live: 0, urgent: 0 };
        entry.keys.add(key);
        entries.set(place, entry);
      }
      count(pulls, Number(live), Number(urgent));
    },
    remove(key, { pulls, live, urgent }) {
      count(pulls, -Number(live), -Number(urgent));
      for (const pull of pulls) {
        const entry = entryOf(pull);
        entry?.keys.delete(key);
        if (entry?.keys.size === 0) entries.delete(pullPlace(pull));
      }
    },
    use(sharer, { live, urgent }) {
      count(sharer.pulls, Number(live) - Number(sharer.live), Number(urgent) - Number(sharer.urgent));
      sharer.live = live;
      sharer.urgent = urgent;
    },
    keysOf: (pull) => entryOf(pull)?.keys ?? [],
    isListed: (pull) => entryOf(pull) !== undefined,
    isNeeded: (pull) => (entryOf(pull)?.live ?? 0) > 0,
    isUrgent: (pull) => (entryOf(pull)?.urgent ?? 0) > 0,
  };
}
