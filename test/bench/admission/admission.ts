import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { at } from '../../../src/json.ts';
import { median, percentile, rounded } from '../../support/percentile.ts';
import type { Bench, Measured, Progress, Row } from '../bench.ts';
import { cpuSeconds, residentMb } from '../process-stat.ts';
import { DECISION_KINDS, DECISIONS, type DecisionCase, SIZES_KB } from './cases.ts';
import type { Listening, LoadOrder, LoadReport } from './message.ts';
import { type Pinned, pinned } from './pinned.ts';

interface AdmissionCase {
  readonly decision: DecisionCase;
  readonly sizeKb: number;
}

interface AdmissionPlan {
  readonly cases: readonly AdmissionCase[];
  readonly rounds: number;
  /** Of one server and case in one round. */
  readonly sliceMs: number;
  /** To each server, case by case, before the first round: until V8 has compiled what is hot. */
  readonly warmUpRequests: number;
}

/** As many API servers with an update each: more would only queue, at one core. */
const CONNECTIONS = 4;
const SERVER_CORE = 0;
const LOAD_CORE = 1;
/** The usual size and the decision that does the most. */
const GOAL_CASE = { decision: 'hold', sizeKb: 21 } as const;

const ALL_CASES = SIZES_KB.flatMap((sizeKb) => DECISIONS.map((decision) => ({ decision, sizeKb })));
const FULL: AdmissionPlan = { cases: ALL_CASES, rounds: 7, sliceMs: 1000, warmUpRequests: 300 };
export const SHORT: AdmissionPlan = { cases: [GOAL_CASE], rounds: 7, sliceMs: 700, warmUpRequests: 3000 };

export const admission: Bench = {
  name: 'admission',
  title:
    'One admission review over TLS on one core, compared with a bare node:https handler (the floor) that reads, parses and answers.',
  needs: 'cores',
  minutes: 5,
  goals: {
    throughputOverFloor: { is: '>=', limit: 0.85 },
    p99OverFloor: { is: '<=', limit: 1.25 },
  },
  run: (progress, short) => measureAdmission(short ? SHORT : FULL, progress),
};

interface Server {
  readonly name: 'gate' | 'floor';
  readonly process: Pinned<Listening>;
  readonly listening: Listening;
}

interface Slice {
  readonly perSecond: number;
  /** Seconds. */
  readonly cpuPerRequest: number;
  readonly latencies: readonly number[];
  /** How much of its core the load has used. */
  readonly loadShare: number;
  readonly rssMb: number;
}

export async function measureAdmission(plan: AdmissionPlan, progress: Progress): Promise<Measured> {
  if (availableParallelism() < 2)
    throw new Error('two cores are needed: one for the server, one for the load');
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-bench-'));
  const log = openSync(join(folder, 'server.log'), 'w');
  const started: Pinned<Listening>[] = [];
  const start = async (name: Server['name']): Promise<Server> => {
    const process = pinned<Listening>(`${name}-server.ts`, SERVER_CORE, log);
    started.push(process);
    return { name, process, listening: await process.answer() };
  };
  const load = pinned<LoadReport>('load.ts', LOAD_CORE, log);
  try {
    const [gate, floor] = [await start('gate'), await start('floor')];
    return await measured(plan, { gate, floor, load }, progress);
  } finally {
    await Promise.all([...started, load].map((process) => process.stop()));
    closeSync(log);
    rmSync(folder, { recursive: true });
  }
}

type Amount = Pick<LoadOrder, 'ms' | 'requests'>;

interface Stage {
  readonly gate: Server;
  readonly floor: Server;
  readonly load: Pinned<LoadReport>;
}

/** Of one case, by server: a slice of each round. */
interface Slices {
  readonly gate: Slice[];
  readonly floor: Slice[];
}

