/** What requests in flight may take of this process's memory, shared among the peers that send them. */
export interface MemoryBudget {
  charge(peer: string): Charge;
}

/** The memory of one request. */
export interface Charge {
  /** Takes more. False, and nothing is taken, if the budget has no room for it. */
  add(bytes: number): boolean;
  /** The same for a request that waits for something, and names this namespace: it may have as much as is left for its peer then. */
  keep(namespace: string, bytes: number): boolean;
  /** Gives everything back. */
  end(): void;
}

/**
 * For all requests together. The container has 512 MiB (deploy/deployment.yaml), and Pullgate takes 204 MB at its peak on 5,000
 * nodes (docs/benchmarks.md). The rest is for this, for the one body that is being parsed (50 MB), for the ImagePreloads that are being
 * made (src/preloads/background-making.ts), for connections, and for what the garbage collector has not freed yet.
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
      let holder: Holder = { peer };
      function grow(bytes: number, next: Holder): boolean {
        const total = taken + bytes;
        const part = parts.find(({ requestBytes }) => total <= requestBytes)?.pool;
        if (part === undefined) return false;
        pool?.give(holder, taken);
        if (part.take(next, total)) {
          [pool, taken, holder] = [part, total, next];
          return true;
        }
        // What it had is still there.
        pool?.restore(holder, taken);
        return false;
      }
      return {
        add: (bytes) => grow(bytes, holder),
        keep: (namespace, bytes) => grow(bytes, { peer, namespace }),
        end() {
          pool?.give(holder, taken);
          pool = undefined;
          taken = 0;
        },
      };
    },
  };
}

interface Holder {
  readonly peer: string;
  /** Of a request that waits. */
  readonly namespace?: string;
}

interface Pool {
  take(holder: Holder, bytes: number): boolean;
  give(holder: Holder, bytes: number): void;
  /** Takes what was given a moment before. */
  restore(holder: Holder, bytes: number): void;
}

/**
 * A peer may have no more than is free without that. So one peer alone has half of the pool at most, unless it is a single
 * request that is larger, and the next peer finds room: strangers cannot use up what API servers need, unless they have many
 * addresses. In the same way the requests of one namespace that wait leave their peer, an API server, as much as they have.
 */
function createPool(size: number): Pool {
  const byHolder = new Map<string, number>();
  let used = 0;
  const has = (key: string) => byHolder.get(key) ?? 0;
  const keysOf = ({ peer, namespace }: Holder) =>
    namespace === undefined ? [peer] : [peer, `${peer} ${namespace}`];
  function change(holder: Holder, bytes: number): void {
    used += bytes;
    for (const key of keysOf(holder)) {
      const left = has(key) + bytes;
      if (left > 0) byHolder.set(key, left);
      else byHolder.delete(key);
    }
  }
  return {
    take(holder, bytes) {
      const [peer = '', namespace] = keysOf(holder);
      const free = size - used;
      if (has(peer) + bytes > free) return false;
      if (namespace !== undefined && has(namespace) + bytes > free - has(peer)) return false;
      change(holder, bytes);
      return true;
    },
    give: (holder, bytes) => change(holder, -bytes),
    restore: change,
  };
}
