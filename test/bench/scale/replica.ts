import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { freePort } from '../../support/free-port.ts';
import { cpuSeconds, residentMb } from '../process-stat.ts';
import { limitMemory } from './memory-limit.ts';

/** To read 10,000 Deployments and 5,000 nodes takes an API server some seconds. */
const READY_SECONDS = 120;

/** How often the gate has asked the API server for something, each attempt by itself. */
export interface ApiCalls {
  readonly total: number;
  /** Create, patch and delete. */
  readonly writes: number;
}

/** One replica of the gate as it runs in a pod, looked at from outside. */
export interface Replica {
  /** User and system, since its start. */
  cpuSeconds(): number;
  residentMb(): number;
  /** The most that it had since `forgetPeak`, or its start. */
  peakMb(): number;
  forgetPeak(): void;
  calls(): Promise<ApiCalls>;
  /** Until it leads and has read everything. */
  leads(): Promise<void>;
  /** Without any chance to clean up, if it still runs. */
  kill(): Promise<void>;
}

interface ReplicaOptions {
  /** Of the API server, on this machine. */
  readonly apiPort: number;
  /** See `install`. */
  readonly account: string;
  /** For admission. */
  readonly port: number;
  readonly flags: readonly string[];
  /** For Node, after flags of Node itself if there are any. */
  readonly program: readonly string[];
  readonly log: string;
}

/** The folder of the kubelet's files is always the same: this process sees its own there, and nobody else does. */
const AS_IN_A_POD =
  'echo $$ > "$1" && shift && mount -t tmpfs none /run && mkdir -p /var/run/secrets/kubernetes.io && ln -s "$0" /var/run/secrets/kubernetes.io/serviceaccount && exec "$@"';

/** Returns when it serves admission. */
export async function startReplica(options: ReplicaOptions): Promise<Replica> {
  const { apiPort, account, port, flags, program, log } = options;
  const health = `127.0.0.1:${await freePort()}`;
  const sink = openSync(log, 'a');
  const args = ['--listen', `127.0.0.1:${port}`, '--health-listen', health, ...flags];
  const gate = [process.execPath, ...program, ...args];
  // Without a fork it stays this very process.
  const limit = limitMemory(`pullgate-scale-${port}`);
  const inPod = ['unshare', '--mount', 'sh', '-c', AS_IN_A_POD, account, limit.file, ...gate];
  // It ends with this process, however that ends.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...inPod], {
    // The settings of who runs the bench are not those of the gate.
    env: {
      PATH: process.env['PATH'] ?? '',
      NODE_ENV: 'production',
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String(apiPort),
    },
    stdio: ['ignore', sink, sink],
  });
  closeSync(sink);
  const killed = () => void child.kill('SIGKILL');
  process.once('exit', killed);
  const exited = once(child, 'exit').then(() => {
    process.off('exit', killed);
    isOver = true;
    limit.remove();
  });
  let isOver = false;
  const pid = child.pid ?? 0;

  async function metrics(): Promise<string> {
    const answer = await fetch(`http://${health}/metrics`);
    return await answer.text();
  }

  /** Until its metrics show it. */
  async function shows(what: RegExp): Promise<void> {
    for (const deadline = performance.now() + READY_SECONDS * 1000; ; ) {
      if (what.test(await metrics().catch(() => ''))) return;
      if (isOver || performance.now() > deadline) {
        const last = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
        throw new Error(`the gate is not ready; it said last:\n${last}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  await shows(/^pullgate_ready 1$/m).catch(async (error: unknown) => {
    killed();
    await exited;
    throw error;
  });
  return {
    // Of holds nobody else tells, and not before.
    leads: () => shows(/^pullgate_holds\{/m),
    cpuSeconds: () => cpuSeconds(pid),
    residentMb: () => residentMb(pid),
    peakMb() {
      const kb = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      return Math.round(Number(kb) / 1024);
    },
    // proc(5): 5 resets the peak to what is resident now.
    forgetPeak: () => writeFileSync(`/proc/${pid}/clear_refs`, '5'),
    async calls() {
      return countCalls(await metrics());
    },
    async kill() {
      if (!isOver) killed();
      await exited;
    },
  };
}

function countCalls(metrics: string): ApiCalls {
  let total = 0;
  let writes = 0;
  for (const [, verb = '', count] of metrics.matchAll(
    /^pullgate_api_requests_total\{verb="(\w+)",.*\} (\d+)$/gm,
  )) {
    total += Number(count);
    if (verb === 'create' || verb === 'patch' || verb === 'delete') writes += Number(count);
  }
  return { total, writes };
}