async function measured(plan: AdmissionPlan, stage: Stage, progress: Progress): Promise<Measured> {
  const { gate, floor } = stage;
  const all = plan.cases.map((one) => ({ one, slices: { gate: [], floor: [] } as Slices }));
  for (const { one } of all) {
    progress(`warming up: ${one.sizeKb} KB, ${one.decision}`);
    for (const server of [gate, floor])
      await slice(stage, server, one, { ms: 0, requests: plan.warmUpRequests });
  }
  for (let round = 0; round < plan.rounds; round += 1) {
    progress(`round ${round + 1} of ${plan.rounds}`);
    // In turns, and each first as often as the other: what the machine does besides meets both.
    const order = round % 2 === 0 ? [gate, floor] : [floor, gate];
    for (const { one, slices } of all) {
      for (const server of order)
        slices[server.name].push(await slice(stage, server, one, { ms: plan.sliceMs, requests: 0 }));
    }
  }
  const goalCase = all.find(
    ({ one }) => one.decision === GOAL_CASE.decision && one.sizeKb === GOAL_CASE.sizeKb,
  );
  return {
    rows: all.flatMap(({ one, slices }) => rowsOf(one, slices)),
    ratios: goalCase === undefined ? {} : overFloor(goalCase.slices),
    notes: [
      `${CONNECTIONS} connections. Each sends its next request as soon as the previous one was answered. The server runs on core ${SERVER_CORE}, the load on core ${LOAD_CORE}.`,
      `${plan.rounds} rounds of ${plan.sliceMs} ms for each server and case, Pullgate (gate) and floor in turns. Ratios are medians of the rounds. The ratios in the first table are for ${GOAL_CASE.sizeKb} KB, ${GOAL_CASE.decision}.`,
      'The floor sends the same bytes as Pullgate. In mode reject, the look-ups are answered from memory.',
      'cpuMicroseconds is the CPU time of the server per request. rssMb is the resident memory of the server. loadCoreShare says how busy the load generator kept its core.',
    ],
  };
}

/** Of each round's pair, the median: what made one round slow has made both of its slices slow. */
function overFloor({
  gate,
  floor,
}: Slices): Record<'throughputOverFloor' | 'p99OverFloor' | 'cpuOverFloor', number> {
  const over = (field: (slice: Slice) => number) =>
    rounded(median(gate.map((slice, round) => field(slice) / fieldOf(floor[round], field))));
  return {
    throughputOverFloor: over(({ perSecond }) => perSecond),
    p99OverFloor: over(({ latencies }) => percentile(latencies, 0.99)),
    cpuOverFloor: over(({ cpuPerRequest }) => cpuPerRequest),
  };
}

function fieldOf(slice: Slice | undefined, field: (slice: Slice) => number): number {
  return slice === undefined ? Number.NaN : field(slice);
}

function rowsOf({ sizeKb, decision }: AdmissionCase, slices: Slices): Row[] {
  return (['gate', 'floor'] as const).map((name) => {
    const own = slices[name];
    const latencies = own.flatMap((slice) => slice.latencies);
    const medianOf = (field: (slice: Slice) => number) => rounded(median(own.map(field)));
    return {
      review: `${sizeKb} KB`,
      decision,
      server: name,
      requestsPerSecond: medianOf(({ perSecond }) => perSecond),
      p50Ms: rounded(percentile(latencies, 0.5)),
      p99Ms: rounded(percentile(latencies, 0.99)),
      p999Ms: rounded(percentile(latencies, 0.999)),
      cpuMicroseconds: medianOf(({ cpuPerRequest }) => cpuPerRequest * 1e6),
      rssMb: Math.max(...own.map(({ rssMb }) => rssMb)),
      loadCoreShare: medianOf(({ loadShare }) => loadShare),
      ...(name === 'gate' && overFloor(slices)),
    };
  });
}

async function slice(stage: Stage, server: Server, one: AdmissionCase, much: Amount): Promise<Slice> {
  const { pid } = server.process;
  if (server.name === 'floor') stage.floor.process.send({ answer: await answerOfGate(stage, one) });
  const before = cpuSeconds(pid);
  const { requests, seconds, latencies, ownCpuSeconds } = await ask(stage, server, one, much);
  return {
    perSecond: requests / seconds,
    cpuPerRequest: (cpuSeconds(pid) - before) / requests,
    latencies,
    loadShare: ownCpuSeconds / seconds,
    rssMb: residentMb(pid),
  };
}

async function answerOfGate(stage: Stage, one: AdmissionCase): Promise<string> {
  const { answer } = await ask(stage, stage.gate, one, { ms: 0, requests: 1 });
  const kind = at(JSON.parse(answer), 'response', 'auditAnnotations', 'decision');
  assert.equal(kind, DECISION_KINDS[one.decision], `${one.sizeKb} KB, ${one.decision}`);
  return answer;
}

async function ask(
  { load }: Stage,
  { listening }: Server,
  one: AdmissionCase,
  much: Amount,
): Promise<LoadReport> {
  load.send({ ...listening, ...one, connections: CONNECTIONS, ...much });
  return await load.answer();
}
