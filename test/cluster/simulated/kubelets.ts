import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient, CallOptions } from '../../../src/cluster/api-client.ts';
import { isConflict, isNotFound } from '../../../src/cluster/api-error.ts';
import { asStringMap, at } from '../../../src/json.ts';
import { follow } from '../../support/follow.ts';
import { createKubelet, type Kubelet, type KubeletOptions, type Pull } from './kubelet.ts';
import { type Pod, parsePod } from './pod-status.ts';
import { type Answer, digestOf, failed, notFound, PullFailed, type Registry } from './registry.ts';

type Labels = Readonly<Record<string, string>>;

export interface SimulatedNode {
  readonly name: string;
  readonly labels: Labels;
}

/** What a node gets that pulls: asked when its pull begins, and again several times a second while it hangs. Undefined: not found. */
export type Answers = (image: string, node: string) => Answer | undefined;

/** The kubelets of all nodes of a scale cluster, and its scheduler. They renew no Lease and report no images. */
export interface Kubelets {
  /** Counts from the next pull on. At first each pull takes a second. */
  answers: Answers;
  /** In the order in which they began. */
  readonly pulls: readonly Pull[];
  has(node: string, image: string): boolean;
  /** Nothing is said or pulled any more after this. Throws what went wrong before. */
  stop(): Promise<void>;
}

export interface KubeletsOptions extends Pick<KubeletOptions, 'backoffMs'> {
  readonly api: ApiClient;
  readonly nodes: readonly SimulatedNode[];
  /** Nodes with kubelets of their own: theirs is the scheduler alone. */
  readonly others?: readonly SimulatedNode[];
}

const HANG_MS = 250;
/** Hundreds of calls at once wait for a connection. */
const CALL: CallOptions = { deadlineMs: 60_000 };

type ScalePod = Pod & { readonly nodeSelector: Labels };

/** Follows all pods by one watch, for thousands of nodes: no timer and no call for a node where nothing happens. */
export async function startKubelets({ nodes, others = [], ...options }: KubeletsOptions): Promise<Kubelets> {
  const { api } = options;
  const kubelets = new Map<string, Kubelet>();
  const pulls: Pull[] = [];
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  let answers: Answers = () => ({ seconds: 1 });
  for (const { name } of nodes) {
    const store = new Map<string, string>();
    const registry = inTurn(store, (image) => answers(image, name));
    kubelets.set(name, createKubelet({ ...options, node: name, registry, pulls, store, onError }));
  }
  const place = createScheduler([...nodes, ...others]);
  const placed = new Set<string>();

  function changed(pod: ScalePod): void {
    const kubelet = kubelets.get(pod.node);
    if (pod.node === '') bind(pod);
    else if (pod.deleting) kubelet?.end(pod);
    else {
      placed.delete(pod.uid);
      kubelet?.run(pod);
    }
  }

  function bind({ namespace, name, uid, nodeSelector }: ScalePod): void {
    const node = placed.has(uid) ? undefined : place(nodeSelector);
    // As with a real scheduler it waits; here, nodes do not change.
    if (node === undefined) return;
    placed.add(uid);
    const target = { apiVersion: 'v1', kind: 'Node', name: node };
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name, uid }, target };
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/binding`;
    api.create(path, binding, {}, CALL).catch((error: unknown) => {
      // The pod is gone, and another one may have its name.
      if (!isNotFound(error) && !isConflict(error)) onError(error);
    });
  }

  const parse = (raw: unknown): ScalePod => ({
    ...parsePod(raw),
    nodeSelector: asStringMap(at(raw, 'spec', 'nodeSelector')),
  });
  const pods = follow({ client: api, path: '/api/v1/pods', parse }, (_key, now, before) => {
    if (now !== undefined) return changed(now);
    kubelets.get(before?.node ?? '')?.forget(before?.uid ?? '');
    placed.delete(before?.uid ?? '');
  });
  await pods.synced;

  return {
    get answers() {
      return answers;
    },
    set answers(next) {
      answers = next;
    },
    pulls,
    has: (node, image) => kubelets.get(node)?.store.has(image) === true,
    async stop() {
      await pods.stop();
      await Promise.all([...kubelets.values()].map((kubelet) => kubelet.stop()));
      if (errors.length > 0) throw new AggregateError(errors, `simulated kubelets: ${String(errors[0])}`);
    },
  };
}

/** The registry of one node, which pulls one image after the other (serializeImagePulls). */
function inTurn(store: Map<string, string>, answer: (image: string) => Answer | undefined): Registry {
  let last: Promise<unknown> = Promise.resolve();

  async function pull(image: string, known: string | undefined, signal: AbortSignal): Promise<string> {
    // The pull before may have been the same.
    const pulled = known === undefined ? store.get(image) : undefined;
    if (pulled !== undefined) return pulled;
    let given = answer(image);
    for (; given !== undefined && 'hangs' in given; given = answer(image))
      await wait(systemClock, HANG_MS, signal);
    if (given === undefined) throw new PullFailed('ErrImagePull', notFound(image));
    await wait(systemClock, (given.seconds ?? 0) * 1000, signal);
    if ('fails' in given) throw new PullFailed('ErrImagePull', failed(image, given.fails));
    const digest = given.digest ?? digestOf(image);
    store.set(image, digest);
    return digest;
  }

  return {
    pull(image, _node, known, signal) {
      const mine = last.then(() => pull(image, known, signal));
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}

/** One node after the other of those that the selector admits. Taints, affinity and room are none of its business. */
function createScheduler(nodes: readonly SimulatedNode[]): (selector: Labels) => string | undefined {
  const turns = new Map<string, { readonly names: readonly string[]; next: number }>();
  return (selector) => {
    const wanted = Object.entries(selector).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify(wanted);
    let turn = turns.get(key);
    if (turn === undefined) {
      const fitting = nodes.filter(({ labels }) => wanted.every(([name, value]) => labels[name] === value));
      turn = { names: fitting.map(({ name }) => name), next: 0 };
      turns.set(key, turn);
    }
    const name = turn.names[turn.next % turn.names.length];
    turn.next += 1;
    return name;
  };
}
