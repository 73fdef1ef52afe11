import { createAdmissionServer } from './admission/admission-server.ts';
import { createAuthority } from './certs/authority.ts';
import { createServingCertificate } from './certs/serving-certificate.ts';
import type { Clock } from './clock.ts';
import { type ApiClient, createApiClient } from './cluster/api-client.ts';
import type { Cluster } from './cluster/credentials.ts';
import { createEventWriter, type GateEvent } from './cluster/events.ts';
import { createReflector, type Reflector } from './cluster/reflector.ts';
import { actAs } from './cluster/service-account-token.ts';
import { mayBypass } from './cluster/subject-access-review.ts';
import type { Config } from './config.ts';
import { GateError } from './errors.ts';
import { type Deployment, parseDeployment } from './hold/deployment.ts';
import type { Logger } from './log.ts';
import { API_GROUP_PATH, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT, PULLER_LABEL } from './names.ts';
import { type ImagePreload, parseImagePreload } from './preload/image-preload.ts';
import { type Node, parseNode } from './preload/node.ts';
import { createPreloadController } from './preload/preload-controller.ts';
import { PULL_TIMES, type PullTimes } from './preload/pull-times.ts';
import { type PullerPod, parsePullerPod } from './preload/puller-pod-status.ts';
import { requestPreload } from './preload/requested-preload.ts';
import { register } from './registration/registration.ts';
import { serverVersion } from './registration/server-version.ts';
import { modeFact, modeOf, type Namespace, parseNamespace } from './release/namespace-mode.ts';
import { createReleaseController } from './release/release-controller.ts';

export interface GateOptions {
  readonly config: Config;
  readonly cluster: Cluster;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Default `PULL_TIMES`. */
  readonly pullTimes?: PullTimes;
}

export interface Gate {
  /** When everything that is stored has been read: from then on holds are carried through. Or when stopped before. */
  readonly ready: Promise<void>;
  /** Releases every hold, takes away what this process put into the cluster, and stops. */
  stop(): Promise<void>;
}

const USERNAME = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
const EXEMPT_NAMESPACES = ['kube-system', GATE_NAMESPACE];

/** A process lives for one authority: it makes a new one, and publishes it, at each start. */
const CERTIFICATE_DAYS = 365;

/** Wires everything and starts it. Resolves as soon as updates are gated. */
export async function startGate({
  config,
  cluster,
  clock,
  random,
  log,
  pullTimes = PULL_TIMES,
}: GateOptions): Promise<Gate> {
  const admin = createApiClient(cluster, { clock, random });
  const version = await serverVersion(admin);
  log.info({ cluster: cluster.name, server: cluster.server, version }, 'cluster');

  const authority = await createAuthority({ now: new Date(clock.now()), days: CERTIFICATE_DAYS });
  const serving = await createServingCertificate(authority, {
    hosts: [new URL(config.url).hostname.replace(/^\[|\]$/g, '')],
    now: new Date(clock.now()),
    days: CERTIFICATE_DAYS,
  });
  const client = createApiClient(actAs(admin, cluster, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT, clock), {
    clock,
    random,
  });
  const writeEvent = createEventWriter(client, {
    reportingController: 'pullgate.io/gate',
    reportingInstance: `pullgate-${process.pid}`,
    clock,
    log,
  });
  const server = createAdmissionServer({
    tls: { cert: serving.certificatePem, key: serving.keyPem },
    gate: { username: USERNAME, exemptNamespaces: EXEMPT_NAMESPACES },
    mayBypass: async (user, namespace) =>
      !config.bypassNeedsPermission || (await mayBypass(client, user, namespace, log)),
    preloadProgress: async ({ namespace, name, user, object, oldObject, dryRun }, ask) =>
      await requestPreload(
        { namespace, name, username: user.username, object, oldObject, dryRun, ...ask },
        { client, clock, log, writeEvent, settings: config.settings, pullTimes },
      ),
    clock,
    log,
  });
  await listen(() => server.listen(config.listen), config);

  const registration = await register(admin, {
    url: config.url,
    caPem: authority.certificatePem,
    failurePolicy: config.failurePolicy,
    serverVersion: version,
    clock,
    log,
  });
  const controllers = startControllers({ config, client, writeEvent, clock, random, log, pullTimes });
  const ready = controllers.synced.then(
    () => log.info({ listen: config.listen, url: config.url }, 'ready'),
    // Only a stop ends the reading, and it has to go on until everything is taken away.
    () => undefined,
  );
  return {
    ready,
    async stop() {
      try {
        await controllers.stop();
        await registration.unregister(async () => {
          // API servers go on asking for a moment: only once nobody is answered any more, no hold can follow the last release.
          await server.close();
          await controllers.releaseAll();
        });
      } finally {
        await server.close();
        await client.close();
        await admin.close();
      }
    },
  };
}

