import type { Clock } from '../clock.ts';
import { createLimiter } from '../limiter.ts';
import { largestShare } from './by-namespace.ts';

/** What namespaces cause, and what can wait: Events, for example. */
export interface FairQueue<T> {
  add(item: T): void;
  /** Resolves when nothing is left. */
  settled(): Promise<void>;
}

/**
 * Handles the items of each namespace in order, and serves several namespaces side by side and in turn. If the queue is full, the
 * namespace with the most items loses its last one. So a flood of items in one namespace never drops one of another.
 */
export function createFairQueue<T extends { readonly namespace: string }>(options: {
  /** Never rejects. */
  readonly handle: (item: T) => Promise<void>;
  readonly atATime: number;
  /** How many items may wait. */
  readonly room: number;
  readonly onDropped: (item: T) => void;
  readonly clock: Pick<Clock, 'monotonic'>;
}): FairQueue<T> {
  const { handle, atATime, room, onDropped, clock } = options;
  const inTurn = createLimiter(atATime, clock);
  const waiting = new Map<string, T[]>();
  const draining = new Map<string, Promise<void>>();
  let size = 0;

  async function drain(namespace: string, items: T[]): Promise<void> {
    for (let next = items.shift(); next !== undefined; next = items.shift()) {
      const item = next;
      size -= 1;
      await inTurn(namespace, () => handle(item));
    }
    waiting.delete(namespace);
    draining.delete(namespace);
  }

  function dropOne(): void {
    const [, longest] = largestShare(waiting, (items) => items.length) ?? [];
    const dropped = longest?.pop();
    if (dropped === undefined) return;
    size -= 1;
    onDropped(dropped);
  }

  return {
    add(item) {
      const { namespace } = item;
      const items = waiting.get(namespace) ?? [];
      waiting.set(namespace, items);
      items.push(item);
      size += 1;
      if (size > room) dropOne();
      if (!draining.has(namespace)) draining.set(namespace, drain(namespace, items));
    },
    async settled() {
      while (draining.size > 0) await Promise.all(draining.values());
    },
  };
}
