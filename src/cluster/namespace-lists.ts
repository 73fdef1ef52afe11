import type { Clock } from '../clock.ts';
import { backoffMs } from './backoff.ts';

export interface NamespaceListsOptions {
  /** Lists one namespace, and rejects once aborted. Never called twice at a time for one namespace. */
  list(namespace: string, signal: AbortSignal): Promise<void>;
  onFailure(namespace: string, error: unknown): void;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Lists namespaces once each, beside the watch, and retries those that fail. */
export interface NamespaceLists {
  /** Lists the namespace. A list of it that is under way starts again, because what it has read may be too old. */
  add(namespace: string): void;
  /** Drops all namespaces, and starts none that is added until `resume`. The initial state is paused. */
  pause(): void;
  resume(): void;
  /** Resolves when nothing is running any more. */
  stop(): Promise<void>;
}

/** An administrator may label a thousand namespaces at once, and a large one must not keep the others waiting. */
const AT_A_TIME = 4;
const BACKOFF = { baseMs: 400, maxMs: 10_000 };

export function createNamespaceLists(options: NamespaceListsOptions): NamespaceLists {
  const { list, onFailure, clock, random } = options;
  /** The namespaces to list, each with its failures in a row. */
  const wanted = new Map<string, number>();
  const running = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>();
  /** Cancels the retry of a namespace that has failed. */
  const resting = new Map<string, () => void>();
  let isPaused = true;

  function startSome(): void {
    for (const namespace of wanted.keys()) {
      if (isPaused || running.size >= AT_A_TIME) return;
      if (running.has(namespace) || resting.has(namespace)) continue;
      const abort = new AbortController();
      running.set(namespace, { abort, done: run(namespace, abort.signal) });
    }
  }

  async function run(namespace: string, signal: AbortSignal): Promise<void> {
    await Promise.resolve(); // lets `startSome` add it to `running` first
    try {
      await list(namespace, signal);
      if (!signal.aborted) wanted.delete(namespace);
    } catch (error) {
      if (!signal.aborted) rest(namespace, error);
    }
    running.delete(namespace);
    startSome();
  }

  function rest(namespace: string, error: unknown): void {
    const failures = wanted.get(namespace) ?? 0;
    wanted.set(namespace, failures + 1);
    onFailure(namespace, error);
    const cancel = clock.setTimer(backoffMs(failures, BACKOFF, random()), () => {
      resting.delete(namespace);
      startSome();
    });
    resting.set(namespace, cancel);
  }

  function forget(namespace: string): void {
    wanted.delete(namespace);
    running.get(namespace)?.abort.abort();
    resting.get(namespace)?.();
    resting.delete(namespace);
  }

  function pause(): void {
    isPaused = true;
    for (const namespace of [...wanted.keys(), ...running.keys()]) forget(namespace);
  }

  return {
    add(namespace) {
      forget(namespace);
      wanted.set(namespace, 0);
      startSome();
    },
    pause,
    resume() {
      isPaused = false;
      startSome();
    },
    async stop() {
      pause();
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
}
