import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Neighbour, neighbour } from '../../cluster/lab/neighbours.ts';
import type { Scope } from './namespace.ts';
import { until } from './until.ts';

/** For an error: the last lines tell why a program does not come up. */
const KEPT_CHARACTERS = 4000;

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * Starts one of the real programs beside the API server, and returns when it is ready. It ends with the scope.
 * @param isReady whether it answers; an error means not yet
 */
export async function startNeighbour(
  scope: Scope,
  program: Neighbour,
  args: readonly string[],
  isReady: () => Promise<boolean>,
): Promise<void> {
  const child = spawn(neighbour(program), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = `${output}${text}`.slice(-KEPT_CHARACTERS);
    });
  }
  const ended = once(child, 'close');
  scope.after(async () => {
    child.kill('SIGTERM');
    await ended;
    running.delete(child);
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await until(
    `${program} is ready`,
    60,
    async () => ({ ready: hasEnded() || (await isReady().catch(() => false)), output }),
    ({ ready }) => ready,
  );
  if (hasEnded()) throw new Error(`${program} ended: ${output}`);
}
