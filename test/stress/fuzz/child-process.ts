import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { FromChild, ToChild } from './child.ts';

export interface Memory {
  /** Heap and what hangs on it, in bytes, after collections. */
  readonly used: number;
  /** What the process has of the machine. */
  readonly resident: number;
}

/** A process under test, from outside. */
export interface Child<Ready, Own> {
  readonly ready: Ready;
  /** What it should never have come to. */
  readonly errors: string[];
  /** The last lines of level warn and above in its log, shortened. */
  readonly lines: readonly string[];
  /** How it has ended, if it has. */
  end(): string | undefined;
  readonly ended: Promise<void>;
  memory(): Promise<Memory>;
  /** Resolves once it has been done. One at a time. */
  ask(own: Own): Promise<void>;
  stop(): Promise<void>;
}

const LINES = 10;
/** Nothing that it is asked takes as long, on whatever machine. */
const PATIENCE_MS = 60_000;

/** @param file in this folder; it uses `child.ts` */
export async function startChild<Ready, Own = never>(
  file: string,
  ...args: readonly string[]
): Promise<Child<Ready, Own>> {
  const child = fork(join(import.meta.dirname, file), args, {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  let ended: string | undefined;
  const errors: string[] = [];
  const lines: string[] = [];
  const ready = Promise.withResolvers<Ready>();
  let measured = Promise.withResolvers<Memory>();
  let done = Promise.withResolvers<void>();
  child.on('message', (message: FromChild<Ready>) => {
    if (message.kind === 'ready') ready.resolve(message.ready);
    else if (message.kind === 'memory') measured.resolve(message);
    else if (message.kind === 'done') done.resolve();
    else if (message.kind === 'error') errors.push(message.line);
    else if (lines.push(message.line) > LINES) lines.shift();
  });
  const exited = once(child, 'exit').then(([code, signal]) => {
    ended = `the process ended: ${String(signal ?? code)}`;
    for (const { reject } of [ready, measured, done]) reject(new Error(ended));
  });
  // Nobody may be waiting when it ends.
  for (const { promise } of [measured, done]) promise.catch(() => undefined);

  /** Sends it, and has the answer within PATIENCE_MS. */
  async function answered<T>(message: ToChild<Own>, answer: PromiseWithResolvers<T>): Promise<T> {
    if (ended !== undefined) throw new Error(ended);
    const what = `${JSON.stringify(message)} was not answered for ${PATIENCE_MS} ms`;
    const patience = setTimeout(() => answer.reject(new Error(what)), PATIENCE_MS);
    child.send(message);
    return await answer.promise.finally(() => clearTimeout(patience));
  }

  return {
    ready: await ready.promise,
    errors,
    lines,
    end: () => ended,
    ended: exited,
    memory: () => {
      measured = Promise.withResolvers<Memory>();
      return answered('memory', measured);
    },
    ask: (own) => {
      done = Promise.withResolvers<void>();
      return answered({ own }, done);
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
