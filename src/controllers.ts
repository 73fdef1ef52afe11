import { type Awaited, awaitedBeforeRelease } from './api/approval.ts';
import {
  deploymentKeptElsewhere,
  isDeploymentKeptElsewhere,
  parseCachedDeployment,
} from './api/cached-deployment.ts';
import type { Deployment } from './api/deployment.ts';
import { type ImagePreload, parseImagePreload } from './api/image-preload.ts';
import { API_GROUP_PATH, PULLER_LABEL } from './api/names.ts';
import type { Clock } from './clock.ts';
import type { ApiClient } from './cluster/api-client.ts';
import type { GateEvent } from './cluster/events.ts';
import { createReflector, type Reflector } from './cluster/reflector.ts';
import type { Config } from './config.ts';
import {
  createDeploymentController,
  type DeploymentController,
} from './deployments/deployment-controller.ts';
import {
  approvalLabelEvent,
  modeEvent,
  modeOf,
  type Namespace,
  parseNamespace,
} from './deployments/namespace-mode.ts';
import type { HoldsOpen } from './deployments/open-holds.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './observe/metrics.ts';
import type { PullTimes } from './preloads/assess/pull-times.ts';
import { type Node, nodeParser } from './preloads/nodes/node.ts';
import { startupTaints } from './preloads/nodes/taints.ts';
import { type PullerPod, parsePullerPod } from './preloads/pods/puller-pod-status.ts';
import { createPreloadController } from './preloads/preload-controller.ts';
import { podKeptElsewhere, preloadKeptElsewhere } from './preloads/unfollowed-preload.ts';
import { createUnservedPreloads } from './preloads/unserved-preloads.ts';

export interface Controllers {
  /** Begins to read what is stored. */
  start(): void;
  /** When all of it has been read, and the controllers work. */
  readonly synced: Promise<void>;
  /** For how long it is being read already; undefined once it has been. */
  syncingMs(): number | undefined;
  /** Undefined until then. */
  holds(): HoldsOpen | undefined;
  /** How far the preload `namespace/name` is; undefined if it is not known. */
  readonly progress: (preload: string) => { readonly ready: number; readonly desired: number } | undefined;
  pulls(): { readonly running: number; readonly limit: number } | undefined;
  watches(): readonly Watch[];
  stop(): Promise<void>;
  readonly endAll: DeploymentController['endAll'];
}

/** One collection that is followed. */
export interface Watch {
  /** Such as `deployments`. */
  readonly resource: string;
  /** Since it was last heard of; infinite before. */
  readonly silentSeconds: number;
  /** For longer than any working one can be, and nobody said why. */
  readonly isSilent: boolean;
}

