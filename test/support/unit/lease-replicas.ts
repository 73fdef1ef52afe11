import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../../src/clock.ts';
import { wait } from '../../../src/clock.ts';
import type { CallOptions } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import { createElector, type Elector } from '../../../src/cluster/elector.ts';
import { type LeaseServer, leaseClient, leaseServer } from './lease-server.ts';
import { logDouble } from './log-double.ts';
import { type ManualClock, manualClock } from './manual-clock.ts';

/**
 * What becomes of a call. `refused`: the server says 500. `unheard`: it is carried out, its answer never comes. `late`:
 * it is carried out after its caller has given up. `lost`: it never arrives.
 */
export type Fate = 'served' | 'refused' | 'unheard' | 'late' | 'lost';

export interface Network {
  /** Of one way. */
  latencyMs(): number;
  fate(): Fate;
}

const LATE_MS = 8000;

/** A process with an elector, on a machine with clocks of its own. It can be stopped and go on, and be killed. */
export interface Replica {
  readonly name: string;
  readonly elector: Elector;
  readonly lines: Record<string, unknown>[];
  /** What it does as a leader is being done. */
  readonly leads: boolean;
  /** Why it was told to end, since it began to lead the last time. */
  readonly toldToEnd: unknown;
  /** When each write of the leader was sent, in true time. */
  readonly writes: readonly number[];
  /** May do something as a leader. */
  isActing(): boolean;
  pause(): void;
  resume(): void;
  kill(): void;
}

export interface ReplicaOptions {
  readonly name: string;
  /** How wrong its wall clock is, and where its monotonic clock begins. */
  readonly offsetMs?: number;
  /** How fast its clocks run. */
  readonly rate?: number;
  readonly network?: Network;
  /** Between being told to end and having ended. */
  readonly drainMs?: number;
  readonly random?: () => number;
  /** When a write of the leader is sent. */
  readonly onWrite?: () => void;
  /** When one is carried out. A server drops what its caller has broken off, but nobody breaks off while standing still. */
  readonly onLanded?: () => void;
}

const PERFECT: Network = { latencyMs: () => 0, fate: () => 'served' };
const WRITE_EVERY_MS = 700;

export function replicas() {
  const time = manualClock();
  const server = leaseServer();
  const all: Replica[] = [];
  return {
    time,
    server,
    all,
    add(options: ReplicaOptions): Replica {
      const added = startReplica(time, server, options);
      all.push(added);
      return added;
    },
    /** Lets time pass, and looks after whatever has happened in it. */
    async pass(ms: number, look: () => void = () => {}): Promise<void> {
      const end = time.monotonic() + ms;
      for (;;) {
        await nextTurn();
        look();
        const next = time.timers()[0];
        if (next === undefined || time.monotonic() + next > end) break;
        time.advance(next);
      }
      time.advance(end - time.monotonic());
      await nextTurn();
      look();
    },
    acting: () => all.filter((replica) => replica.isActing()).map(({ name }) => name),
  };
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one fixture with its state
function startReplica(time: ManualClock, server: LeaseServer, options: ReplicaOptions): Replica {
  const {
    name,
    offsetMs = 0,
    rate = 1,
    network = PERFECT,
    drainMs = 0,
    random = () => 0.5,
    onWrite,
    onLanded,
  } = options;
  const { log, lines } = logDouble();
  let paused = false;
  let killed = false;
  let missed: (() => void)[] = [];
  let leads = false;
  let toldToEnd: unknown;
  const writes: number[] = [];

  /** Nothing reaches a process that stands still, until it goes on. */
  function reach(fn: () => void): void {
    if (killed) return;
    if (paused) missed.push(fn);
    else fn();
  }

  const clock: Clock = {
    now: () => time.now() + offsetMs,
    monotonic: () => time.monotonic() * rate + offsetMs,
    setTimer(ms, fn) {
      let cancelled = false;
      const cancel = time.setTimer(ms / rate, () =>
        reach(() => {
          if (!cancelled) fn();
        }),
      );
      return () => {
        cancelled = true;
        cancel();
      };
    },
  };

  function carry<T>(serve: () => T, call: CallOptions = {}): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const fate = network.fate();
    const giveUp = clock.setTimer(call.deadlineMs ?? 15_000, () => reject(new Error('no answer in time')));
    call.signal?.addEventListener('abort', () => reject(call.signal?.reason), { once: true });
    promise.then(giveUp, giveUp);
    if (fate === 'lost') return promise;
    time.setTimer(network.latencyMs() + (fate === 'late' ? LATE_MS : 0), () => {
      let answer: () => void;
      try {
        if (fate === 'refused') throw new ApiError(500, {});
        const value = serve();
        answer = () => resolve(value);
      } catch (error) {
        answer = () => reject(error);
      }
      if (fate !== 'unheard') time.setTimer(network.latencyMs(), () => reach(answer));
    });
    return promise;
  }

  const client = leaseClient(server, carry);
  const elector = createElector({
    client,
    namespace: 'pullgate',
    name: 'pullgate',
    identity: name,
    clock,
    random,
    log,
  });
  void elector.run(async (signal, guard) => {
    const counted = guard({
      ...client,
      // Settles as a real call does: a leader that ends in order waits for what is under way.
      create: (_path, _body, _query, call = {}) => {
        writes.push(time.monotonic());
        onWrite?.();
        const { promise, resolve, reject } = Promise.withResolvers<object>();
        const deadlineMs = call.deadlineMs ?? 15_000;
        const endsAt = clock.monotonic() + deadlineMs;
        const giveUp = clock.setTimer(deadlineMs, () => reject(new Error('no answer in time')));
        call.signal?.addEventListener('abort', () => reject(call.signal?.reason), { once: true });
        promise.then(giveUp, giveUp);
        const fate = network.fate();
        if (fate === 'lost') return promise;
        time.setTimer(network.latencyMs() + (fate === 'late' ? LATE_MS : 0), () => {
          const brokenOff = killed || call.signal?.aborted || clock.monotonic() >= endsAt;
          if (!paused && !brokenOff) onLanded?.();
          if (fate !== 'unheard') reach(() => resolve({}));
        });
        return promise;
      },
    });
    leads = true;
    toldToEnd = undefined;
    signal.addEventListener('abort', () => {
      toldToEnd = signal.reason;
    });
    while (!signal.aborted) {
      await counted.create('/work', {}).catch(() => undefined);
      await wait(clock, WRITE_EVERY_MS, signal).catch(() => undefined);
    }
    if (drainMs > 0) await wait(clock, drainMs, new AbortController().signal);
    leads = false;
  });

  return {
    name,
    elector,
    lines,
    get leads() {
      return leads;
    },
    get toldToEnd() {
      return toldToEnd;
    },
    writes,
    isActing: () => !killed && elector.isLeader(),
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      for (const fn of missed.splice(0)) fn();
    },
    kill() {
      killed = true;
      missed = [];
    },
  };
}
