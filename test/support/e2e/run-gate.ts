import { destination } from 'pino';
import { systemClock } from '../../../src/clock.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { readConfig } from '../../../src/config.ts';
import type { Gate } from '../../../src/gate.ts';
import { createLogger } from '../../../src/log.ts';
import { PULL_TIMES, type PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import { startProcessGate } from '../../../src/process-gate.ts';

/** Starts the gate in this process, as `src/main.ts` does. SIGTERM stops it, and then the process ends. */
export async function runGate(argv: readonly string[], pullTimes: PullTimes = PULL_TIMES): Promise<Gate> {
  const config = readConfig(argv);
  const log = createLogger(config.logLevel, destination({ sync: true }));
  if ('folder' in config.cluster) throw new Error('--kubeconfig is missing');
  const cluster = await loadKubeconfig(config.cluster.kubeconfig, config.cluster.context);
  const options = { config, clock: systemClock, random: Math.random, log, pullTimes };
  const gate = await startProcessGate(options, cluster);
  process.on('SIGTERM', () => {
    gate.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, 'unexpected');
        process.exit(1);
      },
    );
  });
  return gate;
}
