import { X509Certificate } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import type { Clock } from './clock.ts';
import type { Controllers } from './controllers.ts';
import { leaderChecks } from './leader-checks.ts';
import type { Logger } from './log.ts';
import { type Checks, createHealthServer, pass } from './observe/health-server.ts';
import { exposeState } from './observe/state-metrics.ts';

interface ProcessHealthOptions {
  readonly registry: Registry;
  readonly controllers: Controllers;
  /** Whether API servers call this process. The controllers start right after that. */
  readonly isRegistered: () => boolean;
  /** PEM. */
  readonly certificates: { readonly serving: string; readonly ca: string };
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Returns the server of probes and metrics of a gate beside a cluster, which shows the same as one inside. It is not listening yet.
 */
export function createProcessHealth(options: ProcessHealthOptions): FastifyInstance {
  const { registry, controllers, isRegistered, clock, log } = options;
  // It has no lease to tell that the API server answers; another watch does.
  const isHeard = () => controllers.watches().some(({ isSilent }) => !isSilent);
  const { live } = leaderChecks({ isLeader: isHeard, isStuck: () => false, controllers: () => controllers });

  const ready: Checks = {
    registration: () => (isRegistered() ? undefined : 'it is not registered yet'),
    controllers: () => (controllers.syncingMs() === undefined ? undefined : 'what is stored is being read'),
  };
  exposeState(registry, {
    holds: controllers.holds,
    pulls: controllers.pulls,
    watches: () => (isRegistered() ? controllers.watches() : []),
    isLeader: isRegistered,
    isReady: () => pass(ready),
    *certificates() {
      for (const [certificate, pem] of Object.entries(options.certificates))
        yield { certificate, expiresAt: new X509Certificate(pem).validToDate };
    },
  });
  return createHealthServer({ live: { watches: live.watches }, ready, registry, clock, log });
}
