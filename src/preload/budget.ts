import type { Clock } from '../clock.ts';
import { type Demand, type Standing, sharePlaces } from './fair-share.ts';
import { type Place, placesToTakeBack } from './take-back.ts';

/** Shares the places for pulls in the whole cluster among the preloads that want some. */
export interface Budget {
  /** Has as many of the pulls started that a preload wants as it may start now. */
  take(demand: Demand, start: (pulls: number) => void): void;
  /** It wants nothing more: what it leaves of its share is the others'. */
  satisfied(key: string): void;
  /** Wakes those that may start something now. Call it when a pull has ended. */
  share(): void;
  stop(): void;
}

export interface BudgetOptions {
  /** Pulls at a time in the whole cluster. */
  readonly cap: number;
  /** For how long a pull may keep its place while others want one, whatever its preload says. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly running: () => number;
  readonly places: () => readonly Place[];
  /** Ends that pull, so that its place becomes free. False if that could not be done now. */
  readonly takeBack: (place: Place, why: 'overdue' | 'surplus') => Promise<boolean>;
  readonly wake: (key: string) => void;
}

/**
 * Often enough that nobody notices the wait, and seldom enough that thousands of preloads that want something cost a hundredth of a
 * core.
 */
const LEVEL_INTERVAL_MS = 250;
/** After a place that could not be taken back. */
const RETRY_MS = 1000;

export function createBudget(options: BudgetOptions): Budget {
  const { cap, timeoutMs, clock, running, places, takeBack, wake } = options;
  /** The preloads that may not start all they could, and what each of them is short of. */
  const starved = new Map<string, Demand>();
  /** When a namespace or a preload was served last, as a number that counts up. */
  const served = new Map<string, number>();
  let turns = 0;
  let stopped = false;
  let levelledAt = Number.NEGATIVE_INFINITY;
  let timer: { readonly at: number; readonly cancel: () => void } | undefined;

  const servedAt = (id: string) => served.get(id) ?? 0;

  function granted(demand: Demand): number {
    if (demand.wanted === 0) return 0;
    if (running() + demand.wanted <= cap && starved.size === 0) return demand.wanted;
    const others = [...starved.values()].filter(({ key }) => key !== demand.key);
    return shares([demand, ...others]).get(demand.key) ?? 0;
  }

  function shares(demands: readonly Demand[]): Map<string, number> {
    return sharePlaces(cap - running(), demands, { taken: takenIn(places()), servedAt });
  }

  function share(): void {
    if (starved.size === 0) return;
    wakeServed();
    levelAt(clock.monotonic());
  }

  /** Of a thousand that wait, one or so for each place that is free. */
  function wakeServed(): void {
    if (running() < cap) for (const key of shares([...starved.values()]).keys()) wake(key);
  }

  function satisfied(key: string): void {
    served.delete(key);
    if (!starved.delete(key)) return;
    if (starved.size === 0) served.clear();
    share();
  }

  /** Of `clock.monotonic`. */
  function levelAt(time: number): void {
    const at = Math.max(time, levelledAt + LEVEL_INTERVAL_MS);
    if (stopped || (timer !== undefined && timer.at <= at)) return;
    timer?.cancel();
    const cancel = clock.setTimer(Math.max(0, at - clock.monotonic()), level);
    timer = { at, cancel };
  }

  function level(): void {
    timer = undefined;
    levelledAt = clock.monotonic();
    if (starved.size === 0) return;
    const now = clock.now();
    const { overdue, surplus, nextAt } = placesToTakeBack({
      ...{
        places: places(),
        free: cap - running(),
        demands: [...starved.values()],
        servedAt,
        now,
        timeoutMs,
      },
    });
    const taken = [
      ...overdue.map((place) => takeBack(place, 'overdue')),
      ...surplus.map((place) => takeBack(place, 'surplus')),
    ];
    void Promise.all(taken).then((results) => {
      if (results.includes(false)) levelAt(clock.monotonic() + RETRY_MS);
    });
    wakeServed();
    if (nextAt !== undefined) levelAt(levelledAt + nextAt - now);
  }

  return {
    take(demand, start) {
      const { key, namespace, wanted } = demand;
      const grant = granted(demand);
      start(grant);
      if (grant > 0 && starved.size > 0) {
        turns += 1;
        for (const id of [namespace, key]) served.set(id, turns);
      }
      if (grant === wanted) satisfied(key);
      else {
        starved.set(key, { ...demand, running: demand.running + grant, wanted: wanted - grant });
        // What it left is another's, who may not have been woken for it.
        share();
      }
    },
    satisfied,
    share,
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}

function takenIn(places: readonly Place[]): Standing['taken'] {
  const counts = new Map<string, { urgent: number; all: number }>();
  for (const { pod, urgent } of places) {
    const { urgent: before, all } = counts.get(pod.namespace) ?? { urgent: 0, all: 0 };
    counts.set(pod.namespace, { urgent: before + Number(urgent), all: all + 1 });
  }
  return (namespace, urgentOnly) => counts.get(namespace)?.[urgentOnly ? 'urgent' : 'all'] ?? 0;
}
