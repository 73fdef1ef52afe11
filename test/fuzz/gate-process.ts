import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Target } from './connection.ts';
import type { FromServer } from './gate-server.ts';

export interface Memory {
  /** Heap and what hangs on it, in bytes, after collections. */
  readonly used: number;
  /** What the process has of the machine. */
  readonly resident: number;
}

export interface GateProcess {
  readonly target: Target;
  /** Lines of level error in its log. */
  readonly errors: readonly string[];
  /** How it has ended, if it has. */
  end(): string | undefined;
  readonly ended: Promise<void>;
  memory(): Promise<Memory>;
  stop(): Promise<void>;
}

export async function startGateProcess(): Promise<GateProcess> {
  const child = fork(join(import.meta.dirname, 'gate-server.ts'), {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  let ended: string | undefined;
  const errors: string[] = [];
  const ready = Promise.withResolvers<Target>();
  let measured = Promise.withResolvers<Memory>();
  child.on('message', (message: FromServer) => {
    if (message.kind === 'ready')
      ready.resolve({ port: message.port, secureContext: createSecureContext({ ca: message.ca }) });
    else if (message.kind === 'memory') measured.resolve(message);
    else errors.push(message.line);
  });
  const exited = once(child, 'exit').then(([code, signal]) => {
    ended = `the server ended: ${String(signal ?? code)}`;
    ready.reject(new Error(ended));
    measured.reject(new Error(ended));
  });
  measured.promise.catch(() => undefined);
  return {
    target: await ready.promise,
    errors,
    end: () => ended,
    ended: exited,
    memory: () => {
      if (ended !== undefined) throw new Error(ended);
      measured = Promise.withResolvers<Memory>();
      child.send('memory');
      return measured.promise;
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
