import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { awaitedBeforeRelease } from '../../../src/api/approval.ts';
import {
  deploymentKeptElsewhere,
  isDeploymentKeptElsewhere,
  parseCachedDeployment,
} from '../../../src/api/cached-deployment.ts';
import { type Deployment, parseDeployment } from '../../../src/api/deployment.ts';
import { type ImagePreload, parseImagePreload } from '../../../src/api/image-preload.ts';
import { ATTEMPT_ANNOTATION, MODE_LABEL, type Mode, PRELOAD_LABEL } from '../../../src/api/names.ts';
import type { GateEvent } from '../../../src/cluster/events.ts';
import { createDeploymentController } from '../../../src/deployments/deployment-controller.ts';
import { modeOf, parseNamespace } from '../../../src/deployments/namespace-mode.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import { PULL_TIMES, type PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import { parseNode } from '../../../src/preloads/nodes/node.ts';
import { parsePullerPod } from '../../../src/preloads/pods/puller-pod-status.ts';
import { PULLER_RESOURCES } from '../../../src/preloads/pods/puller-resources.ts';
import { createPreloadController } from '../../../src/preloads/preload-controller.ts';
import type { PreloadSettings } from '../../../src/preloads/preload-spec.ts';
import { podKeptElsewhere, preloadKeptElsewhere } from '../../../src/preloads/unfollowed-preload.ts';
import { deployment, PRELOAD_SETTINGS } from './deployment-builder.ts';
import { heldObject } from './held-deployment.ts';
import { logDouble } from './log-double.ts';
import { manualClock } from './manual-clock.ts';
import { memoryApi } from './memory-api.ts';

export const PRELOADS = '/apis/pullgate.io/v1alpha1/namespaces/shop/imagepreloads';
export const PODS = '/api/v1/namespaces/shop/pods';
export const WEB = '/apis/apps/v1/namespaces/shop/deployments/web';

export interface WorldOptions {
  readonly nodes?: number;
  readonly maxConcurrentPulls?: number;
  readonly pullTimes?: PullTimes;
  /** Objects that are stored already, by path. */
  readonly stored?: ReadonlyMap<string, JsonObject>;
  readonly startMs?: number;
  /** Those that are not as by default. */
  readonly settings?: Partial<PreloadSettings>;
}

export type World = ReturnType<typeof gateWorld>;

