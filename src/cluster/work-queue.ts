import type { Clock } from '../clock.ts';
import { GateError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { createLogLimit, FAILURE_RATE } from '../log-limit.ts';
import { isMissingRight } from './api-error.ts';
import { backoffMs } from './backoff.ts';

export interface WorkQueueOptions {
  /**
   * Brings one key up to date from what is known now; never two at a time for one key. May return in how many ms
   * time alone will have changed the answer. What it throws is logged and tried again with back-off.
   */
  readonly reconcile: (key: string) => Promise<number | undefined>;
  /**
   * For how long after each run a storm of events for its key is gathered, in ms; the first one is taken at once. Longer
   * where a run costs more.
   */
  readonly restMs?: (key: string) => number;
  /** Names the queue in the log. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * Reconciles keys such as `namespace/name`. A key that is added several times is reconciled once, after the last time. The queue
 * takes keys from each namespace in turn, a few at a time, so a namespace with thousands of keys delays others by one run.
 */
export interface WorkQueue {
  add(key: string): void;
  /** For what is not urgent: within so many ms, with whatever else there is by then. */
  addWithin(key: string, ms: number): void;
  /** Until then keys are only gathered: nothing is to be decided on half of what is stored. */
  start(): void;
  /** Resolves when nothing is running any more; keys added later are not taken. */
  stop(): Promise<void>;
}

const REST_MS = 25;
const BACKOFF = { baseMs: 500, maxMs: 30_000 };
/** How long one turn of the queue may take, in ms. Between turns, admission answers, the Lease is renewed, and watches are read. */
const TURN_MS = 10;
/** After a turn that was as long as this, the next one has one key: runs are long, and several of them would add up. */
const LONG_TURN_MS = 100;
/**
 * Bounds of the number of keys in one turn, which adapts to `TURN_MS`. At least 4, because other work may have made the turn long;
 * one run takes 1.5 ms on a cluster of 5,000 nodes. At most 64, which is a few milliseconds of the cheapest runs.
 */
const AT_ONCE = { least: 4, most: 64 };

interface Entry {
  /** It is in `ready`. */
  ready: boolean;
  running: boolean;
  again: boolean;
  failures: number;
  /** Of `clock.monotonic`, when the last run ended. */
  ranAt: number;
  /** Likewise, when the next one begins, if one is scheduled. */
  dueAt: number;
  cancel: (() => void) | undefined;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the operations of one queue over one state
export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { reconcile, restMs = () => REST_MS, name, clock, log, random } = options;
  const entries = new Map<string, Entry>();
  const running = new Set<Promise<void>>();
  /** Keys that are due, by namespace. The namespace whose turn is next comes first. */
  const ready = new Map<string, string[]>();
  let atOnce = AT_ONCE.least;
  /** Of `clock.monotonic`. */
  let turnBeganAt = Number.NEGATIVE_INFINITY;
  let cancelTurn: (() => void) | undefined;
  const limitLog = createLogLimit(clock, FAILURE_RATE);
  let started = false;
  let stopped = false;

  function schedule(key: string, entry: Entry, ms: number): void {
    entry.cancel?.();
    entry.dueAt = clock.monotonic() + ms;
    entry.cancel = clock.setTimer(ms, () => {
      entry.cancel = undefined;
      entry.ready = true;
      const namespace = namespaceOf(key);
      const keys = ready.get(namespace);
      if (keys === undefined) ready.set(namespace, [key]);
      else keys.push(key);
      cancelTurn ??= clock.setTimer(0, () => takeTurn());
    });
  }

  /** The synchronous part of every run of a turn is over when the next turn begins, so the time between tells its length. */
  function takeTurn(): void {
    cancelTurn = undefined;
    turnBeganAt = clock.monotonic();
    for (let n = 0; n < atOnce && ready.size > 0; n += 1) startNext();
    if (ready.size === 0) return;
    cancelTurn = clock.setTimer(0, () => {
      atOnce = keysAfter(clock.monotonic() - turnBeganAt, atOnce);
      takeTurn();
    });
  }

  function startNext(): void {
    const [[namespace, keys] = []] = ready;
    const key = keys?.shift();
    if (namespace === undefined || keys === undefined || key === undefined) return;
    ready.delete(namespace);
    if (keys.length > 0) ready.set(namespace, keys);
    const entry = entries.get(key);
    if (entry !== undefined) start(key, entry);
  }

  function start(key: string, entry: Entry): void {
    if (stopped) return;
    entry.ready = false;
    entry.running = true;
    entry.again = false;
    const run = runOnce(key, entry).finally(() => running.delete(run));
    running.add(run);
  }

  /** What the operator can fix has a code and needs no stack. */
  function report(key: string, error: unknown, retryInMs: number): void {
    const fields = { queue: name, key, retryInMs: Math.round(retryInMs) };
    const known = isMissingRight(error)
      ? new GateError('PG_RBAC', { what: `bring ${key} up to date`, detail: error.apiMessage }, error)
      : error;
    limitLog(namespaceOf(key), (more) => {
      if (known instanceof GateError) log.error({ ...fields, ...more, code: known.code }, known.message);
      else log.warn({ ...fields, ...more, err: error }, 'reconcile failed');
    });
  }

  async function runOnce(key: string, entry: Entry): Promise<void> {
    let wakeIn: number | undefined;
    try {
      wakeIn = await reconcile(key);
      entry.failures = 0;
    } catch (error) {
      wakeIn = 1 + backoffMs(entry.failures, BACKOFF, random());
      entry.failures += 1;
      report(key, error, wakeIn);
    }
    entry.running = false;
    entry.ranAt = clock.monotonic();
    if (stopped) return;
    if (entry.again && entry.failures === 0) schedule(key, entry, restMs(key));
    else if (wakeIn !== undefined) schedule(key, entry, Math.min(wakeIn, LONGEST_TIMER_MS));
    else if (entry.again) schedule(key, entry, restMs(key));
    else entries.delete(key);
  }

  function addWithin(key: string, ms: number): void {
    if (stopped) return;
    let entry = entries.get(key);
    if (entry === undefined) {
      entry = {
        ready: false,
        running: false,
        again: false,
        failures: 0,
        ranAt: Number.NEGATIVE_INFINITY,
        dueAt: Number.POSITIVE_INFINITY,
        cancel: undefined,
      };
      entries.set(key, entry);
    }
    if (!started || entry.ready) return;
    if (entry.running) {
      entry.again = true;
      return;
    }
    const now = clock.monotonic();
    const dueAt = Math.max(now + ms, entry.ranAt + restMs(key));
    // A key that failed waits for its back-off, or a storm of events would undo it.
    const waits = entry.cancel !== undefined && (entry.failures > 0 || entry.dueAt <= dueAt);
    if (!waits) schedule(key, entry, Math.max(0, dueAt - now));
  }

  return {
    add: (key) => addWithin(key, 0),
    addWithin,
    start() {
      started = true;
      for (const [key, entry] of entries) schedule(key, entry, 0);
    },
    async stop() {
      stopped = true;
      cancelTurn?.();
      for (const entry of entries.values()) entry.cancel?.();
      await Promise.allSettled(running);
    },
  };
}

/** Returns how many keys the turn after one of that length and so many keys has. */
function keysAfter(ms: number, keys: number): number {
  if (ms >= LONG_TURN_MS) return 1;
  if (ms <= TURN_MS) return Math.min(keys * 2, AT_ONCE.most);
  return keys <= AT_ONCE.least ? keys : Math.max(keys / 2, AT_ONCE.least);
}

function namespaceOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')));
}

/** Node's timers overflow at 2^31 ms. */
const LONGEST_TIMER_MS = 24 * 3600 * 1000;
