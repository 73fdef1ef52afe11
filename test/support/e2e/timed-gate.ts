import { destination } from 'pino';
import { systemClock } from '../../../src/clock.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { readConfig } from '../../../src/config.ts';
import { createLogger } from '../../../src/log.ts';
import type { PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import { startProcessGate } from '../../../src/process-gate.ts';
import { endOnSigterm } from './end-on-sigterm.ts';

/** The gate as `src/main.ts` has it, with other times than `PULL_TIMES`, which no flag sets: they come first, in JSON. */
const [node = '', main = '', times = '', ...flags] = process.argv;
const pullTimes = JSON.parse(times) as PullTimes;
const config = readConfig([node, main, ...flags]);
const log = createLogger(config.logLevel, destination({ sync: true }));
if ('folder' in config.cluster) throw new Error('--kubeconfig is missing');
const cluster = await loadKubeconfig(config.cluster.kubeconfig, config.cluster.context);
const options = { config, clock: systemClock, random: Math.random, log, pullTimes };
const gate = await startProcessGate(options, cluster);
endOnSigterm(gate, log);
await gate.ready;
