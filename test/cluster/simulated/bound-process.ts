import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A process of a scale cluster. */
export interface BoundProcess {
  readonly name: string;
  readonly pid: number;
  /** How it has ended with the end of its log; undefined while it runs. */
  ended(): string | undefined;
  /** Without any chance to clean up: its data goes with it. */
  kill(): Promise<void>;
}

export interface Program {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Ends with this process, however that ends: the kernel kills it when its parent has gone. */
export function startBound({ name, argv, env }: Program, folder: string): BoundProcess {
  const log = join(folder, `${name}.log`);
  const sink = openSync(log, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], {
    env,
    cwd: folder,
    stdio: ['ignore', sink, sink],
  });
  closeSync(sink);
  const over = endOf(child);
  let ended: string | undefined;
  void over.then((how) => {
    ended = how;
  });
  return {
    name,
    pid: child.pid ?? 0,
    ended: () => ended && `${name} ended with ${ended}:\n${tail(log)}`,
    async kill() {
      child.kill('SIGKILL');
      await over;
    },
  };
}

async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return String(signal ?? code);
  } catch (error) {
    return String(error);
  }
}

function tail(file: string): string {
  return readFileSync(file, 'utf8').trim().split('\n').slice(-15).join('\n');
}
