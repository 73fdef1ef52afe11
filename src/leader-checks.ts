import type { Controllers } from './controllers.ts';
import type { Check } from './observe/health-server.ts';

interface Leadership {
  /** Whether this replica leads. A leader has just renewed its Lease, so the API server answers it. */
  readonly isLeader: () => boolean;
  readonly isStuck: () => boolean;
  /** Of the term that is under way, if one is. */
  readonly controllers: () => Pick<Controllers, 'syncingMs' | 'watches'> | undefined;
}

/**
 * Time to read everything that is stored. The largest clusters have about 15,000 nodes and Deployments, which is 30 pages. A slow
 * API server takes a second for each, and this is twice that.
 */
const SYNC_MS = 60_000;

/**
 * The checks of a leader. They concern this replica alone, because probes act on it alone. An outage of the API server fails no
 * check. A restart would not fix it, and would lose the caches. Admission in mode pause needs no API server, so if the replica were
 * out of the Service when the API server is back, updates would pass ungated. A leader loses the Lease within 10 s of an outage,
 * and then none of these checks applies.
 */
export function leaderChecks({ isLeader, isStuck, controllers }: Leadership): {
  readonly live: { readonly election: Check; readonly watches: Check };
  readonly ready: { readonly controllers: Check };
} {
  return {
    live: {
      election: () => (isStuck() ? 'no attempt to acquire or renew the Lease for more than 60 s' : undefined),
      // The Lease is renewed over connections of its own. If that works and a watch hears nothing, the watch is lost.
      watches() {
        const silent = isLeader() ? (controllers()?.watches() ?? []).filter(({ isSilent }) => isSilent) : [];
        return silent.length === 0
          ? undefined
          : silent
              .map(({ resource, silentSeconds }) => `${resource} silent for ${Math.round(silentSeconds)} s`)
              .join(', ');
      },
    },
    ready: {
      // A cache that was read once may become old without harm. The check does not fail at once, because a replica that takes over
      // after the death of the leader may be the only one left, and can answer before it has read everything. But if the stored
      // objects can never be read, for example because a right is missing, no hold is ever released, and it is better not to hold
      // new updates.
      controllers() {
        const syncingMs = isLeader() ? (controllers()?.syncingMs() ?? 0) : 0;
        return syncingMs > SYNC_MS
          ? `the stored objects could not be read within ${Math.round(syncingMs / 1000)} s`
          : undefined;
      },
    },
  };
}
