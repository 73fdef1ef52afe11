import type { Clock } from '../clock.ts';
import { createLimiter } from '../limiter.ts';
import { largestShare } from './by-namespace.ts';

export interface QueuedEvent {
  readonly namespace: string;
  readonly name: string;
  readonly body: unknown;
}

/** The Events that wait to be written. */
export interface EventQueue {
  add(event: QueuedEvent): void;
  /** Resolves when none is left. */
  settled(): Promise<void>;
}

/**
 * 10 MB of memory, at 2 kB for each Event. A leader that has just taken over may write an Event for every decision of the last
 * hour, and an API server accepts about 100 Events a second.
 */
const ROOM = 5000;
/** One for each of four namespaces, because Events are not urgent. */
const WRITES_AT_A_TIME = 4;

/**
 * Writes the Events of each namespace in order, and serves several namespaces side by side and in turn. If the queue is full, the
 * namespace with the most Events loses its last one. So a flood of Events in one namespace never drops one of another.
 */
export function createEventQueue(options: {
  /** Never rejects. */
  readonly write: (event: QueuedEvent) => Promise<void>;
  readonly onDropped: (event: QueuedEvent, room: number) => void;
  readonly clock: Pick<Clock, 'monotonic'>;
}): EventQueue {
  const { write, onDropped, clock } = options;
  const writing = createLimiter(WRITES_AT_A_TIME, clock);
  const waiting = new Map<string, QueuedEvent[]>();
  const draining = new Map<string, Promise<void>>();
  let size = 0;

  async function drain(namespace: string, events: QueuedEvent[]): Promise<void> {
    for (let next = events.shift(); next !== undefined; next = events.shift()) {
      const event = next;
      size -= 1;
      await writing(namespace, () => write(event));
    }
    waiting.delete(namespace);
    draining.delete(namespace);
  }

  function dropOne(): void {
    const [, longest] = largestShare(waiting, (events) => events.length) ?? [];
    const dropped = longest?.pop();
    if (dropped === undefined) return;
    size -= 1;
    onDropped(dropped, ROOM);
  }

  return {
    add(event) {
      const { namespace } = event;
      const events = waiting.get(namespace) ?? [];
      waiting.set(namespace, events);
      events.push(event);
      size += 1;
      if (size > ROOM) dropOne();
      if (!draining.has(namespace)) draining.set(namespace, drain(namespace, events));
    },
    async settled() {
      while (draining.size > 0) await Promise.all(draining.values());
    },
  };
}
