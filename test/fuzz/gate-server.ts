import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import pino from 'pino';
import { createAdmissionServer } from '../../src/admission/admission-server.ts';
import { createAuthority } from '../../src/certs/authority.ts';
import { createServingCertificate } from '../../src/certs/serving-certificate.ts';
import { systemClock } from '../../src/clock.ts';
import type { PreloadProgress } from '../../src/hold/preload-progress.ts';
import { ADMIN, GATE_USER } from './realistic-review.ts';

/** The admission server in a process of its own, run with --expose-gc. */
export type FromServer =
  | { readonly kind: 'ready'; readonly port: number; readonly ca: string }
  | { readonly kind: 'memory'; readonly used: number; readonly resident: number }
  /** A line of level error or above in its log. */
  | { readonly kind: 'error'; readonly line: string };

const VERDICTS: readonly PreloadProgress['verdict'][] = [
  { kind: 'waiting' },
  { kind: 'ready', reason: 'every node has it' },
  { kind: 'failed', reason: 'not found' },
  { kind: 'stale' },
];

const say = (message: FromServer) => process.send?.(message);

const authority = await createAuthority({ now: new Date(), days: 1 });
const serving = await createServingCertificate(authority, { hosts: ['127.0.0.1'], now: new Date(), days: 1 });
const log = pino(
  { level: 'debug', base: null },
  {
    write: (line: string) =>
      void (/"level":[56]0/.test(line) && say({ kind: 'error', line: line.slice(0, 4000) })),
  },
);
const app = createAdmissionServer({
  tls: { cert: serving.certificatePem, key: serving.keyPem },
  gate: { username: GATE_USER, exemptNamespaces: ['kube-system', 'pullgate'] },
  // The turns of the event loop that a look-up takes.
  mayBypass: async ({ username }) => {
    await wait(1);
    return username === ADMIN;
  },
  preloadProgress: async ({ uid }) => ({
    verdict: VERDICTS[uid.length % VERDICTS.length] ?? { kind: 'waiting' },
    readyNodes: 1,
    desiredNodes: 3,
    elapsedSeconds: 10,
    remainingSeconds: uid.length % 2 === 0 ? 20 : undefined,
  }),
  clock: systemClock,
  log,
});
await app.listen({ host: '127.0.0.1', port: 0 });

process.on('message', async () => {
  // What a collection lets go of has finalizers and closing sockets that another one follows.
  for (let round = 0; round < 5; round += 1) {
    globalThis.gc?.();
    await wait(50);
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  say({ kind: 'memory', used: heapUsed + external, resident: rss });
});
process.on('disconnect', () => process.exit());

say({ kind: 'ready', port: (app.server.address() as AddressInfo).port, ca: authority.certificatePem });
