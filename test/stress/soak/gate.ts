import { setTimeout as pause } from 'node:timers/promises';
import { getHeapSpaceStatistics, writeHeapSnapshot } from 'node:v8';
import { destination } from 'pino';
import { systemClock } from '../../../src/clock.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { readConfig } from '../../../src/config.ts';
import { createLogger } from '../../../src/log.ts';
import { startProcessGate } from '../../../src/process-gate.ts';
import { endOnSigterm } from '../../support/e2e/end-on-sigterm.ts';

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

const config = readConfig(process.argv);
const log = createLogger(config.logLevel, destination({ sync: true }));
if ('folder' in config.cluster) throw new Error('--kubeconfig is missing');
const cluster = await loadKubeconfig(config.cluster.kubeconfig, config.cluster.context);
const gate = await startProcessGate({ config, clock: systemClock, random: Math.random, log }, cluster);

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
endOnSigterm(gate, log);
await gate.ready;

/** Without compiled code: V8 makes and drops megabytes of it as functions are called often, or not for a while. */
function dataBytes(): number {
  return getHeapSpaceStatistics()
    .filter(({ space_name }) => !/code|trusted/.test(space_name))
    .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
}

say({ kind: 'ready' });
