import { X509Certificate } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import type { Clock } from './clock.ts';
import type { Controllers } from './controllers.ts';
import { leaderChecks } from './leader-checks.ts';
import type { Logger } from './log.ts';
import { type Checks, createHealthServer, pass } from './observe/health-server.ts';
import { createMetrics, type Metrics } from './observe/metrics.ts';
import { exposeState } from './observe/state-metrics.ts';
import { PULL_FAILURE_REASONS } from './preloads/pods/failure-reasons.ts';

interface Started {
  readonly controllers: Controllers;
  /** PEM. */
  readonly certificates: { readonly serving: string; readonly ca: string };
}

/** What a gate beside a cluster shows of itself, where `--health-listen` asks for it: the same as one inside. */
export interface ProcessHealth {
  readonly metrics: Metrics;
  /** Not listening yet. */
  readonly server: FastifyInstance;
  started(gate: Started): void;
}

export function createProcessHealth(clock: Clock, log: Logger): ProcessHealth {
  const registry = new Registry();
  const metrics = createMetrics(registry, PULL_FAILURE_REASONS);
  let gate: Started | undefined;
  const controllers = () => gate?.controllers;
  // It has no lease to tell that the API server answers; another watch does.
  const isHeard = () =>
    controllers()
      ?.watches()
      .some(({ isSilent }) => !isSilent) ?? false;
  const { live } = leaderChecks({ isLeader: isHeard, isStuck: () => false, controllers });

  const ready: Checks = {
    registration: () => (gate === undefined ? 'it is not registered yet' : undefined),
    controllers: () =>
      controllers()?.syncingMs() === undefined ? undefined : 'what is stored is being read',
  };
  exposeState(registry, {
    holds: () => controllers()?.holds(),
    pulls: () => controllers()?.pulls(),
    watches: () => controllers()?.watches() ?? [],
    isLeader: () => gate !== undefined,
    isReady: () => pass(ready),
    *certificates() {
      for (const [certificate, pem] of Object.entries(gate?.certificates ?? {}))
        yield { certificate, expiresAt: new X509Certificate(pem).validToDate };
    },
  });
  const server = createHealthServer({
    live: { watches: live.watches },
    ready,
    registry,
    clock,
    log,
  });
  return {
    metrics,
    server,
    started(now) {
      gate = now;
    },
  };
}
