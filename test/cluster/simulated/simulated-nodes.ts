import { randomBytes } from 'node:crypto';
import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { isNotFound } from '../../../src/cluster/api-error.ts';
import { asArray, asString, at, type JsonObject } from '../../../src/json.ts';
import type { Scope } from '../../support/e2e/namespace.ts';
import { until } from '../../support/e2e/until.ts';
import { follow } from '../../support/follow.ts';
import { PAUSE_IMAGE } from '../lab/images.ts';
import { createKubelet, type Kubelet, type KubeletOptions, type Pull } from './kubelet.ts';
import { GROUP_LABEL, imagesPatch, leaseManifest, nodeManifest, readyPatch, renewal } from './node-object.ts';
import { type Pod, parsePod } from './pod-status.ts';
import { createRegistry, digestOf, type ScriptedRegistry } from './registry.ts';

type Labels = Readonly<Record<string, string>>;

/**
 * Nodes of a test's own: objects of the real API server, looked after by its real scheduler and controllers; what a
 * kubelet would do for their pods is played.
 */
export interface SimulatedNodes {
  readonly registry: ScriptedRegistry;
  readonly pulls: readonly Pull[];
  /** Fields of the spec of pods that land here and nowhere else. */
  readonly pod: { readonly nodeSelector: Labels; readonly tolerations: readonly JsonObject[] };
  names(): string[];
  /** Those that have the image, whatever the API server knows of it. */
  having(image: string): string[];
  /** @returns its name, once it is schedulable */
  add(): Promise<string>;
  delete(node: string): Promise<void>;
  cordon(node: string): Promise<void>;
  uncordon(node: string): Promise<void>;
  /** Says so itself, and is silent from then on. */
  notReady(node: string): Promise<void>;
  ready(node: string): Promise<void>;
  /** The node has another boot id from then on; what it has pulled is still there. */
  reboot(node: string): Promise<void>;
  /** Whether the containers of all nodes are ready. */
  serve(is: boolean): void;
  /** Whether the node takes puller pods. */
  accept(node: string, is: boolean): void;
  /** `null` takes a label away. */
  label(node: string, labels: Readonly<Record<string, string | null>>): Promise<void>;
}

/** As kubelets renew their Lease (a quarter of nodeLeaseDurationSeconds). */
const HEARTBEAT_MS = 10_000;

