import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const CHECKOUT = resolve(import.meta.dirname, '../..');

/** What became of tests. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly TestFailure[];
}

export interface TestFailure {
  readonly name: string;
  /** File and line. */
  readonly place: string;
  readonly detail: string;
}

export interface Run {
  /** How many files at a time. */
  readonly concurrency?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** The same command elsewhere. */
  readonly enter?: (argv: readonly string[]) => readonly string[];
  /** Gets what it writes, instead of the terminal. */
  readonly write?: (chunk: Buffer) => void;
}

/** Runs test files in processes of their own. */
export async function runFiles(files: readonly string[], run: Run = {}): Promise<Counts> {
  if (isEnding) throw new Error('no more test files: this run is ending');
  const { concurrency = 1, env = {}, enter = (argv: readonly string[]) => argv, write } = run;
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-test-'));
  const report = join(folder, 'counts.json');
  const [program = '', ...args] = enter([
    process.execPath,
    '--test',
    `--test-concurrency=${concurrency}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=./test/counts-reporter.js',
    `--test-reporter-destination=${report}`,
    ...files,
  ]);
  const output = write === undefined ? 'inherit' : 'pipe';
  const child = spawn(program, args, {
    cwd: CHECKOUT,
    env: { ...process.env, ...env },
    stdio: ['ignore', output, output],
  });
  if (write !== undefined) for (const stream of [child.stdout, child.stderr]) stream?.on('data', write);
  running.add(child);
  try {
    const [status] = (await once(child, 'close')) as [number | null];
    const { tests, passed, skipped, failures = [] } = readCounts(report);
    // A run that ended badly without naming a failed test has failed all the same.
    const failed = status === 0 ? 0 : Math.max(1, tests - passed - skipped);
    return { passed, skipped, failed, failures };
  } finally {
    running.delete(child);
    rmSync(folder, { recursive: true });
  }
}

const running = new Set<ReturnType<typeof spawn>>();

let isEnding = false;

/** When this process has to go: from now on no test file starts, and those that run end, unless they did so by `first`. */
export async function endRunning(first: () => Promise<void>): Promise<void> {
  isEnding = true;
  await first();
  for (const child of running) child.kill('SIGTERM');
}

/** What test/counts-reporter.js has written. */
interface Report {
  readonly tests: number;
  readonly passed: number;
  readonly skipped: number;
  readonly failures?: readonly TestFailure[];
}

function readCounts(report: string): Report {
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as Report;
  } catch {
    return { tests: 0, passed: 0, skipped: 0 };
  }
}
