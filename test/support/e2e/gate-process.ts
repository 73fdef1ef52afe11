import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { asString, isObject, type JsonObject } from '../../../src/json.ts';
import type { PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { freePort } from '../free-port.ts';
import { until } from './until.ts';

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const TIMED_MAIN = fileURLToPath(new URL('timed-gate.ts', import.meta.url));
/** Some seconds on a busy machine with two cores. */
const READY_SECONDS = 60;
const STOP_SECONDS = 60;

/** The gate as a process beside the API server, as `npm start` runs it. */
export interface GateProcess {
  /** What it has logged so far. */
  readonly lines: readonly JsonObject[];
  /** Whatever it wrote that is no log line: help, usage errors, a stack trace. */
  readonly text: readonly string[];
  /** The exit code, once it has ended; a signal counts as 128. */
  readonly ended: Promise<number>;
  logged(what: string, seconds: number, isIt: (line: JsonObject) => boolean): Promise<JsonObject>;
  /** SIGTERM, or these right after each other, and the exit code. */
  stop(...signals: readonly NodeJS.Signals[]): Promise<number>;
  /** Without any chance to clean up. */
  kill9(): Promise<void>;
}

/** A gate that outlived its tests would go on holding. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Runs with exactly these arguments. */
export function spawnGate(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  main = MAIN,
): GateProcess {
  const child = spawn(process.execPath, [main, ...args], {
    // The settings of who runs the tests are not those of the test; where compiled code is kept is none of the gate.
    env: { ...passedOn('PATH', 'NODE_COMPILE_CACHE'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const lines: JsonObject[] = [];
  const text: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      const parsed = parseOr(line);
      if (isObject(parsed)) lines.push(parsed);
      else text.push(line);
    });
  }
  const ended = exitCode(child);
  return {
    lines,
    text,
    ended,
    async logged(what, seconds, isIt) {
      const here = await until(
        what,
        seconds,
        () => ({ line: lines.find(isIt), lines: lines.slice(-10), text }),
        ({ line }) => line !== undefined,
      );
      return here.line ?? {};
    },
    async stop(...signals) {
      for (const signal of signals.length > 0 ? signals : (['SIGTERM'] as const)) child.kill(signal);
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS * 1000);
      const code = await ended;
      clearTimeout(late);
      return code;
    },
    async kill9() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** How a gate is to be run. */
export interface GateOptions {
  readonly flags?: readonly string[];
  /** Where others than `PULL_TIMES`: a test cannot wait for all of those. */
  readonly pullTimes?: PullTimes;
  readonly port?: number;
}

/** Runs for the lab, on a free port unless one is given, until it says that it is ready. */
export async function startGate(lab: Lab, options: GateOptions = {}): Promise<GateProcess> {
  const { flags = [], pullTimes, port = await freePort() } = options;
  const args = ['--kubeconfig', lab.kubeconfig, '--listen', `127.0.0.1:${port}`, ...flags];
  const gate =
    pullTimes === undefined
      ? spawnGate(args)
      : spawnGate([JSON.stringify(pullTimes), ...args], {}, TIMED_MAIN);
  const over = await Promise.race([
    gate.logged('the gate is ready', READY_SECONDS, ({ msg }) => msg === 'ready'),
    gate.ended,
  ]);
  if (typeof over === 'number') {
    const said = [...gate.lines.map(({ msg }) => asString(msg)), ...gate.text].join('\n');
    throw new Error(`the gate ended with ${over}: ${said}`);
  }
  return gate;
}

function passedOn(...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => [name, process.env[name] ?? '']).filter(([, value]) => value !== ''),
  );
}

async function exitCode(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code ?? 128;
}

function parseOr(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
}
