import { type Clock, earliest } from '../../clock.ts';
import { type Demand, type Line, type Standing, shareAmong, shareWithin } from './fair-share.ts';
import { createReservedPlace } from './reserved-place.ts';
import { type Place, placesToTakeBack } from './take-back.ts';

/** Shares the places for pulls in the whole cluster among the preloads that want some. */
export interface Budget {
  /** Calls `start` with the number of pulls that the preload may start now. */
  take(demand: Demand, start: (pulls: number) => void): void;
  /** Ends the demand of a preload. Others get what it leaves of its share. */
  satisfied(key: string): void;
  /** Wakes the preloads that may start a pull now. Call it when a pull has ended. */
  share(): void;
  stop(): void;
}

export interface BudgetOptions {
  /** Pulls at a time in the whole cluster. */
  readonly cap: number;
  /** How long a pull may keep its place while others wait for one, whatever its preload allows. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly running: () => number;
  readonly places: () => readonly Place[];
  /** Ends the pull, so that its place becomes free. Resolves to false if that is not possible now. */
  readonly takeBack: (place: Place, why: 'overdue' | 'surplus') => Promise<boolean>;
  readonly wake: (key: string) => void;
}

/** Short enough that nobody notices the wait. Long enough that thousands of waiting preloads take about 1% of a core. */
const LEVEL_INTERVAL_MS = 250;
/** After a place that could not be taken back. */
const RETRY_MS = 1000;

/** The preloads of one namespace, urgent ones or others, that may not start all of their pulls, each with what it still wants. */
interface Queue extends Line {
  readonly members: Map<string, Demand>;
  wanted: number;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the operations of one budget over one state
export function createBudget(options: BudgetOptions): Budget {
  const { cap, timeoutMs, clock, running, places, takeBack, wake } = options;
  const queues = new Map<string, Queue>();
  const queueOf = new Map<string, Queue>();
  /** The turn in which a namespace or a preload was served last. */
  const served = new Map<string, number>();
  let turns = 0;
  let stopped = false;
  let levelledAt = Number.NEGATIVE_INFINITY;
  let timer: { readonly at: number; readonly cancel: () => void } | undefined;

  const servedAt = (id: string) => served.get(id) ?? 0;
  const reservedPlace = createReservedPlace(cap);

  function enqueue(demand: Demand): Queue {
    const { key, namespace, urgent } = demand;
    const id = `${namespace} ${urgent}`;
    const queue = queues.get(id) ?? { namespace, urgent, wanted: 0, members: new Map<string, Demand>() };
    // A preload keeps its position in its queue, so the one that was woken for a place gets it.
    if (queueOf.get(key) !== queue) dequeue(key);
    queue.wanted += demand.wanted - (queue.members.get(key)?.wanted ?? 0);
    queue.members.set(key, demand);
    queues.set(id, queue);
    queueOf.set(key, queue);
    return queue;
  }

  function dequeue(key: string): boolean {
    const queue = queueOf.get(key);
    if (queue === undefined) return false;
    queueOf.delete(key);
    queue.wanted -= queue.members.get(key)?.wanted ?? 0;
    queue.members.delete(key);
    if (queue.members.size === 0) queues.delete(`${queue.namespace} ${queue.urgent}`);
    return true;
  }

  function granted(demand: Demand): number {
    const free = cap - running();
    if (demand.wanted === 0 || free <= 0) return 0;
    if (demand.wanted <= free && queues.size === 0) return demand.wanted;
    const queue = enqueue(demand);
    return shareWithin(shares().get(queue) ?? 0, queue.members.values(), servedAt).get(demand.key) ?? 0;
  }

  function shares(): Map<Queue, number> {
    const taken = places();
    const { isReserved } = reservedPlace.look(taken, queues.values(), clock.monotonic());
    const reserved = Number(isReserved && !taken.some(({ urgent }) => !urgent));
    return shareAmong(cap - running(), [...queues.values()], { taken: takenIn(taken), servedAt }, reserved);
  }

  function share(): void {
    if (queues.size === 0) return;
    wakeServed();
    levelAt(clock.monotonic());
  }

  /** Wakes about one waiting preload for each free place, not all of them. */
  function wakeServed(): void {
    if (running() >= cap) return;
    for (const [queue, places] of shares())
      for (const key of shareWithin(places, queue.members.values(), servedAt).keys()) wake(key);
  }

  function satisfied(key: string): void {
    served.delete(key);
    if (!dequeue(key)) return;
    if (queues.size === 0) served.clear();
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
    if (queues.size === 0) return;
    const now = clock.now();
    const taken = places();
    const { isReserved, inMs } = reservedPlace.look(taken, queues.values(), levelledAt);
    const { overdue, surplus, nextAt } = placesToTakeBack({
      ...{ places: taken, free: cap - running(), lines: [...queues.values()] },
      ...{ servedAt, now, timeoutMs, isReserved },
    });
    const takenBack = [
      ...overdue.map((place) => takeBack(place, 'overdue')),
      ...surplus.map((place) => takeBack(place, 'surplus')),
    ];
    void Promise.all(takenBack).then((results) => {
      if (results.includes(false)) levelAt(clock.monotonic() + RETRY_MS);
    });
    wakeServed();
    const next = earliest(inMs, nextAt && nextAt - now);
    if (next !== undefined) levelAt(levelledAt + next);
  }

  return {
    take(demand, start) {
      const { key, namespace, wanted } = demand;
      const grant = granted(demand);
      start(grant);
      if (grant > 0 && queues.size > 0) {
        turns += 1;
        for (const id of [namespace, key]) served.set(id, turns);
      }
      if (grant === wanted) satisfied(key);
      else {
        enqueue({ ...demand, running: demand.running + grant, wanted: wanted - grant });
        // What this preload left goes to another one, which may not have been woken for it.
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
