import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import type { FromGate, ToGate } from './gate.ts';

export interface Usage {
  readonly liveBytes: number;
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

export interface SoakedGate {
  usage(): Promise<Usage>;
  /** Writes all that is in its heap into this file; it does nothing else meanwhile, for seconds. */
  writeHeap(file: string): Promise<void>;
  /** SIGTERM, and the exit code. */
  stop(): Promise<number>;
  /** Without any chance to clean up, if it still runs. */
  kill(): Promise<void>;
}

/** On a busy machine, with all that it has to take away. */
const STOP_SECONDS = 60;

/** Runs until it is ready; its log goes to the file. */
export async function startSoakedGate(
  kubeconfig: string,
  flags: readonly string[],
  log: string,
): Promise<SoakedGate> {
  const listen = `127.0.0.1:${await freePort()}`;
  const sink = openSync(log, 'a');
  const child = fork(
    join(import.meta.dirname, 'gate.ts'),
    ['--kubeconfig', kubeconfig, '--listen', listen, ...flags],
    {
      execArgv: ['--expose-gc'],
      // The settings of who runs the test are not those of the test.
      env: { PATH: process.env['PATH'] ?? '' },
      stdio: ['ignore', sink, sink, 'ipc'],
    },
  );
  closeSync(sink);
  let answer = Promise.withResolvers<FromGate>();
  let ended: Error | undefined;
  child.on('message', (message: FromGate) => answer.resolve(message));
  const exited = once(child, 'exit').then(([code, signal]: (number | string | null)[]) => {
    const last = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
    ended = new Error(`the gate ended with ${signal ?? code}; it said last:\n${last}`);
    answer.reject(ended);
    return typeof code === 'number' ? code : 128;
  });
  async function ask(question: ToGate): Promise<FromGate> {
    if (ended !== undefined) throw ended;
    answer = Promise.withResolvers();
    child.send(question);
    return await answer.promise;
  }

  await answer.promise;
  return {
    async usage() {
      const said = await ask({ kind: 'usage' });
      if (said.kind !== 'usage') throw new Error(`the gate said ${said.kind}`);
      const { live, heap, resident, cpu } = said;
      return { liveBytes: live, heapBytes: heap, residentBytes: resident, cpuSeconds: cpu / 1e6 };
    },
    async writeHeap(file) {
      await ask({ kind: 'snapshot', file });
    },
    async stop() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS * 1000);
      const code = await exited;
      clearTimeout(late);
      return code;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
