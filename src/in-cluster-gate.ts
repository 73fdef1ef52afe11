import { once } from 'node:events';
import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import { LEASE, WEBHOOK_CONFIGURATION } from './api/names.ts';
import { type Certificates, startCertificates } from './certificates/certificate-keeper.ts';
import { wait } from './clock.ts';
import { createApiClient } from './cluster/api-client.ts';
import { createElector } from './cluster/elector.ts';
import type { InCluster } from './cluster/in-cluster.ts';
import { untilAborted } from './cluster/leader-client.ts';
import { type Controllers, createControllers } from './controllers.ts';
import { eventWriter, type Gate, type GateOptions, gateServer, listen, useCertificate } from './gate.ts';
import { awaitSupportedServer } from './install/server-version.ts';
import { leaderChecks } from './leader-checks.ts';
import { type Checks, createHealthServer, pass } from './observe/health-server.ts';
import { createMetrics } from './observe/metrics.ts';
import { exposeState } from './observe/state-metrics.ts';
import { PULL_TIMES } from './preloads/assess/pull-times.ts';
import { PULL_FAILURE_REASONS } from './preloads/pods/failure-reasons.ts';

/** deploy/service.yaml. */
const SERVICE = 'pullgate';

/**
 * The time between failing readiness and closing, so that kube-proxies and load balancers send no new connection: two probes, 2 s
 * apart, and a second for the endpoints to arrive everywhere. Meanwhile each answer closes its connection, so that API servers move
 * their open connections to the other replicas.
 */
const LEAVE_MS = 5000;

/**
 * How long running calls may take when the term of a leader ends, for example in a namespace whose webhooks hang. The next leader
 * cannot begin earlier, and repeats the aborted calls.
 */
const TERM_END_MS = 10_000;

/**
 * Starts one replica in a cluster, as the ServiceAccount of its pod. The manifests have created everything that it needs, so it
 * registers and removes nothing. The replica that holds the Lease runs the controllers. Returns at once, because the first process
 * of a container has to handle signals from the beginning.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: wiring, from top to bottom
export function startInClusterGate(options: GateOptions, cluster: InCluster): Gate {
  const { config, clock, random, log, pullTimes = PULL_TIMES } = options;
  const { namespace } = cluster;
  const identity = hostname();
  const registry = new Registry();
  const metrics = createMetrics(registry, PULL_FAILURE_REASONS);
  const api = { clock, random, onAttempt: metrics.apiRequest };
  const client = createApiClient(cluster, api);
  const leaseClient = createApiClient(cluster, api);
  const admissionClient = createApiClient(cluster, api);
  const events = eventWriter(admissionClient, identity, options);
  const stopping = new AbortController();
  const leaving = stopping.signal;
  let server: FastifyInstance | undefined;
  let listening = false;
  let controllers: Controllers | undefined;

  const certificates = startCertificates({
    client,
    namespace,
    hosts: [`${SERVICE}.${namespace}.svc`],
    onServing(pair) {
      if (server !== undefined) useCertificate(server, pair);
    },
    clock,
    log,
  });
  const elector = createElector({
    client: leaseClient,
    namespace,
    name: LEASE,
    identity,
    clock,
    random,
    log,
  });
  const { isLeader, isStuck } = elector;
  const leads = () => (isLeader() ? controllers : undefined);

  const leader = leaderChecks({ isLeader, isStuck, controllers: () => controllers });
  const readyChecks: Checks = {
    admission: () => (listening ? undefined : 'this replica does not listen yet'),
    // Both as last seen. While the API server is away, nobody can change them.
    registration: () =>
      certificates.isRegistered() ? undefined : `there is no webhook configuration ${WEBHOOK_CONFIGURATION}`,
    certificate: () =>
      certificates.isBelieved() ? undefined : 'API servers do not trust it, or it has expired',
    ...leader.ready,
    stopping: () => (leaving.aborted ? 'this replica is shutting down' : undefined),
  };
  exposeState(registry, {
    holds: () => leads()?.holds(),
    pulls: () => leads()?.pulls(),
    watches: () => leads()?.watches() ?? [],
    isLeader,
    isReady: () => pass(readyChecks),
    certificates: () => expiries(certificates),
  });
  const health = createHealthServer({ live: leader.live, ready: readyChecks, registry, clock, log });

  async function lead(signal: AbortSignal, guard: (plain: typeof client) => typeof client): Promise<void> {
    const ending = new AbortController();
    const guarded = untilAborted(guard(client), ending.signal);
    const told = eventWriter(guarded, identity, options);
    const term = createControllers({
      config,
      client: guarded,
      writeEvent: told.write,
      clock,
      random,
      log,
      pullTimes,
      metrics,
    });
    term.start();
    controllers = term;
    term.synced.then(
      () => log.info('the controllers are running'),
      () => undefined,
    );
    if (!signal.aborted) await once(signal, 'abort');
    const cancel = clock.setTimer(TERM_END_MS, () => ending.abort(new Error('the term has ended')));
    await term.stop();
    controllers = undefined;
    // Once the lease has been given back, nothing is written any more.
    await told.settled();
    cancel();
  }

  async function start(): Promise<void> {
    log.info({ cluster: cluster.name, server: cluster.server, namespace }, 'cluster');
    if (config.healthListen !== undefined) await listen(health, config.healthListen);
    const { unsupportedServer } = config;
    await awaitSupportedServer(client, { server: cluster.server, unsupportedServer, log }, clock, leaving);
    const pair = await certificates.first;
    const progress = (preload: string) => leads()?.progress(preload);
    const voice = {
      client: admissionClient,
      namespace,
      writeEvent: events.write,
      metrics,
      leaving,
      progress,
    };
    server = gateServer(options, voice, pair);
    // It may have been replaced since.
    useCertificate(server, certificates.serving() ?? pair);
    await listen(server, config.listen);
    listening = true;
    if (stopping.signal.aborted) return;
    void elector.run(lead);
    log.info({ listen: config.listen }, 'ready');
  }

  const ready = start().catch((error: unknown) => {
    // It was stopped before there was anything to serve.
    if (!stopping.signal.aborted) throw error;
  });
  ready.catch(() => undefined);

  return {
    ready,
    async stop() {
      stopping.abort();
      if (listening) await wait(clock, LEAVE_MS, new AbortController().signal);
      await certificates.stop();
      await ready.catch(() => undefined);
      await server?.close();
      // Last, so that whoever leads next finds everybody else's requests answered.
      await elector.stop();
      await health.close();
      await Promise.all([client, leaseClient, admissionClient].map((one) => one.close()));
    },
  };
}

function* expiries(certificates: Certificates): Iterable<{ certificate: string; expiresAt: Date }> {
  for (const [certificate, expiresAt] of Object.entries(certificates.expiries() ?? {}))
    yield { certificate, expiresAt };
}
