import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../e2e/gate-process.ts';
import type { ScaleCluster } from '../../scale/cluster.ts';
import { cpuSeconds, residentMb } from '../process-stat.ts';

/** To read 10,000 Deployments and 5,000 nodes takes an API server some seconds. */
const READY_SECONDS = 120;
const STOP_SECONDS = 60;

/** How often the gate has asked the API server for something, each attempt by itself. */
export interface ApiCalls {
  readonly total: number;
  /** Create, patch and delete. */
  readonly writes: number;
}

/** The gate as `npm start` runs it, looked at from outside. */
export interface MeasuredGate {
  /** User and system, since its start. */
  cpuSeconds(): number;
  residentMb(): number;
  /** The most that it had since `forgetPeak`, or its start. */
  peakMb(): number;
  forgetPeak(): void;
  calls(): Promise<ApiCalls>;
  /** SIGTERM: it takes everything away. */
  stop(): Promise<void>;
  /** Without any chance to clean up, if it still runs. */
  kill(): Promise<void>;
}

/** @param program for Node, after flags of Node itself if there are any */
export async function startMeasuredGate(
  cluster: Pick<ScaleCluster, 'kubeconfig' | 'folder'>,
  flags: readonly string[],
  program: readonly string[],
): Promise<MeasuredGate> {
  const listen = `127.0.0.1:${await freePort()}`;
  const health = `127.0.0.1:${await freePort()}`;
  const log = join(cluster.folder, 'gate.log');
  const sink = openSync(log, 'a');
  const args = ['--kubeconfig', cluster.kubeconfig, '--listen', listen, '--health-listen', health, ...flags];
  const child = spawn(process.execPath, [...program, ...args], {
    // The settings of who runs the bench are not those of the gate.
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', sink, sink],
  });
  closeSync(sink);
  const killed = () => void child.kill('SIGKILL');
  process.once('exit', killed);
  const exited = once(child, 'exit').then(() => {
    process.off('exit', killed);
    isOver = true;
  });
  let isOver = false;
  const pid = child.pid ?? 0;

  async function ready(): Promise<void> {
    for (const deadline = performance.now() + READY_SECONDS * 1000; ; ) {
      const answer = await fetch(`http://${health}/readyz`).catch(() => undefined);
      if (answer?.ok === true) return;
      if (isOver || performance.now() > deadline) {
        const last = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
        throw new Error(`the gate is not ready; it said last:\n${last}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  await ready().catch(async (error: unknown) => {
    killed();
    await exited;
    throw error;
  });
  return {
    cpuSeconds: () => cpuSeconds(pid),
    residentMb: () => residentMb(pid),
    peakMb() {
      const kb = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      return Math.round(Number(kb) / 1024);
    },
    // proc(5): 5 resets the peak to what is resident now.
    forgetPeak: () => writeFileSync(`/proc/${pid}/clear_refs`, '5'),
    async calls() {
      return countCalls(await (await fetch(`http://${health}/metrics`)).text());
    },
    async stop() {
      child.kill('SIGTERM');
      const late = setTimeout(killed, STOP_SECONDS * 1000);
      await exited;
      clearTimeout(late);
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
