import { destination } from 'pino';
import { systemClock } from './clock.ts';
import { podCluster } from './cluster/in-cluster.ts';
import { loadKubeconfig } from './cluster/kubeconfig.ts';
import { readConfig } from './config.ts';
import { GateError } from './errors.ts';
import type { Gate, GateOptions } from './gate.ts';
import { startInClusterGate } from './in-cluster-gate.ts';
import { createLogger } from './log.ts';
import { startProcessGate } from './process-gate.ts';
import { uninstall } from './uninstall.ts';

const config = readConfig(process.argv);
// Written at once: the last lines before an end are the ones that matter.
const log = createLogger(config.logLevel, destination({ sync: true }));
const options: GateOptions = { config, clock: systemClock, random: Math.random, log };

try {
  if (config.task === 'release-all') {
    await uninstall(await target(), options);
  } else {
    const gate = await start();
    stopOnSignal(gate.stop);
    await gate.ready;
  }
} catch (error) {
  fail(error);
}

async function start(): Promise<Gate> {
  const { cluster } = config;
  return 'folder' in cluster
    ? startInClusterGate(options, await podCluster(cluster, systemClock))
    : await startProcessGate(options, await loadKubeconfig(cluster.kubeconfig, cluster.context));
}

function target() {
  const { cluster } = config;
  return 'folder' in cluster
    ? podCluster(cluster, systemClock)
    : loadKubeconfig(cluster.kubeconfig, cluster.context);
}

/** One signal to a whole process group comes once from its sender, and again from a parent that passes it on. */
const SAME_SIGNAL_MS = 500;

/** A second signal ends the process at once. Holds stay, and the next process continues with them. */
function stopOnSignal(stop: () => Promise<void>): void {
  let since: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const now = systemClock.monotonic();
      if (since === undefined) {
        since = now;
        stop().then(() => process.exit(0), fail);
      } else if (now - since > SAME_SIGNAL_MS) process.exit(1);
    });
  }
}

function fail(error: unknown): never {
  if (error instanceof GateError) log.fatal({ code: error.code }, error.message);
  else log.fatal({ err: error }, 'unexpected');
  process.exit(1);
}
