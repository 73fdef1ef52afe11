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
  /** How many of these are `stuck`. */
  readonly stuck: () => number;
  readonly places: () => readonly Place[];
  /** Ends the pull, so that its place becomes free. If that is not possible, the place is soon `stuck`. */
  readonly takeBack: (place: Place, why: 'overdue' | 'surplus') => void;
  readonly wake: (key: string) => void;
}

/** Short enough that nobody notices the wait. Long enough that thousands of waiting preloads take about 1% of a core. */
const LEVEL_INTERVAL_MS = 250;
/** While pods are being deleted: a deletion may fail, or not come to its end. */
const RETRY_MS = 1000;

/** The preloads of one namespace, urgent ones or others, that may not start all of their pulls, each with what it still wants. */
interface Queue extends Line {
  readonly members: Map<string, Demand>;
  wanted: number;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the operations of one budget over one state
export function createBudget(options: BudgetOptions): Budget {
  const { cap, timeoutMs, clock, running, stuck, places, takeBack, wake } = options;
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
  const free = () => cap - (running() - stuck());

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
    if (demand.wanted === 0 || free() <= 0) return 0;
    if (demand.wanted <= free() && queues.size === 0 && stuck() === 0) return demand.wanted;
    const queue = enqueue(demand);
    return shareWithin(shares().get(queue) ?? 0, queue.members.values(), servedAt).get(demand.key) ?? 0;
  }

  function shares(): Map<Queue, number> {
    const found = places();
    const counts = countsOf(found);
    const { isReserved } = reservedPlace.look(found, queues.values(), clock.monotonic());
    const reserved = Number(isReserved && !found.some(({ urgent, state }) => !urgent && state !== 'stuck'));
    const taken: Standing['taken'] = (namespace, urgentOnly) =>
      counts.get(namespace)?.[urgentOnly ? 'urgent' : 'all'] ?? 0;
    const lines = within((namespace) => cap - (counts.get(namespace)?.all ?? 0));
    const shared = shareAmong(free(), lines, { taken, servedAt }, reserved);
    return new Map([...shared].map(([{ queue }, share]) => [queue, share]));
  }

  /** Returns the lines with no more wanted than there is room for in the namespace. */
  function within(room: (namespace: string) => number): (Line & { readonly queue: Queue })[] {
    return [...queues.values()].map((queue) => {
      const { namespace, urgent } = queue;
      return { namespace, urgent, wanted: Math.min(queue.wanted, Math.max(0, room(namespace))), queue };
    });
  }

  function share(): void {
    if (queues.size === 0) return;
    wakeServed();
    levelAt(clock.monotonic());
  }

  /** Wakes about one waiting preload for each free place, not all of them. */
  function wakeServed(): void {
    if (free() <= 0) return;
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
    const found = places();
    const counts = countsOf(found);
    // What is not stuck can make room for another one of its namespace.
    const lines = within((namespace) => cap - (counts.get(namespace)?.stuck ?? 0));
    const { isReserved, inMs } = reservedPlace.look(found, queues.values(), levelledAt);
    const { overdue, surplus, nextAt } = placesToTakeBack({
      ...{ places: found, free: free(), lines, servedAt, now, timeoutMs, isReserved },
    });
    for (const place of overdue) takeBack(place, 'overdue');
    for (const place of surplus) takeBack(place, 'surplus');
    wakeServed();
    const next = earliest(inMs, nextAt && nextAt - now);
    if (next !== undefined) levelAt(levelledAt + next);
    const isEnding = overdue.length + surplus.length > 0 || found.some(({ state }) => state === 'leaving');
    if (isEnding) levelAt(levelledAt + RETRY_MS);
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

/** The places of one namespace. */
interface Counts {
  readonly urgent: number;
  readonly all: number;
  readonly stuck: number;
}

function countsOf(places: readonly Place[]): Map<string, Counts> {
  const counts = new Map<string, Counts>();
  for (const { pod, urgent, state } of places) {
    const before = counts.get(pod.namespace) ?? { urgent: 0, all: 0, stuck: 0 };
    counts.set(pod.namespace, {
      urgent: before.urgent + Number(urgent),
      all: before.all + 1,
      stuck: before.stuck + Number(state === 'stuck'),
    });
  }
  return counts;
}