/** Both controllers, wired as the gate wires them, before an API server in memory. Nothing happens but by time passing. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one fixture with its state
export function gateWorld({
  nodes = 2,
  maxConcurrentPulls = 200,
  pullTimes = PULL_TIMES,
  stored,
  startMs,
  settings = {},
}: WorldOptions = {}) {
  const clock = manualClock(startMs);
  const { log, lines } = logDouble();
  const api = memoryApi(clock);
  const events: GateEvent[] = [];
  /** `result reason seconds` of each pull that has ended, and `reason seconds` of each hold. */
  const ended: { readonly pulls: string[]; readonly holds: string[] } = { pulls: [], holds: [] };
  const random = () => 0.5;
  const writeEvent = (event: GateEvent) => void events.push(event);

  const isFollowed = (namespace: string) => modeOf(namespaces.get(namespace)) !== undefined;
  const namespaces = api.store('namespaces', parseNamespace, (name, now, before) => {
    if ((modeOf(now) === undefined) !== (modeOf(before) === undefined)) {
      deployments.namespaceChanged(name);
      preloads.namespaceChanged(name);
      pods.namespaceChanged(name);
    }
    deploymentController.namespaceChanged(name);
    for (const one of preloads.inNamespace(name)) preloadController.preloadChanged(keyOf(one));
  });
  const nodeStore = api.store('nodes', parseNode, () => preloadController.nodesChanged());
  const deployments = api.store(
    'deployments',
    parseCachedDeployment,
    (key, now, before) => {
      deploymentController.deploymentChanged(key);
      const owner = now ?? before;
      if (owner !== undefined) preloadController.ownerChanged(owner);
    },
    { isFollowed, keepElsewhere: deploymentKeptElsewhere, mayKeep: isDeploymentKeptElsewhere },
  );
  const preloads = api.store(
    'imagepreloads',
    parseImagePreload,
    (key, now, before) => {
      preloadController.preloadChanged(key);
      ownerChanged(now ?? before);
    },
    { isFollowed, keepElsewhere: preloadKeptElsewhere },
    {
      isWhole: (preload) => preloadController.isWhole(preload),
      less: (preload) => preloadController.less(preload),
    },
  );
  const pods = api.store(
    'pods',
    parsePullerPod,
    (key, now, before) => preloadController.podChanged(key, now, before),
    { isFollowed, keepElsewhere: podKeptElsewhere },
  );
  const awaitedOf = (deployment: Deployment | undefined) =>
    deployment &&
    awaitedBeforeRelease(
      deployment,
      namespaces.get(deployment.namespace)?.requiresApproval === true,
      clock.now(),
    );
  const common = { client: api.client, clock, random, log, writeEvent, deployments, preloads };
  const preloadController = createPreloadController({
    ...common,
    nodes: nodeStore,
    modeOf: (namespace) => modeOf(namespaces.get(namespace)),
    awaitedOf,
    maxConcurrentPulls,
    nodeTimeoutSeconds: settings.nodeTimeoutSeconds ?? 900,
    pullTimes,
    pullerResources: PULLER_RESOURCES,
    onPullEnded(pull) {
      const reason = pull.result === 'Pulled' ? '' : ` ${pull.reason}`;
      ended.pulls.push(`${pull.result}${reason} ${pull.seconds}`);
    },
  });
  const deploymentController = createDeploymentController({
    ...common,
    modeOf: (namespace) => modeOf(namespaces.get(namespace)),
    awaitedOf,
    assessmentOf: preloadController.assessmentOf,
    onPreloadAwaited: preloadController.preloadChanged,
    settings: { ...PRELOAD_SETTINGS, ...settings },
    onHoldEnded: (reason, seconds) => void ended.holds.push(`${reason} ${seconds}`),
  });

  const keyOf = ({ namespace, name }: ImagePreload) => `${namespace}/${name}`;
  function ownerChanged(preload: ImagePreload | undefined): void {
    if (preload?.owner === undefined) return;
    deploymentController.deploymentChanged(`${preload.namespace}/${preload.owner.name}`);
  }

  /** Labels the namespace; undefined takes the label away. */
  function optIn(mode: Mode | undefined, name = 'shop', more: Readonly<Record<string, string>> = {}): void {
    const labels = mode === undefined ? more : { ...more, [MODE_LABEL]: mode };
    api.put(`/api/v1/namespaces/${name}`, { metadata: { name, uid: `uid-${name}`, labels } });
  }

  function addNode(name: string): void {
    const status = {
      conditions: [{ type: 'Ready', status: 'True' }],
      // More than a kubelet lists: what is not in the list may be there.
      images: Array.from({ length: 50 }, (_, n) => ({ names: [`registry.test/${n === 0 ? 'app:1' : n}`] })),
    };
    const creationTimestamp = time();
    const labels = { 'kubernetes.io/os': 'linux' };
    const metadata = { name, uid: `uid-${name}`, creationTimestamp, labels };
    api.put(`/api/v1/nodes/${name}`, { metadata, status });
  }

  const podsOf = () =>
    [...api.objects].flatMap(([path, raw]) => (path.startsWith(PODS) ? [{ path, raw }] : []));

  /** What the kubelet makes of the pods on its node. */
  function kubelet(node: string, phase: string, container: JsonObject): void {
    const status = { phase, startTime: time(), containerStatuses: [{ name: 'pull', ...container }] };
    for (const { path, raw } of podsOf())
      if (at(raw, 'spec', 'nodeName') === node) api.update(path, (pod) => ({ ...pod, status }));
  }
  const waitingFor = (reason: string, message?: string): JsonObject => ({
    state: { waiting: { reason, ...(message !== undefined && { message }) } },
  });

  /** Those whose ImagePreload is gone. */
  function collectGarbage(): void {
    const uids = new Set([...api.objects.values()].map((object) => at(object, 'metadata', 'uid')));
    for (const { path, raw } of podsOf()) {
      const owners = asArray(at(raw, 'metadata', 'ownerReferences'));
      if (!owners.some((owner) => uids.has(at(owner, 'uid')))) api.put(path, undefined);
    }
  }
  const time = () => new Date(clock.now()).toISOString().replace(/\.\d+/, '');

  async function pass(ms: number): Promise<void> {
    const end = clock.monotonic() + ms;
    for (;;) {
      await nextTurn();
      const [next] = clock.timers();
      if (next === undefined || clock.monotonic() + next > end) break;
      clock.advance(next);
    }
    clock.advance(end - clock.monotonic());
    await nextTurn();
  }

  for (const [path, object] of stored ?? []) api.put(path, object);
  if (stored === undefined) {
    optIn('pause');
    for (let n = 1; n <= nodes; n += 1) addNode(`n${n}`);
    api.put('/api/v1/namespaces/shop/serviceaccounts/default', {
      metadata: { namespace: 'shop', name: 'default' },
    });
    api.put(WEB, deployment().object);
  }

  return {
    api,
    clock,
    events,
    ended,
    lines,
    optIn,
    pass,
    addNode,
    collectGarbage,
    preloadController,
    deploymentController,
    start(): void {
      preloadController.start((key) => ownerChanged(preloads.get(key)));
      deploymentController.start();
    },
    async stop(): Promise<void> {
      await Promise.all([deploymentController.stop(), preloadController.stop()]);
    },
    /** As admission stores it. */
    hold: (object: JsonObject = heldObject(), path = WEB) => api.put(path, object),
    web: () => parseDeployment(api.objects.get(WEB)),
    preloads: (): ImagePreload[] =>
      [...api.objects].flatMap(([path, raw]) => (path.startsWith(PRELOADS) ? [parseImagePreload(raw)] : [])),
    preload(): ImagePreload {
      const [first, ...rest] = this.preloads();
      assert.ok(first);
      assert.equal(rest.length, 0, 'one preload');
      return first;
    },
    /** `preload node attempt` of each puller pod there is. */
    pods: () =>
      podsOf().map(({ raw }) => {
        const annotations = asObject(at(raw, 'metadata', 'annotations'));
        const owner = asString(at(raw, 'metadata', 'labels', PRELOAD_LABEL)) ?? '';
        return `${owner.split('-')[0]} ${asString(at(raw, 'spec', 'nodeName'))} ${asString(annotations[ATTEMPT_ANNOTATION])}`;
      }),
    pulled: (node: string) =>
      kubelet(node, 'Failed', {
        imageID: `sha256:${'ab'.repeat(32)}`,
        state: { terminated: { reason: 'StartError', exitCode: 128, finishedAt: time() } },
      }),
    creating: (node: string) => kubelet(node, 'Pending', waitingFor('ContainerCreating')),
    failing: (node: string, message: string) => kubelet(node, 'Pending', waitingFor('ErrImagePull', message)),
    /** Its container cannot be created, as CRI-O says of a command that does not exist: the kubelet goes on trying. */
    endless: (node: string) => kubelet(node, 'Pending', waitingFor('CreateContainerError')),
    /** A registry that answers so on these nodes each time: it is asked twice. */
    async refusing(message: string, ...names: string[]): Promise<void> {
      for (let asked = 0; asked < 2; asked += 1) {
        for (const name of names) this.failing(name, message);
        await pass(pullTimes.missingMs + 100);
      }
    },
    /** The Deployment controller has carried out what is stored. */
    rolledOut: () =>
      api.update(WEB, (object) => {
        const done = { replicas: 2, updatedReplicas: 2, availableReplicas: 2 };
        return { ...object, status: { observedGeneration: at(object, 'metadata', 'generation'), ...done } };
      }),
  };
}