/**
 * What one gate of many does: it follows what is stored, makes ImagePreloads and puller pods, and releases. Reads from top to bottom:
 * caches, then the controllers that read them, then whom a change is reported to.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: wiring, from top to bottom
export function createControllers(options: {
  readonly config: Config;
  readonly client: ApiClient;
  readonly writeEvent: (event: GateEvent) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly pullTimes: PullTimes;
  readonly metrics: Metrics | undefined;
}): Controllers {
  const { config, client, writeEvent, clock, random, log, pullTimes, metrics } = options;
  const common = { client, clock, random, log };
  const namespaces = createReflector<Namespace>({
    ...common,
    path: '/api/v1/namespaces',
    parse: parseNamespace,
  });
  const modeIn = (namespace: string) => modeOf(namespaces.get(namespace));
  const isFollowed = (namespace: string) => modeIn(namespace) !== undefined;
  const nodes = createReflector<Node>({
    ...common,
    path: '/api/v1/nodes',
    parse: nodeParser(startupTaints(config.startupTaints)),
  });
  const deployments = createReflector<Deployment>({
    ...common,
    path: '/apis/apps/v1/deployments',
    parse: parseCachedDeployment,
    scope: { isFollowed, keepElsewhere: deploymentKeptElsewhere, mayKeep: isDeploymentKeptElsewhere },
  });
  const unserved = createUnservedPreloads({ client, clock, log, writeEvent, isFollowed });
  const preloads = createReflector<ImagePreload>({
    ...common,
    path: `${API_GROUP_PATH}/imagepreloads`,
    parse: parseImagePreload,
    scope: {
      isFollowed,
      keepElsewhere(preload) {
        unserved.observe(preload);
        return preloadKeptElsewhere(preload);
      },
    },
  });
  const pods = createReflector<PullerPod>({
    ...common,
    path: '/api/v1/pods',
    query: { labelSelector: PULLER_LABEL },
    parse: parsePullerPod,
    scope: { isFollowed, keepElsewhere: podKeptElsewhere },
  });

  const preloadController = createPreloadController({
    ...common,
    writeEvent,
    preloads,
    deployments,
    nodes,
    modeOf: modeIn,
    awaitedOf,
    maxConcurrentPulls: config.maxConcurrentPulls,
    nodeTimeoutSeconds: config.settings.nodeTimeoutSeconds,
    pullTimes,
    pullerResources: config.pullerResources,
    onPullEnded(pull) {
      metrics?.nodePull(pull.result, pull.seconds);
      if (pull.result !== 'Pulled') metrics?.pullFailed(pull.reason);
    },
  });
  const deploymentController = createDeploymentController({
    ...common,
    writeEvent,
    deployments,
    preloads,
    modeOf: modeIn,
    awaitedOf,
    assessmentOf: preloadController.assessmentOf,
    onPreloadAwaited: preloadController.preloadChanged,
    settings: config.settings,
    onHoldEnded: metrics?.holdEnded,
  });

  function ownerOfPreloadChanged(preload: ImagePreload | undefined): void {
    if (preload?.owner === undefined) return;
    deploymentController.deploymentChanged(`${preload.namespace}/${preload.owner.name}`);
  }

  function awaitedOf(deployment: Deployment | undefined): Awaited | undefined {
    if (deployment === undefined) return undefined;
    const inNamespace = namespaces.get(deployment.namespace)?.requiresApproval === true;
    return awaitedBeforeRelease(deployment, inNamespace, clock.now());
  }

  function followNamespaces(): void {
    namespaces.start({
      onChange(name, now, before) {
        // Before anything that may throw: nobody would tell the caches again that the namespace is followed.
        if ((modeOf(now) === undefined) !== (modeOf(before) === undefined))
          for (const reflector of [deployments, preloads, pods]) reflector.namespaceChanged(name);
        deploymentController.namespaceChanged(name);
        for (const preload of preloads.inNamespace(name))
          preloadController.preloadChanged(`${preload.namespace}/${preload.name}`);
        for (const eventOf of [modeEvent, approvalLabelEvent]) {
          const event = now && eventOf(now);
          if (event !== undefined) writeEvent(event);
        }
      },
    });
  }

  /** Only once the namespaces are known is it known which of these are to be kept. */
  function followNamespaced(): void {
    deployments.start({
      onChange(key, now, before) {
        deploymentController.deploymentChanged(key);
        const owner = now ?? before;
        if (owner !== undefined) preloadController.ownerChanged(owner);
      },
    });
    preloads.start({
      trim: preloadController,
      onChange(key, now, before) {
        preloadController.preloadChanged(key);
        ownerOfPreloadChanged(now ?? before);
      },
    });
    pods.start({ onChange: preloadController.podChanged });
  }

  const followed = { namespaces, nodes, deployments, imagepreloads: preloads, pods };
  const reflectors: readonly Reflector<unknown>[] = Object.values(followed);
  const { promise: synced, resolve, reject } = Promise.withResolvers<void>();
  synced.catch(() => undefined); // nobody has to wait for it
  let startedAt: number | undefined;
  let hasSynced = false;

  async function readAll(): Promise<void> {
    followNamespaces();
    nodes.start({ onChange: preloadController.nodesChanged });
    await namespaces.synced;
    followNamespaced();
    await Promise.all(reflectors.map((reflector) => reflector.synced));
    preloadController.start((key) => ownerOfPreloadChanged(preloads.get(key)));
    deploymentController.start();
    hasSynced = true;
  }

  return {
    synced,
    start() {
      startedAt = clock.monotonic();
      readAll().then(resolve, reject);
    },
    syncingMs: () => (hasSynced ? undefined : clock.monotonic() - (startedAt ?? clock.monotonic())),
    holds: () => (hasSynced ? deploymentController.holds() : undefined),
    progress(preload) {
      const assessment = hasSynced ? preloadController.assessmentOf(preload) : undefined;
      return assessment && { ready: assessment.progress.ready, desired: assessment.progress.desired };
    },
    pulls: () =>
      hasSynced ? { running: preloadController.running(), limit: config.maxConcurrentPulls } : undefined,
    watches: () =>
      Object.entries(followed).map(([resource, reflector]) => ({
        resource,
        silentSeconds: reflector.lastContactAge() / 1000,
        isSilent: reflector.isSilent(),
      })),
    async stop() {
      await deploymentController.stop();
      await preloadController.stop();
      unserved.stop();
      await Promise.all(reflectors.map((reflector) => reflector.stop()));
    },
    endAll: deploymentController.endAll,
  };
}
