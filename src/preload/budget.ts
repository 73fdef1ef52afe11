import { type Demand, fairShare } from './fair-share.ts';

/** Shares the places for pulls in the whole cluster among the preloads that want some. */
export interface Budget {
  /** Has as many of the pulls started that a preload wants as it may start now. */
  take(demand: Demand, start: (pulls: number) => void): void;
  /** It wants nothing more: what it leaves of its share is the others'. */
  satisfied(key: string): void;
  /** Wakes those that may start something now. Call it when a pull has ended. */
  share(): void;
}

export function createBudget(options: {
  /** Pulls at a time in the whole cluster. */
  readonly cap: number;
  readonly running: () => number;
  readonly wake: (key: string) => void;
}): Budget {
  const { cap, running, wake } = options;
  /** The preloads that may not start all they could, and what each of them is short of. */
  const starved = new Map<string, Demand>();

  function granted(demand: Demand): number {
    if (demand.wanted === 0) return 0;
    if (running() + demand.wanted <= cap && starved.size === 0) return demand.wanted;
    const others = [...starved.values()].filter(({ key }) => key !== demand.key);
    return sharesOf([demand, ...others]).get(demand.key) ?? 0;
  }

  function sharesOf(demands: readonly Demand[]): Map<string, number> {
    // What runs for nobody in the list takes its part of the cap, too; what two of them share takes it once.
    const listed = demands.reduce((sum, demand) => sum + demand.running, 0);
    return fairShare(cap - running() + listed, demands);
  }

  /** Of a thousand that wait, one or so for each place that is free. */
  function share(): void {
    if (starved.size === 0 || running() >= cap) return;
    for (const key of sharesOf([...starved.values()]).keys()) wake(key);
  }

  function satisfied(key: string): void {
    if (starved.delete(key)) share();
  }

  return {
    take(demand, start) {
      const { key, wanted } = demand;
      const grant = granted(demand);
      start(grant);
      if (grant === wanted) satisfied(key);
      else {
        starved.set(key, { key, running: demand.running + grant, wanted: wanted - grant });
        // What it left is another's, who may not have been woken for it.
        share();
      }
    },
    satisfied,
    share,
  };
}
