import { setTimeout as pause } from 'node:timers/promises';
import { getHeapSpaceStatistics, writeHeapSnapshot } from 'node:v8';
import { runGate } from '../../support/e2e/run-gate.ts';

/** The gate as `src/main.ts` has it, which says what it has in memory when it is asked. Run with --expose-gc, by fork. */
export type ToGate = { readonly kind: 'usage' } | { readonly kind: 'snapshot'; readonly file: string };

export type FromGate =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'usage';
      /** Data on the heap and what hangs on it, in bytes, after collections. */
      readonly live: number;
      /** What V8 has for its heap, used or not, and what the process has of the machine. */
      readonly heap: number;
      readonly resident: number;
      /** User and system, in microseconds since its start. */
      readonly cpu: number;
    }
  | { readonly kind: 'snapshot' };

const say = (message: FromGate) => process.send?.(message);

const gate = await runGate(process.argv);

process.on('message', async (message: ToGate) => {
  if (message.kind === 'snapshot') {
    writeHeapSnapshot(message.file);
    say({ kind: 'snapshot' });
    return;
  }
  const { user, system } = process.cpuUsage();
  // What a collection lets go of has finalizers and closing sockets that another one follows.
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc?.();
    await pause(20);
  }
  const { heapTotal, external, rss } = process.memoryUsage();
  say({
    kind: 'usage',
    live: dataBytes() + external,
    heap: heapTotal,
    resident: rss,
    cpu: user + system,
  });
});
process.on('disconnect', () => process.exit(1));
await gate.ready;

/** Without compiled code: V8 makes and drops megabytes of it as functions are called often, or not for a while. */
function dataBytes(): number {
  return getHeapSpaceStatistics()
    .filter(({ space_name }) => !/code|trusted/.test(space_name))
    .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
}

say({ kind: 'ready' });
