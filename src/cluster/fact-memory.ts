import { largestShare } from './by-namespace.ts';

/** What became of the Event of a fact: its audit line is written, it waits in the queue, or the API server has it. */
export type FactState = 'logged' | 'queued' | 'written';

/** Remembers facts by namespace and name, so that a level-triggered caller may repeat them at no cost. */
export interface FactMemory {
  get(namespace: string, name: string): FactState | undefined;
  set(namespace: string, name: string, state: FactState): void;
}

/** Holds at most `max` facts. Beyond that, the namespace with the most facts loses its least recently used one. */
export function createFactMemory(max: number): FactMemory {
  /** The least recently used first. */
  const namespaces = new Map<string, Map<string, FactState>>();
  let size = 0;

  function put(facts: Map<string, FactState>, name: string, state: FactState): void {
    if (!facts.delete(name)) size += 1;
    facts.set(name, state);
  }

  function forgetOne(): void {
    const [namespace = '', facts] = largestShare(namespaces, (share) => share.size) ?? [];
    const [oldest] = facts?.keys() ?? [];
    if (oldest !== undefined && facts?.delete(oldest)) size -= 1;
    if (facts?.size === 0) namespaces.delete(namespace);
  }

  return {
    get(namespace, name) {
      const facts = namespaces.get(namespace);
      const state = facts?.get(name);
      if (facts !== undefined && state !== undefined) put(facts, name, state);
      return state;
    },
    set(namespace, name, state) {
      const facts = namespaces.get(namespace) ?? new Map<string, FactState>();
      namespaces.set(namespace, facts);
      put(facts, name, state);
      if (size > max) forgetOne();
    },
  };
}
