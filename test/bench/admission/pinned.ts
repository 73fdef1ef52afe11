import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface Pinned<Answer> {
  readonly pid: number;
  /** The next message that it sends. */
  answer(): Promise<Answer>;
  send(message: object): void;
  stop(): Promise<void>;
}

/** One of the programs beside this file, on one core alone. What it writes to stdout goes to the file descriptor. */
export function pinned<Answer>(program: string, core: number, stdout: number): Pinned<Answer> {
  const file = join(import.meta.dirname, program);
  const child: ChildProcess = spawn('taskset', ['-c', String(core), process.execPath, file], {
    stdio: ['ignore', stdout, 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${program} has ended with ${String(code)}`);
  });
  ended.catch(() => undefined);
  if (child.pid === undefined) throw new Error('taskset cannot be run: it is part of util-linux');
  return {
    pid: child.pid,
    answer: async () => {
      const [message] = (await Promise.race([once(child, 'message'), ended])) as [Answer];
      return message;
    },
    send: (message) => void child.send(message),
    stop: async () => {
      if (child.connected) child.disconnect();
      await ended.catch(() => undefined);
    },
  };
}
