import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import { backoffMs } from './backoff.ts';

export interface WorkQueueOptions {
  /**
   * Brings one key up to date from what is known now; never two at a time for one key. May return in how many ms
   * time alone will have changed the answer. What it throws is logged and tried again with back-off.
   */
  readonly reconcile: (key: string) => Promise<number | undefined>;
  /** Names the queue in the log. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Keys that want reconciling. However often a key is added, it is reconciled once after the last time. */
export interface WorkQueue {
  add(key: string): void;
  /** Resolves when nothing is running any more; keys added later are not taken. */
  stop(): Promise<void>;
}

/** A storm of events for one key is gathered for so long; the first one is taken at once. */
const GATHER_MS = 25;
const BACKOFF = { baseMs: 500, maxMs: 30_000 };

interface Entry {
  running: boolean;
  again: boolean;
  failures: number;
  /** Of `clock.monotonic`, when the last run ended. */
  ranAt: number;
  cancel: (() => void) | undefined;
}

export function createWorkQueue({ reconcile, name, clock, log, random }: WorkQueueOptions): WorkQueue {
  const entries = new Map<string, Entry>();
  const running = new Set<Promise<void>>();
  let stopped = false;

  function schedule(key: string, entry: Entry, ms: number): void {
    entry.cancel?.();
    entry.cancel = clock.setTimer(ms, () => {
      entry.cancel = undefined;
      start(key, entry);
    });
  }

  function start(key: string, entry: Entry): void {
    if (stopped) return;
    entry.running = true;
    entry.again = false;
    const run = runOnce(key, entry).finally(() => running.delete(run));
    running.add(run);
  }

  async function runOnce(key: string, entry: Entry): Promise<void> {
    let wakeIn: number | undefined;
    try {
      wakeIn = await reconcile(key);
      entry.failures = 0;
    } catch (error) {
      wakeIn = 1 + backoffMs(entry.failures, BACKOFF, random());
      entry.failures += 1;
      log.warn({ queue: name, key, err: error, retryInMs: Math.round(wakeIn) }, 'reconcile failed');
    }
    entry.running = false;
    entry.ranAt = clock.monotonic();
    if (stopped) return;
    if (entry.again && entry.failures === 0) schedule(key, entry, GATHER_MS);
    else if (wakeIn !== undefined) schedule(key, entry, Math.min(wakeIn, LONGEST_TIMER_MS));
    else if (entry.again) schedule(key, entry, GATHER_MS);
    else entries.delete(key);
  }

  return {
    add(key) {
      if (stopped) return;
      let entry = entries.get(key);
      if (entry === undefined) {
        entry = {
          running: false,
          again: false,
          failures: 0,
          ranAt: Number.NEGATIVE_INFINITY,
          cancel: undefined,
        };
        entries.set(key, entry);
      }
      if (entry.running) entry.again = true;
      // A key that failed waits for its back-off, or a storm of events would undo it.
      else if (entry.failures === 0 || entry.cancel === undefined) {
        schedule(key, entry, Math.max(0, entry.ranAt + GATHER_MS - clock.monotonic()));
      }
    },
    async stop() {
      stopped = true;
      for (const entry of entries.values()) entry.cancel?.();
      await Promise.allSettled(running);
    },
  };
}

/** Node's timers overflow at 2^31 ms. */
const LONGEST_TIMER_MS = 24 * 3600 * 1000;
