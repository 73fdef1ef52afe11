import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { createAdmissionServer } from '../../../src/admission/admission-server.ts';
import type { PreloadProgress } from '../../../src/api/preload-progress.ts';
import { createAuthority } from '../../../src/certificates/authority.ts';
import { createServingCertificate } from '../../../src/certificates/serving-certificate.ts';
import { systemClock } from '../../../src/clock.ts';
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

const authority = await createAuthority({ now: new Date(), days: 1 });
const serving = await createServingCertificate(authority, { hosts: ['127.0.0.1'], now: new Date(), days: 1 });
const log = watchedLog((line) => /"level":[56]0/.test(line));
const app = createAdmissionServer({
  tls: { cert: serving.certificatePem, key: serving.keyPem },
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
  ca: authority.certificatePem,
};
tell({ kind: 'ready', ready });