/** So many of them, each with the lab's image PAUSE_IMAGE. All is gone when the scope ends. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one fixture with its state
export async function simulateNodes(
  scope: Scope,
  api: ApiClient,
  count: number,
  options: Pick<KubeletOptions, 'backoffMs'> = {},
): Promise<SimulatedNodes> {
  const group = randomBytes(4).toString('hex');
  const registry = createRegistry();
  const pulls: Pull[] = [];
  const kubelets = new Map<string, Kubelet>();
  const stopping = new AbortController();
  const errors: unknown[] = [];
  let added = 0;
  let serving = true;

  // One watch for all nodes: a field selector names one node, or none.
  const query = { fieldSelector: 'spec.nodeName!=' };
  const pods = follow<Pod>(
    { client: api, path: '/api/v1/pods', query, parse: parsePod },
    (_key, now, before) => {
      const pod = now ?? before;
      const kubelet = kubelets.get(pod?.node ?? '');
      if (pod === undefined || kubelet === undefined) return;
      if (now === undefined) kubelet.forget(pod.uid);
      else if (now.deleting) kubelet.end(now);
      else kubelet.run(now);
    },
  );

  async function add(): Promise<string> {
    added += 1;
    const name = `sim-${group}-${added}`;
    const store = new Map([[PAUSE_IMAGE, digestOf(PAUSE_IMAGE)]]);
    const onError = (error: unknown) => errors.push(error);
    const kubelet = createKubelet({ ...options, node: name, api, registry, pulls, store, onError });
    kubelet.serve(serving);
    kubelets.set(name, kubelet);
    const node = await api.create('/api/v1/nodes', nodeManifest(name, group, store));
    await api.create(LEASES, leaseManifest(name, asString(at(node, 'metadata', 'uid')) ?? ''));
    // Admission taints a new node, and the node controller takes that away once it has seen it Ready.
    await until(
      `${name} has no taint but its own`,
      30,
      () => api.get(nodePath(name)),
      (stored) => asArray(at(stored, 'spec', 'taints')).length === 1,
    );
    return name;
  }

  /** Kubelets report their images with the heartbeat; the status as a whole only if it has changed. */
  async function beat(): Promise<void> {
    const reported = new Map<string, number>();
    while (!stopping.signal.aborted) {
      const awake = [...kubelets].filter(([, { asleep }]) => !asleep);
      const beats = awake.map(async ([name, { store }]) => {
        await api.mergePatch(`${LEASES}/${name}`, renewal());
        if (reported.get(name) === store.size) return;
        reported.set(name, store.size);
        await api.mergePatch(`${nodePath(name)}/status`, imagesPatch(store));
      });
      for (const beaten of await Promise.allSettled(beats)) {
        if (beaten.status === 'rejected' && !isNotFound(beaten.reason)) errors.push(beaten.reason);
      }
      await wait(systemClock, HEARTBEAT_MS, stopping.signal).catch(() => undefined);
    }
  }

  async function remove(name: string): Promise<void> {
    await kubelets.get(name)?.stop();
    kubelets.delete(name);
    for (const path of [nodePath(name), `${LEASES}/${name}`]) await deleteIfThere(path);
  }

  async function deleteIfThere(path: string): Promise<void> {
    await api.delete(path, { gracePeriodSeconds: 0 }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }

  let beating: Promise<void> | undefined;
  scope.after(async () => {
    stopping.abort();
    await Promise.all([beating, pods.stop()]);
    const names = [...kubelets.keys()];
    const removed = await Promise.allSettled(names.map(remove));
    // Nobody else would say that they have ended, for a minute: their namespace could not go.
    const list = await api.get('/api/v1/pods', query);
    const left = asArray(at(list, 'items')).map(parsePod);
    const ours = left.filter(({ node }) => node.startsWith(`sim-${group}-`));
    const ended = await Promise.allSettled(
      ours.map(({ namespace, name }) => deleteIfThere(`/api/v1/namespaces/${namespace}/pods/${name}`)),
    );
    for (const one of [...removed, ...ended]) if (one.status === 'rejected') errors.push(one.reason);
    if (errors.length > 0) throw new AggregateError(errors, `simulated nodes: ${String(errors[0])}`);
  });
  await pods.synced;
  // All of them are over before the first that failed is told of: none may appear after the end of the scope.
  for (const one of await Promise.allSettled(Array.from({ length: count }, add))) {
    if (one.status === 'rejected') throw one.reason;
  }
  beating = beat();

  const patch = (name: string, body: JsonObject) =>
    api.mergePatch(nodePath(name), body).then(() => undefined);
  const setReady = (name: string, is: boolean) =>
    api.strategicPatch(`${nodePath(name)}/status`, readyPatch(is)).then(() => undefined);
  return {
    registry,
    pulls,
    pod: {
      nodeSelector: { [GROUP_LABEL]: group },
      tolerations: [{ key: GROUP_LABEL, operator: 'Equal', value: group, effect: 'NoSchedule' }],
    },
    names: () => [...kubelets.keys()],
    having: (image) => [...kubelets].filter(([, { store }]) => store.has(image)).map(([name]) => name),
    add,
    delete: remove,
    cordon: (name) => patch(name, { spec: { unschedulable: true } }),
    uncordon: (name) => patch(name, { spec: { unschedulable: null } }),
    async notReady(name) {
      kubelets.get(name)?.sleep();
      await setReady(name, false);
    },
    async ready(name) {
      kubelets.get(name)?.wake();
      await setReady(name, true);
    },
    async reboot(name) {
      kubelets.get(name)?.sleep();
      await setReady(name, false);
      const status = { nodeInfo: { bootID: randomBytes(8).toString('hex') } };
      await api.strategicPatch(`${nodePath(name)}/status`, { status });
      kubelets.get(name)?.wake();
      await setReady(name, true);
    },
    serve(is) {
      serving = is;
      for (const kubelet of kubelets.values()) kubelet.serve(is);
    },
    accept: (name, is) => kubelets.get(name)?.accept(is),
    label: (name, labels) => patch(name, { metadata: { labels } }),
  };
}

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';

function nodePath(name: string): string {
  return `/api/v1/nodes/${name}`;
}
