import { setTimeout as wait } from 'node:timers/promises';
import { randomOf } from '../../../support/random.ts';
import { type Child, type Memory, startChild } from '../child-process.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { type Canary, createCanary } from './canary.ts';
import { apply } from './carry-out.ts';
import type { Own } from './gate.ts';
import { operationsAt, placesOfStrangers } from './operation.ts';
import { LONG_STEP } from './steps.ts';
import { createObjects, type Objects } from './stored-objects.ts';
import { answerToStrangers, isOfStranger, kubeletOfStrangers } from './strangers.ts';

export interface WatchFuzzOptions {
  readonly seed: number;
  /** Index of the first one. Default 0. */
  readonly from?: number;
  readonly objects: number;
  /** Called after each batch, with how many objects there have been. */
  readonly progress?: (done: number) => void;
}

export interface WatchFuzzReport {
  /** What broke a promise, in words, with all that is needed to see it again. */
  readonly failures: readonly string[];
  readonly operations: Readonly<Record<string, number>>;
  /** Requests of the gate, by verb and resource. */
  readonly calls: Readonly<Record<string, number>>;
  readonly canaries: number;
  readonly before: Memory;
  /** While what strangers made is there, at its largest; and once it is gone. */
  readonly during: Memory;
  readonly after: Memory;
  /** How long the slowest canary took, by the gate's clock. */
  readonly slowestMs: number;
}

type Gate = Child<true, Own>;

/** Objects between two canaries. */
const BATCH = 50;
/** A watch that has stalled stays so. */
const PATIENCE_MS = 60_000;
const POLL_MS = 20;
/**
 * While a canary is waited for, the gate's time goes four times as fast, and later twenty times: what waits for a time-out or a
 * back-off is seen in seconds. Not from the start, as then all calls would seem slow to the gate.
 */
const FASTER_MS = 60;
const MUCH_FASTER_MS = 400;
const FAST_UNTIL_MS = 5000;
/** What was never asked for before takes memory once. */
const WARM_UP = 5;
const MEASURE_EVERY = 20;
const FAILURE_LIMIT = 10;
/** Between two batches, in steps that leave room for what is due. */
const PAUSES_MS = [0, 0, 1000, 10_000, 60_000, 400_000, 4_000_000];
const STEPS = 20;
const LONG_EACH_OF = 3;

export async function fuzzWatches(options: WatchFuzzOptions): Promise<WatchFuzzReport> {
  const objects = createObjects();
  const time = { skippedMs: 0 };
  const now = () => Date.now() + time.skippedMs;
  const calls: Record<string, number> = {};
  let canary: Canary | undefined;

  const server = await startApiServer({
    objects,
    now,
    special(call) {
      const key = `${call.method} ${call.resource}`;
      calls[key] = (calls[key] ?? 0) + 1;
      if (canary !== undefined && call.namespace === canary.namespace && call.method !== 'GET')
        canary.onCall(call);
      return answerToStrangers(call, options.seed);
    },
    onCreated(object) {
      canary?.onCreated(object);
      if (object.kind === 'pods' && isOfStranger(object.namespace))
        kubeletOfStrangers(objects, object, options.seed, now());
    },
  });
  try {
    const gate: Gate = await startChild('watch/gate.ts', server.url);
    try {
      return await run({
        options,
        objects,
        server,
        gate,
        time,
        now,
        calls,
        use: (next) => {
          canary = next;
        },
      });
    } finally {
      await gate.stop();
    }
  } finally {
    await server.close();
  }
}

interface Run {
  readonly options: WatchFuzzOptions;
  readonly objects: Objects;
  readonly server: ApiServer;
  readonly gate: Gate;
  readonly time: { skippedMs: number };
  readonly now: () => number;
  readonly calls: Readonly<Record<string, number>>;
  /** From now on this is the canary. */
  readonly use: (canary: Canary) => void;
}

