import { setTimeout as wait } from 'node:timers/promises';
import pino from 'pino';
import type { Logger } from '../../../src/log.ts';

/** What a process under test tells the one that tests it. */
export type FromChild<Ready> =
  | { readonly kind: 'ready'; readonly ready: Ready }
  | { readonly kind: 'memory'; readonly used: number; readonly resident: number }
  /** What it should never come to, in words. */
  | { readonly kind: 'error'; readonly line: string }
  /** What it has logged of level warn and above. */
  | { readonly kind: 'log'; readonly line: string }
  | { readonly kind: 'done' };

/** What it is asked: its live memory, or something of its own, which it answers with `done`. */
export type ToChild<Own> = 'memory' | { readonly own: Own };

export const tell = (message: FromChild<unknown>) => process.send?.(message);

/**
 * In the process under test, run with --expose-gc: answers whoever forked it, and ends with it.
 * @param whileMeasured called before and after a measurement, which takes CPU that is not the gate's
 */
export function answerParent<Own>(
  onOwn: (own: Own) => Promise<void> = async () => undefined,
  whileMeasured: (measuring: boolean) => void = () => undefined,
): void {
  process.on('message', async (message: ToChild<Own>) => {
    if (message === 'memory') {
      whileMeasured(true);
      // What a collection lets go of has finalizers and closing sockets that another one follows.
      for (let round = 0; round < 5; round += 1) {
        globalThis.gc?.();
        await wait(50);
      }
      const { heapUsed, external, rss } = process.memoryUsage();
      whileMeasured(false);
      tell({ kind: 'memory', used: heapUsed + external, resident: rss });
      return;
    }
    await onOwn(message.own);
    tell({ kind: 'done' });
  });
  process.on('disconnect', () => process.exit());
}

/** A logger that tells of the lines that are not to occur, shortened. */
export function watchedLog(isWrong: (line: string) => boolean): Logger {
  const write = (line: string) => {
    if (isWrong(line)) tell({ kind: 'error', line: `wrong in the log: ${line.slice(0, 4000)}` });
    else if (/"level":[456]0/.test(line)) tell({ kind: 'log', line: line.slice(0, 1000) });
  };
  return pino({ level: 'debug', base: null }, { write });
}
