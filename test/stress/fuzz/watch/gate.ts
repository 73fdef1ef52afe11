import { setTimeout as wait } from 'node:timers/promises';
import { createApiClient } from '../../../../src/cluster/api-client.ts';
import { createEventWriter } from '../../../../src/cluster/events.ts';
import { readConfig } from '../../../../src/config.ts';
import { createControllers } from '../../../../src/controllers.ts';
import { PULL_TIMES } from '../../../../src/preloads/assess/pull-times.ts';
import { answerParent, tell, watchedLog } from '../child.ts';
import { skippingClock } from './skipping-clock.ts';
import { watchSteps } from './steps.ts';

/** The controllers, as the leader runs them, before the API server of that URL. */
const [, , server = ''] = process.argv;

/** What others write is cut to 4 kB when it is read; an error with its causes says it several times, escaped. */
const LINE_BYTES = 64 * 1024;
/** What is thrown by mistake, and not to say something. */
const MISTAKE = /"type":"(?:Type|Range|Reference|Syntax)Error"/;

/** What it can be asked: to let time pass, and to log its state before. */
export interface Own {
  readonly skipMs: number;
  readonly state?: boolean;
}

const log = watchedLog((line) => line.length > LINE_BYTES || MISTAKE.test(line));
const clock = skippingClock();
const random = Math.random;
const client = createApiClient({ name: 'fuzz', server, token: async () => undefined }, { clock, random });
const { write: writeEvent } = createEventWriter(client, {
  reportingController: 'pullgate.io/gate',
  reportingInstance: 'fuzz',
  clock,
  log,
});
/** So few that strangers, some of whose pods can never be deleted, want all of them within some hundred objects. */
const PULLS = '20';
const config = readConfig(['node', 'gate', '--kubeconfig', 'none', '--max-concurrent-pulls', PULLS]);
const controllers = createControllers({
  config,
  client,
  writeEvent,
  clock,
  random,
  log,
  pullTimes: PULL_TIMES,
  metrics: undefined,
});

const steps = watchSteps((line) => tell({ kind: 'error', line }));
answerParent<Own>(async ({ skipMs, state }) => {
  if (state) tell({ kind: 'log', line: JSON.stringify([controllers.watches(), controllers.pulls()]) });
  clock.skip(skipMs);
  // What is due then is done.
  await wait(2);
}, steps.pause);
controllers.start();
await controllers.synced;
tell({ kind: 'ready', ready: true });