async function run({ options, objects, server, gate, time, now, calls, use }: Run): Promise<WatchFuzzReport> {
  const { seed, progress } = options;
  const first = options.from ?? 0;
  const end = first + options.objects;
  const failures: string[] = [];
  const operations: Record<string, number> = {};
  let canaries = 0;
  let slowestMs = 0;
  let last = createCanary(objects, 0, now);

  async function skip(ms: number): Promise<void> {
    time.skippedMs += ms;
    await gate.ask({ skipMs: ms });
  }

  /** The whole way of one more hold. Returns whether it got there. */
  async function canaryPasses(what: string): Promise<boolean> {
    canaries += 1;
    const canary = createCanary(objects, canaries, now);
    last = canary;
    use(canary);
    const [began, beganAt] = [performance.now(), now()];
    canary.begin();
    while (
      canary.waitsFor() !== undefined &&
      performance.now() - began < PATIENCE_MS &&
      gate.end() === undefined
    ) {
      await wait(POLL_MS);
      await skip(performance.now() - began < FAST_UNTIL_MS ? FASTER_MS : MUCH_FASTER_MS);
    }
    slowestMs = Math.max(slowestMs, now() - beganAt);
    const missing = canary.waitsFor();
    if (missing !== undefined) {
      await gate.ask({ skipMs: 0, state: true });
      const words = `after ${PATIENCE_MS} ms the canary waits for ${missing}: ${what}`;
      failures.push([words, ...gate.lines, ...server.unanswered()].join('\n  '));
    }
    for (const wrong of canary.wrongs) failures.push(`the canary: ${wrong}: ${what}`);
    canary.end();
    return missing === undefined;
  }

  /** Has it all happened once, and returns the steps that took too long, unless the canary does not get through. */
  async function happens(from: number, to: number, what: string): Promise<readonly string[] | undefined> {
    for (let index = from; index < to; index += 1) {
      for (const operation of operationsAt(seed, index, { victim: last, now: now() })) {
        operations[operation.does] = (operations[operation.does] ?? 0) + 1;
        apply(operation, objects, server);
      }
      if (index % 10 === 0) await wait(0);
    }
    const passed = await canaryPasses(what);
    const pause = randomOf(seed, from).pick(PAUSES_MS);
    for (let step = 0; step < STEPS && pause > 0; step += 1) await skip(pause / STEPS);
    const [long, other] = partition(gate.errors.splice(0), (error) => error.startsWith(LONG_STEP));
    for (const error of other) failures.push(`${error}: ${what}`);
    return passed ? long : undefined;
  }

  async function batch(from: number, to: number): Promise<boolean> {
    const what = `npm run test:fuzz -- watch --seed ${seed} --from ${from} --objects ${to - from}`;
    let long = await happens(from, to, what);
    // On a machine that others use, too, the same work may take twice the CPU: what takes too long each time is the gate's fault.
    for (let again = 1; again < LONG_EACH_OF && long !== undefined && long.length > 0; again += 1) {
      removeStrangers(objects);
      long = await happens(from, to, what);
    }
    for (const step of long ?? []) failures.push(`${step}, ${LONG_EACH_OF} times out of as many: ${what}`);
    return long !== undefined;
  }

  for (let count = 0; count < WARM_UP; count += 1) await canaryPasses('nothing has happened yet');
  const before = await gate.memory();
  let during = before;
  try {
    for (let from = first; from < end && failures.length < FAILURE_LIMIT; from += BATCH) {
      const to = Math.min(end, from + BATCH);
      if (!(await batch(from, to))) break;
      if ((from / BATCH) % MEASURE_EVERY === MEASURE_EVERY - 1) during = largest(during, await gate.memory());
      progress?.(to);
    }
    during = largest(during, await gate.memory());
    removeStrangers(objects);
    await canaryPasses('after all of them are gone');
  } catch (error) {
    // Its end, which is known a moment later, is the failure.
    await Promise.race([gate.ended, wait(1000)]);
    if (gate.end() === undefined) throw error;
  }
  const ended = gate.end();
  if (ended !== undefined) failures.push(`${ended} (seed ${seed})`);
  const after = ended === undefined ? await gate.memory() : before;
  return { failures, operations, calls, canaries, before, during, after, slowestMs };
}

function removeStrangers(objects: Objects): void {
  for (const { kind, namespace, name } of placesOfStrangers()) objects.remove(kind, namespace, name);
}

function partition<T>(list: readonly T[], isIn: (entry: T) => boolean): [T[], T[]] {
  return [list.filter(isIn), list.filter((entry) => !isIn(entry))];
}

function largest(a: Memory, b: Memory): Memory {
  return a.used >= b.used ? a : b;
}
