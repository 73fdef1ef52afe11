import { destination, pino } from 'pino';
import { systemClock } from './clock.ts';
import { loadKubeconfig } from './cluster/kubeconfig.ts';
import { readConfig } from './config.ts';
import { GateError } from './errors.ts';
import { startGate } from './gate.ts';

const config = readConfig(process.argv);
// Written at once: the last lines before an end are the ones that matter.
const log = pino({ level: config.logLevel }, destination({ sync: true }));

try {
  const cluster = await loadKubeconfig(config.kubeconfig, config.context);
  const gate = await startGate({ config, cluster, clock: systemClock, random: Math.random, log });
  stopOnSignal(gate.stop);
  await gate.ready;
} catch (error) {
  fail(error);
}

/** A second signal ends the process at once: holds stay, and the next gate goes on with them. */
function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      stop().then(() => process.exit(0), fail);
    });
  }
}

function fail(error: unknown): never {
  if (error instanceof GateError) log.fatal({ code: error.code }, error.message);
  else log.fatal({ err: error }, 'unexpected');
  process.exit(1);
}
