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
 * Small requests have a part of their own, so that large bodies that arrive slowly keep no usual review out. A usual review
 * has 5 to 50 kB. The large part has room for the largest review there can be, received and parsed (39 MiB).
 */
const LARGE_POOL_BYTES = 48 * 1024 * 1024;
const SMALL_POOL_BYTES = 16 * 1024 * 1024;
const SMALL_BYTES = 256 * 1024;

export function createMemoryBudget(): MemoryBudget {
  const large = createPool(LARGE_POOL_BYTES);
  const small = createPool(SMALL_POOL_BYTES);
  return {
    charge(peer) {
      let pool = small;
      let taken = 0;
      return {
        add(bytes) {
          const total = taken + bytes;
          if (pool === small && total > SMALL_BYTES) {
            if (!large.take(peer, total)) return false;
            small.give(peer, taken);
            pool = large;
          } else if (!pool.take(peer, bytes)) return false;
          taken = total;
          return true;
        },
        end() {
          pool.give(peer, taken);
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
