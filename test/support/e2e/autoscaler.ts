import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { HOLD_ANNOTATION } from '../../../src/api/names.ts';
import { asArray, asNumber, asString, at, type JsonObject } from '../../../src/json.ts';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import type { ImageSpec } from '../../cluster/lab/lab.ts';
import { type Deployment, isHeld } from './deployment.ts';
import { isPullerPod, type Namespace, type Scope } from './namespace.ts';
import { type RegistryDouble, registryDouble } from './registry-double.ts';
import { imagesOfReplicaSets, type Timeline } from './timeline.ts';
import { until } from './until.ts';

/** A change of the load shows after two samples of metrics-server, and the autoscaler looks every 5 s. */
export const SCALED_SECONDS = 90;

/** What decides whether pods work. */
export interface Work {
  /** False at first. */
  toDo: boolean;
  /** An image whose container takes all CPU that it may have while there is work to do. */
  readonly worker: Partial<ImageSpec>;
}

/** Tells pods, which ask again and again, whether there is work to do. */
export async function serveWork(scope: Scope): Promise<Work> {
  const server = createServer((_, response) => response.writeHead(work.toDo ? 200 : 503).end());
  server.listen(0, HUB_ADDRESS);
  await once(server, 'listening');
  scope.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  const burn = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done';
  const ask = `wget -q -O /dev/null http://${HUB_ADDRESS}:${address.port}/`;
  const script = `trap "exit 0" TERM; while :; do if ${ask}; then ${burn}; else sleep 1; fi; done`;
  const work: Work = {
    toDo: false,
    worker: { base: 'busybox', entrypoint: ['/bin/sh', '-c', script] },
  };
  return work;
}

/** The Deployment `web` while its new version waits for a registry that does not answer. */
export interface HeldDeployment {
  readonly shop: Namespace;
  readonly web: Deployment;
  readonly timeline: Timeline;
  readonly registry: RegistryDouble;
  /** The annotation as the hold began. */
  readonly hold: string | undefined;
}

/** Asks for that image, by the way of a registry that does not answer yet. */
export async function hold(
  scope: Scope,
  shop: Namespace,
  web: Deployment,
  image: string,
): Promise<HeldDeployment> {
  const registry = await registryDouble(scope, shop.lab);
  registry.hang();
  const timeline = shop.timeline();
  await web.setImage(image.replace(shop.lab.registry, registry.address));
  const stored = await web.read();
  assert.ok(isHeld(stored));
  return { shop, web, timeline, registry, hold: stored.annotations[HOLD_ANNOTATION] };
}

/** Until so many pods serve, as the autoscaler wants. They have these images, and the hold is the one that it was. */
export async function scaledTo(
  { shop, web, timeline, hold: begun }: HeldDeployment,
  replicas: number,
  images: readonly string[],
): Promise<void> {
  const stored = await until(
    `${replicas} pods serve`,
    SCALED_SECONDS,
    web.read,
    ({ replicas: asked, status }) =>
      asked === replicas && status.replicas === replicas && status.availableReplicas === replicas,
  );
  assert.equal(await wanted(shop), replicas);
  assert.equal(stored.annotations[HOLD_ANNOTATION], begun);
  assert.equal(stored.paused, true);
  assert.deepEqual(imagesOfReplicaSets(timeline), images);
}

const path = (shop: Namespace) => `/apis/autoscaling/v2/namespaces/${shop.name}/horizontalpodautoscalers`;

/** Has the Deployment `web` scaled by this metric, up and down without delay, to three pods at most. */
export async function autoscale(shop: Namespace, minReplicas: number, metric: JsonObject): Promise<void> {
  await shop.api.create(path(shop), {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'web' },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      minReplicas,
      maxReplicas: 3,
      metrics: [metric],
      // By default pods go after 5 minutes.
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
    },
  });
}

/** How many pods the autoscaler wants. */
export async function wanted(shop: Namespace): Promise<number | undefined> {
  return asNumber(at(await shop.api.get(`${path(shop)}/web`), 'status', 'desiredReplicas'));
}

/** The CPU that the autoscaler sees, in percent of what the pods request; undefined until it sees any. */
export async function usage(shop: Namespace): Promise<number | undefined> {
  const [metric] = asArray(at(await shop.api.get(`${path(shop)}/web`), 'status', 'currentMetrics'));
  return asNumber(at(metric, 'resource', 'current', 'averageUtilization'));
}

/** The Deployment's own pods. */
export async function podNames(shop: Namespace): Promise<string[]> {
  const list = await shop.api.get(`/api/v1/namespaces/${shop.name}/pods`);
  return asArray(at(list, 'items'))
    .filter((pod) => !isPullerPod(pod))
    .map((pod) => asString(at(pod, 'metadata', 'name')) ?? '');
}

/** The reasons of all Events about the Deployment's own pods, such as `Pulling`, once so many pods have started. */
export async function podEvents(shop: Namespace, started: number): Promise<string[]> {
  return await until(
    'the Events of the pods',
    20,
    async () => {
      const pods = await podNames(shop);
      const list = await shop.api.get(`/api/v1/namespaces/${shop.name}/events`);
      return asArray(at(list, 'items'))
        .filter((event) => pods.includes(asString(at(event, 'involvedObject', 'name')) ?? ''))
        .map((event) => asString(at(event, 'reason')) ?? '');
    },
    (reasons) => reasons.filter((reason) => reason === 'Started').length === started,
  );
}
