import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { createAdmissionServer } from '../../../src/admission/admission-server.ts';
import type { PreloadProgress } from '../../../src/api/preload-progress.ts';
import { systemClock } from '../../../src/clock.ts';
import { testTls } from '../../support/tls.ts';
import { answerParent, tell, watchedLog } from './child.ts';
import { ADMIN, GATE_USER } from './realistic-review.ts';

/** What has to be known to call the server. */
export interface ServerReady {
  readonly port: number;
  /** PEM. */
  readonly ca: string;
}

const OUTCOMES: readonly PreloadProgress['outcome'][] = [
  { kind: 'wait' },
  { kind: 'release', message: 'every node has it' },
  { kind: 'fail', message: 'not found' },
  { kind: 'stale' },
];

const tls = await testTls();
const log = watchedLog((line) => /"level":[56]0/.test(line));
const app = createAdmissionServer({
  tls,
  gate: { username: GATE_USER, exemptNamespaces: ['kube-system', 'pullgate'] },
  // The turns of the event loop that a look-up takes.
  may: async ({ username }) => {
    await wait(1);
    return username === ADMIN;
  },
  runningTemplate: async () => ({ kind: 'gone' }),
  preloadProgress: async ({ uid }) => ({
    outcome: OUTCOMES[uid.length % OUTCOMES.length] ?? { kind: 'wait' },
    readyNodes: 1,
    desiredNodes: 3,
    elapsedSeconds: 10,
    remainingSeconds: uid.length % 2 === 0 ? 20 : undefined,
  }),
  clock: systemClock,
  log,
});
await app.listen({ host: '127.0.0.1', port: 0 });

answerParent();
const ready: ServerReady = {
  port: (app.server.address() as AddressInfo).port,
  ca: tls.ca,
};
tell({ kind: 'ready', ready });
