/** What requests in flight may take of this process's memory, shared among the peers that send them. */
export interface MemoryBudget {
  charge(peer: string): Charge;
}

/** The memory of one request. */
export interface Charge {
  /** Takes more. False, and nothing is taken, if the budget has no room for it. */
  add(bytes: number): boolean;
  /** Gives everything back. */
  end(): void;
}

/**
 * For all requests together. The container has 512 MiB (deploy/deployment.yaml), and Pullgate takes 204 MB at its peak on 5,000
 * nodes (docs/benchmarks.md). The rest is for this, for the one body that is being parsed (50 MB), for connections, and for
 * what the garbage collector has not freed yet.
 *
 * Requests have a part of their own by their size, so that neither large bodies that arrive slowly nor many updates of middling
 * objects at once keep a usual review out: answered with an error, it would pass ungated. A usual review has 5 to 50 kB. One peer has 256
 * connections at most, and each of them one request at a time: however many usual reviews it sends, there is room for all.
 * The last part has room for the largest review there can be, received and parsed (39 MiB).
 */
const PARTS = [
  { requestBytes: 64 * 1024, bytes: 32 * 1024 * 1024 },
  { requestBytes: 256 * 1024, bytes: 16 * 1024 * 1024 },
  { requestBytes: Number.POSITIVE_INFINITY, bytes: 48 * 1024 * 1024 },
];

export function createMemoryBudget(): MemoryBudget {
  const parts = PARTS.map(({ requestBytes, bytes }) => ({ requestBytes, pool: createPool(bytes) }));
  return {
    charge(peer) {
      let pool: Pool | undefined;
      let taken = 0;
      return {
        add(bytes) {
          const total = taken + bytes;
          const next = parts.find(({ requestBytes }) => total <= requestBytes)?.pool;
          if (next === undefined) return false;
          if (!next.take(peer, next === pool ? bytes : total)) return false;
          if (next !== pool) pool?.give(peer, taken);
          pool = next;
          taken = total;
          return true;
        },
        end() {
          pool?.give(peer, taken);
          pool = undefined;
          taken = 0;
        },
      };
    },
  };
}

interface Pool {
  take(peer: string, bytes: number): boolean;
  give(peer: string, bytes: number): void;
}

/**
 * A peer may have no more than is free without that. So one peer alone has half of the pool at most, unless it is a single
 * request that is larger, and the next peer finds room: strangers cannot use up what API servers need, unless they have many
 * addresses.
 */
function createPool(size: number): Pool {
  const byPeer = new Map<string, number>();
  let used = 0;
  return {
    take(peer, bytes) {
      const ofPeer = (byPeer.get(peer) ?? 0) + bytes;
      if (ofPeer > size - used) return false;
      used += bytes;
      byPeer.set(peer, ofPeer);
      return true;
    },
    give(peer, bytes) {
      used -= bytes;
      const left = (byPeer.get(peer) ?? 0) - bytes;
      if (left > 0) byPeer.set(peer, left);
      else byPeer.delete(peer);
    },
  };
}
