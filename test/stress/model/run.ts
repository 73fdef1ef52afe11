import { attach } from '../../cluster/lab/lab.ts';
import type { Scope } from '../../support/e2e/namespace.ts';
import { disturb, disturbances } from './disturbances.ts';
import { type RunningGate, runGate } from './gated-run.ts';
import { generate } from './generate.ts';
import { runHostile } from './hostile.ts';
import { connect, type Outcome, runSequence } from './run-sequence.ts';

/** At a time, on two cores. */
const PARALLEL = 10;
/** So many share what happens to the processes. */
const GROUP = 5;
/** Indices of disturbed sequences begin here. */
const DISTURBED = 1_000_000;

export interface RunOptions {
  readonly seed: number;
  /** Sequences without anything happening to the processes, and those with. */
  readonly runs: number;
  readonly serial: number;
  /** Whether the gate runs with --bypass-needs-permission, and the users have the role `edit` alone. */
  readonly needsPermission?: boolean;
  /** This one alone. */
  readonly only?: number;
  readonly progress: (line: string) => void;
}

export interface Failure {
  readonly index: number;
  readonly problems: readonly string[];
  readonly script: readonly string[];
  readonly evidence: readonly string[];
}

export interface Report {
  readonly runs: number;
  readonly steps: number;
  readonly failures: readonly Failure[];
  /** What there was to judge. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Inside the lab's network namespace: the API server calls the gate on the loopback address. */
export async function run(options: RunOptions): Promise<Report> {
  const { seed, progress } = options;
  const lab = await attach();
  const { needsPermission = false } = options;
  const gate = await runGate(lab, needsPermission);
  const failures: Failure[] = [];
  let runs = 0;
  let steps = 0;
  const counts: Record<string, number> = {};

  async function one(index: number, onBegun: () => void = () => undefined): Promise<void> {
    const began = performance.now();
    const sequence = generate(seed, index, { slow: index >= DISTURBED, needsPermission });
    const outcome: Outcome = await runSequence(lab, sequence, gate, onBegun);
    runs += 1;
    steps += outcome.steps;
    for (const [what, count] of Object.entries(outcome.counts)) counts[what] = (counts[what] ?? 0) + count;
    const { problems, script, evidence } = outcome;
    if (problems.length > 0) failures.push({ index, problems, script, evidence });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const result = problems.length === 0 ? 'ok' : `${problems.length} PROBLEMS`;
    progress(`sequence ${index}: ${outcome.steps} steps in ${seconds} s, ${result}`);
    // No promise is broken by it, but why it happened is worth to be known.
    if (problems.length === 0) for (const line of evidence) progress(`    ${line}`);
  }

  async function group(indices: readonly number[]): Promise<void> {
    const number = Math.floor(((indices[0] ?? 0) - DISTURBED) / GROUP);
    const list = disturbances(seed, number);
    progress(`disturbed by: ${list.map(({ what, afterMs }) => `${what} after ${afterMs} ms`).join(', ')}`);
    const begun = indices.map(() => Promise.withResolvers<void>());
    const all = Promise.all(indices.map((index, place) => one(index, begun[place]?.resolve)));
    // What is made at the beginning is made once: only a user asks again.
    await Promise.all(begun.map(({ promise }) => promise));
    await Promise.all([disturb(gate, list), all]);
  }

  await gate.start();
  const closing: (() => unknown)[] = [];
  const scope: Scope = { after: (end) => closing.unshift(end) };
  try {
    const api = await connect(lab);
    scope.after(() => api.close());
    const hostile = await runHostile(scope, lab, api, seed);
    scope.after(async () => {
      await hostile.stop();
      counts['hostile'] = hostile.done();
    });
    const { calm, groups } = plan(options);
    await inParallel(calm, (index) => one(index));
    for (const indices of groups) await group(indices);
  } finally {
    const problems: string[] = [];
    for (const end of closing)
      await Promise.resolve(end()).catch((error: unknown) =>
        problems.push(`the hostile namespace: ${error}`),
      );
    if (problems.length > 0) failures.push({ index: -1, problems, script: [], evidence: [] });
    await stop(gate);
  }
  if (gate.faults.length > 0) failures.push({ index: -1, problems: gate.faults, script: [], evidence: [] });
  return { runs, steps, failures, counts };
}

/** A gate that is down, as a disturbance failed, is started: else nobody takes away what it has made. */
async function stop(gate: RunningGate): Promise<void> {
  await gate.start();
  await gate.stop();
}

function plan({ runs, serial, only }: RunOptions): { calm: number[]; groups: number[][] } {
  if (only !== undefined)
    return only < DISTURBED ? { calm: [only], groups: [] } : { calm: [], groups: [[only]] };
  const disturbed = Array.from({ length: serial }, (_, index) => DISTURBED + index);
  const groups: number[][] = [];
  for (let at = 0; at < disturbed.length; at += GROUP) groups.push(disturbed.slice(at, at + GROUP));
  return { calm: Array.from({ length: runs }, (_, index) => index), groups };
}

async function inParallel(indices: readonly number[], one: (index: number) => Promise<void>): Promise<void> {
  const queue = [...indices];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await one(next);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

export function failureText({ index, problems, script, evidence }: Failure, seed: number): string {
  return [
    `sequence ${index} of seed ${seed}; again: npm run test:model -- --seed ${seed} --only ${index}`,
    ...problems.map((problem) => `  - ${problem}`),
    ...[...script, ...evidence].map((line) => `    ${line}`),
  ].join('\n');
}
