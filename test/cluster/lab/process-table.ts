import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { state } from './paths.ts';
import { GiveUp, until } from './until.ts';

/**
 * The kernel's process table is the only record of what runs: no pid files that a crash could leave behind.
 * Every process of the lab carries its component's name and the hash of what it was started with in its
 * environment.
 */
const NAME = 'PULLGATE_LAB';
const SPEC = 'PULLGATE_LAB_SPEC';
/**
 * The pid, in its own pid namespace, of the process that was started. Children inherit it without having
 * that pid, which tells a containerd from its shims, and a socat from the copies it forks for each
 * connection.
 */
const MAIN = 'PULLGATE_LAB_PID';
/** The pid namespace that the lab was started from: one that is in a machine within this one is not ours. */
const MACHINE = 'PULLGATE_LAB_MACHINE';

export interface Component {
  /** Like `hub/etcd` or `node-1/kubelet`. */
  name: string;
  argv: string[];
  env: Record<string, string>;
  /** Configuration files by path: written before the start, part of the spec. */
  files?: Record<string, string>;
  /** A TCP port (in the network namespace of the process) or a Unix socket (in its mount namespace). */
  listens?: { port: number } | { socket: string };
}

export interface MarkedProcess {
  pid: number;
  component: string;
  spec: string;
  main: boolean;
}

export function specOf(component: Component): string {
  const text = JSON.stringify([component.argv, component.env, component.files ?? {}]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

export function parseEnvironment(text: string): Map<string, string> {
  const variables = new Map<string, string>();
  for (const line of text.split('\0')) {
    const equals = line.indexOf('=');
    if (equals > 0) {
      variables.set(line.slice(0, equals), line.slice(equals + 1));
    }
  }
  return variables;
}

export function innermostPid(status: string): string | undefined {
  return /^NSpid:\s(.*)$/m.exec(status)?.[1]?.split('\t').at(-1);
}

function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid');
}

/** Zombies have an empty environment, so what is listed here is alive. */
export function markedProcesses(): MarkedProcess[] {
  const found: MarkedProcess[] = [];
  const machine = pidNamespace();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) {
      continue;
    }
    try {
      const text = readFileSync(`/proc/${pid}/environ`, 'latin1');
      if (!text.includes(`${NAME}=`)) {
        continue;
      }
      const variables = parseEnvironment(text);
      const component = variables.get(NAME);
      const spec = variables.get(SPEC);
      if (component === undefined || spec === undefined) {
        continue;
      }
      if ((variables.get(MACHINE) ?? machine) !== machine) {
        continue;
      }
      const own = innermostPid(readFileSync(`/proc/${pid}/status`, 'latin1'));
      found.push({ pid, component, spec, main: own !== undefined && own === variables.get(MAIN) });
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

export function mainProcess(component: string, table = markedProcesses()): MarkedProcess | undefined {
  return table.find((process) => process.main && process.component === component);
}

export type Outcome = 'kept' | 'started' | 'replaced';

/**
 * Starts the component unless it runs already with this very spec. `inside` is the argv prefix that leads
 * into its namespaces; it is no part of the spec, because it names them by changing pids.
 */
export async function ensureRunning(component: Component, inside: string[] = []): Promise<Outcome> {
  const spec = specOf(component);
  const running = mainProcess(component.name);
  if (running?.spec === spec) {
    return 'kept';
  }
  if (running !== undefined) {
    await stopProcess(running.pid);
  }
  for (const [path, text] of Object.entries(component.files ?? {})) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode: 0o600 });
  }
  const log = logFile(component.name);
  mkdirSync(dirname(log), { recursive: true });
  const sink = openSync(log, 'a');
  const argv = [...inside, 'sh', '-c', `export ${MAIN}=$$; exec "$0" "$@"`, ...component.argv];
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    env: { ...component.env, [NAME]: component.name, [SPEC]: spec, [MACHINE]: pidNamespace() },
    stdio: ['ignore', sink, sink],
    detached: true,
    cwd: '/',
  });
  closeSync(sink);
  let ended: string | undefined;
  child.on('error', (error) => {
    ended = error.message;
  });
  child.on('exit', (code, signal) => {
    ended = `ended with ${signal ?? `exit code ${code}`}`;
  });
  child.unref();
  await until(
    `${component.name} starts`,
    10,
    () => {
      if (ended !== undefined) {
        throw new GiveUp(`${component.name} ${ended}\n${logTail(component.name)}`);
      }
      return mainProcess(component.name) !== undefined || 'no process yet';
    },
    20,
  );
  return running === undefined ? 'started' : 'replaced';
}

