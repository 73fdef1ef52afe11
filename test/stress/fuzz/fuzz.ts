import { setTimeout as wait } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { type Child, type Memory, startChild } from './child-process.ts';
import { type Connection, type Outcome, openConnection } from './connection.ts';
import { type FuzzRequest, fuzzRequest } from './fuzz-request.ts';
import type { ServerReady } from './gate-server.ts';
import { whatIsWrong } from './verdict.ts';

interface FuzzOptions {
  readonly seed: number;
  /** How many requests, or the index of the only one. */
  readonly runs: number | { readonly only: number };
  /** Called after each, with how many there have been. */
  readonly progress?: (done: number) => void;
}

export interface FuzzReport {
  /** What broke a promise, in words, with all that is needed to see it again. */
  readonly failures: readonly string[];
  /** How often each status was answered, and `closed` for connections that ended without an answer, `dropped` by us. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly deliveries: Readonly<Record<string, number>>;
  readonly before: Memory;
  readonly after: Memory;
  readonly slowestMs: number;
}

const WORKERS = 8;
/** Slow requests take 5 s each and no work: they are on their way beside the others. */
const SLOW_AT_ONCE = 50;
/** A run that goes wrong goes wrong at once and often. */
const FAILURE_LIMIT = 20;

export async function fuzz({ seed, runs, progress }: FuzzOptions): Promise<FuzzReport> {
  const gate = await startChild<ServerReady>('gate-server.ts');
  try {
    return await run(gate, seed, typeof runs === 'number' ? [0, runs] : [runs.only, runs.only + 1], progress);
  } finally {
    await gate.stop();
  }
}

async function run(
  gate: Child<ServerReady, never>,
  seed: number,
  [first, end]: readonly [number, number],
  progress: FuzzOptions['progress'],
): Promise<FuzzReport> {
  const failures: string[] = [];
  const outcomes: Record<string, number> = {};
  const deliveries: Record<string, number> = {};
  const inFlight = new Set<number>();
  const target = {
    port: gate.ready.port,
    secureContext: createSecureContext({ ca: gate.ready.ca }),
  };
  let slowestMs = 0;
  let done = 0;

  const judge = (request: FuzzRequest, outcome: Outcome) => {
    const { answers, ms } = outcome;
    for (const key of answers.length > 0
      ? answers.map(({ status }) => status)
      : [request.ending === 'drop' ? 'dropped' : 'closed'])
      outcomes[key] = (outcomes[key] ?? 0) + 1;
    deliveries[request.delivery] = (deliveries[request.delivery] ?? 0) + 1;
    if (request.ending !== 'slow') slowestMs = Math.max(slowestMs, ms);
    const wrong = whatIsWrong(request, outcome);
    if (wrong !== undefined && gate.end() === undefined) failures.push(`${wrong}\n${replay(request)}`);
    done += 1;
    progress?.(done);
  };
  const alone = async (request: FuzzRequest) => {
    const connection = await openConnection(target);
    judge(request, await connection.send(request));
    connection.close();
  };

  let next = first;
  const slow = new Set<Promise<void>>();
  const work = async () => {
    let connection: Connection | undefined;
    while (next < end && failures.length < FAILURE_LIMIT && gate.end() === undefined) {
      const request = fuzzRequest(seed, next);
      next += 1;
      if (request.ending === 'slow') {
        if (slow.size >= SLOW_AT_ONCE) await Promise.race(slow);
        const running = alone(request).finally(() => slow.delete(running));
        slow.add(running);
        continue;
      }
      inFlight.add(request.index);
      connection ??= await openConnection(target);
      const outcome = await connection.send(request);
      judge(request, outcome);
      if (request.ending !== 'keep' || outcome.closed) {
        connection.close();
        connection = undefined;
      }
      if (gate.end() === undefined) inFlight.delete(request.index);
    }
    connection?.close();
  };

  const before = await gate.memory();
  try {
    await Promise.all(Array.from({ length: WORKERS }, work));
    await Promise.all(slow);
  } catch (error) {
    // Nobody listens any more? Then the end of the server, which is known a moment later, is the failure.
    await Promise.race([gate.ended, wait(1000)]);
    if (gate.end() === undefined) throw error;
  }
  const ended = gate.end();
  if (ended !== undefined)
    failures.push(`${ended}, with these indices in flight: ${[...inFlight].join(', ')} (seed ${seed})`);
  for (const line of gate.errors) failures.push(line);
  const after = ended === undefined ? await gate.memory() : before;
  return { failures, outcomes, deliveries, before, after, slowestMs };
}

function replay({ seed, index, delivery, writes }: FuzzRequest): string {
  const bytes = Buffer.concat(writes).toString('base64');
  const shown = bytes.length > 6000 ? `${bytes.slice(0, 4000)}...${bytes.slice(-1000)} (shortened)` : bytes;
  return `  ${delivery}, again by: npm run test:fuzz -- --seed ${seed} --only ${index}\n  bytes (base64): ${shown}`;
}