async function listen(start: () => Promise<unknown>, { listen: { host, port } }: Config): Promise<void> {
  try {
    await start();
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new GateError('PG_LISTEN', { address: `${host}:${port}`, detail }, error);
  }
}

interface Controllers {
  /** When everything that is stored has been read. */
  readonly synced: Promise<unknown>;
  stop(): Promise<void>;
  readonly releaseAll: () => Promise<void>;
}

function startControllers(options: {
  readonly config: Config;
  readonly client: ApiClient;
  readonly writeEvent: (event: GateEvent) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly pullTimes: PullTimes;
}): Controllers {
  const { config, client, writeEvent, clock, random, log, pullTimes } = options;
  const common = { client, clock, random, log };
  const namespaces = createReflector<Namespace>({
    ...common,
    path: '/api/v1/namespaces',
    parse: parseNamespace,
    keyOf: ({ name }) => name,
    onChange(name, now) {
      const fact = now === undefined ? undefined : modeFact(now);
      if (fact !== undefined) writeEvent(fact);
      namespaceChanged(name);
    },
  });
  const nodes = createReflector<Node>({
    ...common,
    path: '/api/v1/nodes',
    parse: parseNode,
    keyOf: ({ name }) => name,
    onChange: () => preloadController.nodesChanged(),
  });
  const deployments = createReflector<Deployment>({
    ...common,
    path: '/apis/apps/v1/deployments',
    parse: parseDeployment,
    keyOf: keyInNamespace,
    onChange: (key, now, before) => deploymentChanged(key, (now ?? before)?.uid),
  });
  const preloads = createReflector<ImagePreload>({
    ...common,
    path: `${API_GROUP_PATH}/imagepreloads`,
    parse: parseImagePreload,
    keyOf: keyInNamespace,
    onChange(key, now, before) {
      preloadController.preloadChanged(key);
      const owner = (now ?? before)?.owner?.name;
      const namespace = (now ?? before)?.namespace;
      if (owner !== undefined) releaseController.deploymentChanged(`${namespace}/${owner}`);
    },
  });
  const pods = createReflector<PullerPod>({
    ...common,
    path: '/api/v1/pods',
    query: { labelSelector: PULLER_LABEL },
    parse: parsePullerPod,
    keyOf: keyInNamespace,
    onChange: (key, now, before) => preloadController.podChanged(key, now, before),
  });

  const preloadController = createPreloadController({
    ...common,
    writeEvent,
    preloads,
    deployments,
    nodes,
    modeOf: (namespace) => modeOf(namespaces.get(namespace)),
    maxConcurrentPulls: config.maxConcurrentPulls,
    pullTimes,
    onAssessed(key) {
      const preload = preloads.get(key);
      if (preload?.owner !== undefined) {
        releaseController.deploymentChanged(`${preload.namespace}/${preload.owner.name}`);
      }
    },
  });
  const releaseController = createReleaseController({
    ...common,
    writeEvent,
    deployments,
    preloads,
    modeOf: (namespace) => modeOf(namespaces.get(namespace)),
    assessmentOf: (key) => preloadController.assessmentOf(key),
    settings: config.settings,
  });

  function deploymentChanged(key: string, uid: string | undefined): void {
    releaseController.deploymentChanged(key);
    for (const preload of preloads.values()) {
      if (uid !== undefined && preload.owner?.uid === uid)
        preloadController.preloadChanged(keyInNamespace(preload));
    }
  }

  function namespaceChanged(name: string): void {
    releaseController.namespaceChanged(name);
    for (const preload of preloads.values()) {
      if (preload.namespace === name) preloadController.preloadChanged(keyInNamespace(preload));
    }
  }

  const reflectors: readonly Reflector<unknown>[] = [namespaces, nodes, deployments, preloads, pods];
  for (const reflector of reflectors) reflector.start();
  const synced = Promise.all(reflectors.map((reflector) => reflector.synced)).then(() => {
    preloadController.start();
    releaseController.start();
  });

  return {
    synced,
    async stop() {
      await releaseController.stop();
      await preloadController.stop();
      await Promise.all(reflectors.map((reflector) => reflector.stop()));
    },
    releaseAll: releaseController.releaseAll,
  };
}

function keyInNamespace({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}