function logFile(component: string): string {
  return state('logs', `${component.replace('/', '-')}.log`);
}

/** How much the component has logged so far, for `logSince`. */
export function logSize(component: string): number {
  return statSync(logFile(component), { throwIfNoEntry: false })?.size ?? 0;
}

/** The lines that it has logged since then. */
export function logSince(component: string, size: number): string[] {
  return readFileSync(logFile(component)).subarray(size).toString().split('\n');
}

export function logTail(component: string, lines = 5): string {
  try {
    const tail = readFileSync(logFile(component), 'utf8').trim().split('\n').slice(-lines).join('\n');
    return `last lines of ${logFile(component)}:\n${tail}`;
  } catch {
    return `no log at ${logFile(component)}`;
  }
}

/** SIGTERM, and after 3 s SIGKILL: nothing of the lab needs longer to leave well. */
export async function stopProcess(pid: number): Promise<void> {
  signal(pid, 'SIGTERM');
  await until(`process ${pid} ends`, 3, () => !isAlive(pid) || 'still there', 20).catch(() => {
    signal(pid, 'SIGKILL');
    return until(`process ${pid} ends after SIGKILL`, 10, () => !isAlive(pid) || 'still there', 20);
  });
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Already gone.
  }
}

/** A zombie counts as gone: its parent, which may be us, reaps it in its own time. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** When the process started, on the wall clock, in milliseconds. */
export function startedAt(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // Field 22 of proc_pid_stat(5), counted from after the command's name, in clock ticks since boot; Linux
  // shows 100 of them a second to programs on every architecture that Kubernetes runs on.
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
  return Date.now() - (uptime - ticks / 100) * 1000;
}

/** Waits until the component, once started, also listens. */
export async function untilListening(component: Component, seconds: number): Promise<void> {
  const { listens } = component;
  if (listens === undefined) {
    return;
  }
  await until(
    `${component.name} listens`,
    seconds,
    () => {
      const running = mainProcess(component.name);
      if (running === undefined) {
        throw new GiveUp(`${component.name} has ended\n${logTail(component.name)}`);
      }
      return isListening(component, running) || `not listening\n${logTail(component.name)}`;
    },
    50,
  );
}

export function isListening({ listens }: Component, running: MarkedProcess): boolean {
  if (listens === undefined) {
    return true;
  }
  return 'port' in listens ? listensOn(running.pid, listens.port) : existsIn(running.pid, listens.socket);
}

/** Does the path exist in this process' mount namespace? */
export function existsIn(pid: number, path: string): boolean {
  return existsSync(`/proc/${pid}/root${path}`);
}

/**
 * Does this process' network namespace hold a listening TCP socket on the port? Seen without entering it.
 */
function listensOn(pid: number, port: number): boolean {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  for (const table of ['tcp', 'tcp6']) {
    try {
      for (const line of readFileSync(`/proc/${pid}/net/${table}`, 'latin1').split('\n').slice(1)) {
        const [, local, , socketState] = line.trim().split(/\s+/);
        // 0A is TCP_LISTEN in the kernel's include/net/tcp_states.h.
        if (socketState === '0A' && local?.endsWith(`:${wanted}`)) {
          return true;
        }
      }
    } catch {
      return false;
    }
  }
  return false;
}
