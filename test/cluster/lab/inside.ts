import { spawn } from 'node:child_process';
import type { Lab } from './lab.ts';

/**
 * Runs a program in the hub's network namespace, where the API server reaches webhooks on 127.0.0.1, and resolves with its exit
 * code. There is no way out: what has to be fetched is fetched before.
 */
export function runInside(lab: Lab, argv: readonly string[]): Promise<number> {
  return runInForeground(lab.enter([...argv]));
}

/** In the place of this process: signals go to it, and its exit code comes back. */
export async function runInForeground([program = '', ...args]: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  // Ctrl-C reaches both from the terminal; this process only waits until the other has taken everything away.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on('error', reject);
  child.on('exit', (code) => resolve(code ?? 1));
  return await promise;
}
