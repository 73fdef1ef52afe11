import { destination, pino } from 'pino';
import { systemClock } from '../../src/clock.ts';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import type { Config } from '../../src/config.ts';
import { startGate } from '../../src/gate.ts';
import type { PullTimes } from '../../src/preload/pull-times.ts';

/** All that this gate is told, as its one argument, in JSON. */
export interface GateSettings {
  readonly kubeconfig: string;
  readonly port: number;
  readonly settings: Config['settings'];
  readonly pullTimes: PullTimes;
}

/** The gate as `src/main.ts` has it, but with times of seconds, which no flag can set. */
const { kubeconfig, port, settings, pullTimes } = JSON.parse(process.argv[2] ?? '') as GateSettings;
const log = pino({ level: 'info' }, destination({ sync: true }));
const gate = await startGate({
  config: {
    kubeconfig,
    context: undefined,
    listen: { host: '127.0.0.1', port },
    url: `https://127.0.0.1:${port}`,
    failurePolicy: 'Ignore',
    bypassNeedsPermission: false,
    maxConcurrentPulls: 200,
    settings,
    logLevel: 'info',
  },
  cluster: await loadKubeconfig(kubeconfig, undefined),
  clock: systemClock,
  random: Math.random,
  log,
  pullTimes,
});
process.on('SIGTERM', () => {
  gate.stop().then(
    () => process.exit(0),
    (error: unknown) => {
      log.fatal({ err: error }, 'unexpected');
      process.exit(1);
    },
  );
});
await gate.ready;
