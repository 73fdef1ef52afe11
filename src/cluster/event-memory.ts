import { largestShare } from './by-namespace.ts';

/** What became of an Event: its audit line is written, it waits in the queue, or the API server has it. */
export type EventState = 'logged' | 'queued' | 'written';

/** Remembers Events by namespace and name, so that a level-triggered caller may repeat them at no cost. */
export interface EventMemory {
  get(namespace: string, name: string): EventState | undefined;
  set(namespace: string, name: string, state: EventState): void;
}

/** Holds at most `max` Events. Beyond that, the namespace with the most Events loses its least recently used one. */
export function createEventMemory(max: number): EventMemory {
  /** The least recently used first. */
  const namespaces = new Map<string, Map<string, EventState>>();
  let size = 0;

  function put(events: Map<string, EventState>, name: string, state: EventState): void {
    if (!events.delete(name)) size += 1;
    events.set(name, state);
  }

  function forgetOne(): void {
    const [namespace = '', events] = largestShare(namespaces, (share) => share.size) ?? [];
    const [oldest] = events?.keys() ?? [];
    if (oldest !== undefined && events?.delete(oldest)) size -= 1;
    if (events?.size === 0) namespaces.delete(namespace);
  }

  return {
    get(namespace, name) {
      const events = namespaces.get(namespace);
      const state = events?.get(name);
      if (events !== undefined && state !== undefined) put(events, name, state);
      return state;
    },
    set(namespace, name, state) {
      const events = namespaces.get(namespace) ?? new Map<string, EventState>();
      namespaces.set(namespace, events);
      put(events, name, state);
      if (size > max) forgetOne();
    },
  };
}
