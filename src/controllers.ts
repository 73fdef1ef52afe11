import { parseCachedDeployment } from './api/cached-deployment.ts';
import type { Deployment } from './api/deployment.ts';
import { type ImagePreload, parseImagePreload } from './api/image-preload.ts';
import { API_GROUP_PATH, PULLER_LABEL } from './api/names.ts';
import { deploymentKeptElsewhere, isDeploymentKeptElsewhere } from './api/unfollowed-deployment.ts';
import type { Clock } from './clock.ts';
import type { ApiClient } from './cluster/api-client.ts';
import type { GateEvent } from './cluster/events.ts';
import { createReflector, type Reflector } from './cluster/reflector.ts';
import type { Config } from './config.ts';
import {
  createDeploymentController,
  type DeploymentController,
  type HoldsOpen,
} from './deployments/deployment-controller.ts';
import { modeEvent, modeOf, type Namespace, parseNamespace } from './deployments/namespace-mode.ts';
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
  /** When everything that is stored has been read. */
  readonly synced: Promise<unknown>;
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

/** What one gate of many does: it follows what is stored, makes ImagePreloads and puller pods, and releases. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: wiring, from top to bottom
export function startControllers(options: {
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
    onChange(name, now, before) {
      // Before anything that may throw: nobody would tell the caches again that the namespace is followed.
      namespaceChanged(name, now, before);
      const event = now === undefined ? undefined : modeEvent(now);
      if (event !== undefined) writeEvent(event);
    },
  });
  const nodes = createReflector<Node>({
    ...common,
    path: '/api/v1/nodes',
    parse: nodeParser(startupTaints(config.startupTaints)),
    onChange: () => preloadController.nodesChanged(),
  });
  const deployments = createReflector<Deployment>({
    ...common,
    path: '/apis/apps/v1/deployments',
    parse: parseCachedDeployment,
    scope: { isFollowed, keepElsewhere: deploymentKeptElsewhere, mayKeep: isDeploymentKeptElsewhere },
    onChange: (key, now, before) => deploymentChanged(key, now ?? before),
  });
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
    trim: {
      isWhole: (preload) => preloadController.isWhole(preload),
      less: (preload) => preloadController.less(preload),
    },
    onChange(key, now, before) {
      preloadController.preloadChanged(key);
      const owner = (now ?? before)?.owner?.name;
      const namespace = (now ?? before)?.namespace;
      if (owner !== undefined) deploymentController.deploymentChanged(`${namespace}/${owner}`);
    },
  });
  const pods = createReflector<PullerPod>({
    ...common,
    path: '/api/v1/pods',
    query: { labelSelector: PULLER_LABEL },
    parse: parsePullerPod,
    scope: { isFollowed, keepElsewhere: podKeptElsewhere },
    onChange: (key, now, before) => preloadController.podChanged(key, now, before),
  });

  const unserved = createUnservedPreloads({ client, clock, log, writeEvent, isFollowed });
  const preloadController = createPreloadController({
    ...common,
    writeEvent,
    preloads,
    deployments,
    nodes,
    modeOf: (namespace) => modeOf(namespaces.get(namespace)),
    maxConcurrentPulls: config.maxConcurrentPulls,
    nodeTimeoutSeconds: config.settings.nodeTimeoutSeconds,
    pullTimes,
    pullerResources: config.pullerResources,
    onPullEnded(pull) {
      metrics?.nodePull(pull.result, pull.seconds);
      if (pull.result !== 'Pulled') metrics?.pullFailed(pull.reason);
    },
    onAssessed(key) {
      const preload = preloads.get(key);
      if (preload?.owner !== undefined) {
        deploymentController.deploymentChanged(`${preload.namespace}/${preload.owner.name}`);
      }
    },
  });
  const deploymentController = createDeploymentController({
    ...common,
    writeEvent,
    deployments,
    preloads,
    modeOf: (namespace) => modeOf(namespaces.get(namespace)),
    assessmentOf: (key) => preloadController.assessmentOf(key),
    onPreloadAwaited: (key) => preloadController.preloadChanged(key),
    settings: config.settings,
    onHoldEnded: metrics?.holdEnded,
  });

  function deploymentChanged(key: string, deployment: Deployment | undefined): void {
    deploymentController.deploymentChanged(key);
    if (deployment !== undefined) preloadController.ownerChanged(deployment);
  }

  /** Returns whether the namespace has a mode. */
  function isFollowed(namespace: string): boolean {
    return modeOf(namespaces.get(namespace)) !== undefined;
  }

  function namespaceChanged(name: string, now: Namespace | undefined, before: Namespace | undefined): void {
    if ((modeOf(now) === undefined) !== (modeOf(before) === undefined)) {
      deployments.namespaceChanged(name);
      preloads.namespaceChanged(name);
      pods.namespaceChanged(name);
    }
    deploymentController.namespaceChanged(name);
    for (const preload of preloads.inNamespace(name))
      preloadController.preloadChanged(keyInNamespace(preload));
  }

  const followed = { namespaces, nodes, deployments, imagepreloads: preloads, pods };
  const reflectors: readonly Reflector<unknown>[] = Object.values(followed);
  const startedAt = clock.monotonic();
  let hasSynced = false;
  for (const reflector of [namespaces, nodes]) reflector.start();
  const synced = namespaces.synced
    .then(() => {
      // Only now is it known which of these are to be kept.
      for (const reflector of [deployments, preloads, pods]) reflector.start();
      return Promise.all(reflectors.map((reflector) => reflector.synced));
    })
    .then(() => {
      preloadController.start();
      deploymentController.start();
      hasSynced = true;
    });

  return {
    synced,
    syncingMs: () => (hasSynced ? undefined : clock.monotonic() - startedAt),
    holds: () => (hasSynced ? deploymentController.holds() : undefined),
    progress(preload) {
      const assessment = hasSynced ? preloadController.assessmentOf(preload) : undefined;
      return assessment && { ready: assessment.progress.ready, desired: assessment.progress.desired };
    },
    pulls: () =>
      hasSynced ? { running: preloadController.running(), limit: config.maxConcurrentPulls } : undefined,
    watches: () =>
      Object.entries<Reflector<unknown>>(followed).map(([resource, reflector]) => ({
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

function keyInNamespace({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}
