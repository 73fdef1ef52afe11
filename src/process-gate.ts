import { Registry } from 'prom-client';
import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from './api/names.ts';
import { createAuthority } from './certificates/authority.ts';
import { createServingCertificate } from './certificates/serving-certificate.ts';
import { wait } from './clock.ts';
import { createApiClient } from './cluster/api-client.ts';
import type { Cluster } from './cluster/credentials.ts';
import { actAs } from './cluster/service-account-token.ts';
import { createControllers } from './controllers.ts';
import { eventWriter, type Gate, type GateOptions, gateServer, listen } from './gate.ts';
import { register } from './install/registration.ts';
import { checkServerVersion } from './install/server-version.ts';
import { createMetrics } from './observe/metrics.ts';
import { PULL_TIMES } from './preloads/assess/pull-times.ts';
import { PULL_FAILURE_REASONS } from './preloads/pods/failure-reasons.ts';
import { createProcessHealth } from './process-health.ts';

/** A process lives for one authority: it makes a new one, and publishes it, at each start. */
const CERTIFICATE_DAYS = 365;

/** How long a stop waits for Events to be written. Thousands may be queued, and a terminal does not wait for them. */
const EVENTS_MS = 5000;

/**
 * A gate beside a cluster, one alone: it puts into the cluster what it needs, and takes it away again when it stops, every
 * hold released. Resolves as soon as updates are gated.
 */
export async function startProcessGate(options: GateOptions, cluster: Cluster): Promise<Gate> {
  const { config, clock, random, log, pullTimes = PULL_TIMES } = options;
  const registry = config.healthListen && new Registry();
  const metrics = registry && createMetrics(registry, PULL_FAILURE_REASONS);
  const api = { clock, random, onAttempt: metrics?.apiRequest };
  const admin = createApiClient(cluster, api);
  log.info({ cluster: cluster.name, server: cluster.server }, 'cluster');
  const { unsupportedServer } = config;
  await checkServerVersion(admin, { server: cluster.server, unsupportedServer, log });

  const authority = await createAuthority({ now: new Date(clock.now()), days: CERTIFICATE_DAYS });
  const serving = await createServingCertificate(authority, {
    hosts: [new URL(config.url).hostname.replace(/^\[|\]$/g, '')],
    now: new Date(clock.now()),
    days: CERTIFICATE_DAYS,
  });
  const account = actAs(admin, cluster, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT, clock);
  const client = createApiClient(account, api);
  const admissionClient = createApiClient(account, api);
  const events = eventWriter(client, `pullgate-${process.pid}`, options);
  const { write: writeEvent } = events;
  const controllers = createControllers({
    ...{ config, client, writeEvent, clock, random, log, pullTimes, metrics },
  });
  const { progress } = controllers;
  const voice = { client: admissionClient, namespace: GATE_NAMESPACE, writeEvent, metrics, progress };
  const server = gateServer(options, voice, { cert: serving.certificatePem, key: serving.keyPem });
  let isRegistered = false;
  const health =
    registry &&
    createProcessHealth({
      ...{ registry, controllers, clock, log, isRegistered: () => isRegistered },
      certificates: { serving: serving.certificatePem, ca: authority.certificatePem },
    });
  if (health !== undefined && config.healthListen !== undefined) await listen(health, config.healthListen);
  await listen(server, config.listen);

  const registration = await register(admin, {
    url: config.url,
    caPem: authority.certificatePem,
    failurePolicy: config.failurePolicy,
    unsupportedServer,
    clock,
    log,
  });
  isRegistered = true;
  controllers.start();
  const ready = controllers.synced.then(
    () => log.info({ listen: config.listen, url: config.url }, 'ready'),
    // Only a stop rejects this. The controllers keep reading until everything is removed.
    () => undefined,
  );
  return {
    ready,
    async stop() {
      try {
        await controllers.stop();
        await registration.unregister(async () => {
          // API servers still call for a moment. Only after the server has closed, no new hold can follow the last release.
          await server.close();
          await controllers.endAll(config.holds === 'stop' ? undefined : config.holds);
          await Promise.race([events.settled(), wait(clock, EVENTS_MS, new AbortController().signal)]);
        });
      } finally {
        await server.close();
        await health?.close();
        await Promise.all([admissionClient, client, admin].map((one) => one.close()));
      }
    },
  };
}
