import type { Controllers } from './controllers.ts';
import type { Check } from './observe/health-server.ts';

interface Leadership {
  /** Whether this replica leads. Only who has just renewed its lease does, so then the API server answers. */
  readonly isLeader: () => boolean;
  readonly isStuck: () => boolean;
  /** Of the term that is under way, if one is. */
  readonly controllers: () => Pick<Controllers, 'syncingMs' | 'watches'> | undefined;
}

/**
 * To read everything that is stored. The largest clusters have some 15,000 nodes and Deployments, which is 30 pages; a tired API
 * server takes a second for each, and this is twice that.
 */
const SYNC_MS = 60_000;

/**
 * What can be wrong with a leader. Everything here is about this replica alone, as probes act on it alone. An outage of the API
 * server is no reason for either of them: a restart would not fix it, and would lose the caches; and admission in mode pause
 * needs no API server, so that a replica that is taken out of the Service would only let updates pass ungated once it is back.
 * Whoever leads loses the lease within 10 s of an outage, and then none of this applies.
 */
export function leaderChecks({ isLeader, isStuck, controllers }: Leadership): {
  readonly live: { readonly election: Check; readonly watches: Check };
  readonly ready: { readonly controllers: Check };
} {
  return {
    live: {
      election: () => (isStuck() ? 'no attempt to acquire or renew the Lease for more than 60 s' : undefined),
      // The lease is renewed over connections of its own: if it is, and a watch hears nothing, then the watch is lost.
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
      // What has been read once may grow old without harm. Not at once: whoever takes over, after a death of the leader say, may
      // be the only one left, and answers all the same. But what can never be read, for want of a right say, means that holds
      // are not released, and then an update had better pass by.
      controllers() {
        const syncingMs = isLeader() ? (controllers()?.syncingMs() ?? 0) : 0;
        return syncingMs > SYNC_MS
          ? `the stored objects could not be read within ${Math.round(syncingMs / 1000)} s`
          : undefined;
      },
    },
  };
}
