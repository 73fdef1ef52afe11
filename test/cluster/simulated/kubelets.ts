import { setMaxListeners } from 'node:events';
import pino from 'pino';
import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient, CallOptions } from '../../../src/cluster/api-client.ts';
import { isConflict, isNotFound } from '../../../src/cluster/api-error.ts';
import { createReflector } from '../../../src/cluster/reflector.ts';
import { asStringMap, at } from '../../../src/json.ts';
import {
  type Container,
  type ContainerState,
  isPreloadOnly,
  type Pod,
  parsePod,
  podStatus,
  started,
  time,
  waiting,
} from './pod-status.ts';
import { type Answer, digestOf, failed, notFound } from './registry.ts';

type Labels = Readonly<Record<string, string>>;

export interface SimulatedNode {
  readonly name: string;
  readonly labels: Labels;
}

/** What a node gets that pulls: asked when its pull begins, and again several times a second while it hangs. Undefined: not found. */
export type Registry = (image: string, node: string) => Answer | undefined;

export interface KubeletStats {
  /** Pulls. Present images are none. */
  readonly begun: number;
  readonly pulled: number;
  readonly failed: number;
  /** Now, and the most there were. */
  readonly running: number;
  readonly mostRunning: number;
}

/** The kubelets of all nodes of a scale cluster, and its scheduler. They renew no Lease and report no images. */
export interface Kubelets {
  /** Counts from the next pull on. At first each pull takes a second. */
  registry: Registry;
  readonly stats: KubeletStats;
  has(node: string, image: string): boolean;
  /** Nothing is said or pulled any more after this. Throws what went wrong before. */
  stop(): Promise<void>;
}

export interface KubeletsOptions {
  readonly api: ApiClient;
  readonly nodes: readonly SimulatedNode[];
  /** Nodes with kubelets of their own: theirs is the scheduler alone. */
  readonly others?: readonly SimulatedNode[];
  /** The first back-off after a failed pull, which doubles. */
  readonly backoffMs?: number;
}

/** As kubelets have it (MaxContainerBackOff, and its start in pkg/kubelet/kubelet.go). */
const BACKOFF_MS = 10_000;
const BACKOFF_LIMIT_MS = 300_000;
/** How long it says the registry's words before it says only that it backs off: until it next looks at the pod. */
const WORDS_MS = 2000;
const HANG_MS = 250;
/** Hundreds of calls at once wait for a connection. */
const CALL: CallOptions = { deadlineMs: 60_000 };
const NO_GRACE = { gracePeriodSeconds: 0 };

type ScalePod = Pod & { readonly nodeSelector: Labels };

interface Node {
  readonly name: string;
  readonly images: Set<string>;
  /** Kubelets pull one image after the other (serializeImagePulls). */
  lastPull: Promise<void>;
}

/** A pod on its node. */
interface Life {
  readonly pod: Pod;
  readonly startTime: string;
  readonly states: Map<string, ContainerState>;
  gone: boolean;
  /** A report is on its way, and whether there is more to say since. */
  reporting: boolean;
  more: boolean;
}

/**
 * Follows all pods by one watch and gives each the life that the kubelet of its node would. One program for thousands of
 * nodes: no timer and no call for a node where nothing happens.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: all kubelets share their state in one process
export async function startKubelets(options: KubeletsOptions): Promise<Kubelets> {
  const { api, backoffMs = BACKOFF_MS } = options;
  const nodes = new Map<string, Node>();
  for (const { name } of options.nodes) {
    nodes.set(name, { name, images: new Set(), lastPull: Promise.resolve() });
  }
  const place = createScheduler([...options.nodes, ...(options.others ?? [])]);
  const lives = new Map<string, Life>();
  const placed = new Set<string>();
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  const tasks = new Set<Promise<void>>();
  const errors: unknown[] = [];
  const stats = { begun: 0, pulled: 0, failed: 0, running: 0, mostRunning: 0 };
  let registry: Registry = () => ({ seconds: 1 });

  function spawn(task: Promise<unknown>): void {
    const running: Promise<void> = task.then(
      () => undefined,
      (error: unknown) => {
        // 404 and 409: the pod is gone, and another one may have its name.
        if (!stopping.signal.aborted && !isNotFound(error) && !isConflict(error)) errors.push(error);
      },
    );
    tasks.add(running);
    void running.then(() => tasks.delete(running));
  }

  async function live(life: Life, node: Node): Promise<void> {
    const { pod, states } = life;
    // The runtime has nothing to wait for where all is there: what comes of it is told at once.
    if (!pod.containers.every((container) => isThere(container, node))) report(life);
    for (const container of pod.containers) {
      const digest = await obtain(life, container, node);
      if (digest === undefined) return;
      states.set(container.name, started(container, digest));
      report(life);
    }
  }

  /** Tries until it is there; undefined once the pod has gone. */
  async function obtain(life: Life, container: Container, node: Node): Promise<string | undefined> {
    const { image, name } = container;
    const say = (reason: string, words: string) => {
      life.states.set(name, waiting(reason, words));
      report(life);
    };
    for (let backoff = backoffMs; ; backoff = Math.min(2 * backoff, BACKOFF_LIMIT_MS)) {
      if (isThere(container, node)) return digestOf(image);
      const words = await inTurn(node, () => pull(container, node));
      if (words === undefined) return digestOf(image);
      if (life.gone) return undefined;
      say('ErrImagePull', words);
      await wait(systemClock, WORDS_MS, stopping.signal);
      if (life.gone) return undefined;
      say('ImagePullBackOff', `Back-off pulling image "${image}"`);
      await wait(systemClock, backoff, stopping.signal);
      if (life.gone) return undefined;
    }
  }

  function inTurn<T>(node: Node, work: () => Promise<T>): Promise<T> {
    const mine = node.lastPull.then(work);
    node.lastPull = mine.then(
      () => undefined,
      () => undefined,
    );
    return mine;
  }

  /** To the end even if the pod goes meanwhile: kubelets do not cancel. Returns what is wrong, if anything is. */
  async function pull(container: Container, node: Node): Promise<string | undefined> {
    const { image } = container;
    // The pull before may have been the same.
    if (isThere(container, node)) return undefined;
    stats.begun += 1;
    stats.running += 1;
    stats.mostRunning = Math.max(stats.mostRunning, stats.running);
    try {
      const answer = await answerTo(image, node.name);
      await wait(systemClock, (answer?.seconds ?? 0) * 1000, stopping.signal);
      if (answer !== undefined && answer.fails === undefined) {
        node.images.add(image);
        stats.pulled += 1;
        return undefined;
      }
      stats.failed += 1;
      return answer?.fails === undefined ? notFound(image) : failed(image, answer.fails);
    } finally {
      stats.running -= 1;
    }
  }

  async function answerTo(
    image: string,
    node: string,
  ): Promise<{ seconds?: number; fails?: string } | undefined> {
    for (;;) {
      const answer = registry(image, node);
      if (answer === undefined || !('hangs' in answer)) return answer;
      await wait(systemClock, HANG_MS, stopping.signal);
    }
  }

  /** What is said meanwhile goes out in one. */
  function report(life: Life): void {
    life.more = true;
    if (!life.reporting) spawn(send(life));
  }

  async function send(life: Life): Promise<void> {
    const { pod, states, startTime } = life;
    life.reporting = true;
    try {
      while (life.more && !life.gone) {
        life.more = false;
        const body = { metadata: { uid: pod.uid }, status: podStatus(pod, states, startTime) };
        await api.mergePatch(`${pathOf(pod)}/status`, body, {}, { ...CALL, signal: stopping.signal });
      }
    } finally {
      life.reporting = false;
    }
  }

  function changed(now: ScalePod): void {
    if (now.node !== '' && !nodes.has(now.node)) return;
    if (now.deleting) {
      const life = lives.get(now.uid);
      if (life !== undefined) life.gone = true;
      const body = { ...NO_GRACE, preconditions: { uid: now.uid } };
      spawn(api.delete(pathOf(now), body, { ...CALL, signal: stopping.signal }));
      return;
    }
    if (now.node === '') {
      if (!placed.has(now.uid)) bind(now);
      return;
    }
    const node = nodes.get(now.node);
    if (node === undefined || lives.has(now.uid)) return;
    placed.delete(now.uid);
    const life = {
      pod: now,
      startTime: time(),
      states: new Map(),
      gone: false,
      reporting: false,
      more: false,
    };
    lives.set(now.uid, life);
    spawn(live(life, node));
  }

  function bind(pod: ScalePod): void {
    const name = place(pod.nodeSelector);
    // As with a real scheduler it waits; here, nodes do not change.
    if (name === undefined) return;
    placed.add(pod.uid);
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.name, uid: pod.uid },
      target: { apiVersion: 'v1', kind: 'Node', name },
    };
    spawn(api.create(`${pathOf(pod)}/binding`, binding, {}, { ...CALL, signal: stopping.signal }));
  }

  function removed({ uid }: ScalePod): void {
    const life = lives.get(uid);
    if (life !== undefined) life.gone = true;
    lives.delete(uid);
    placed.delete(uid);
  }

  const pods = createReflector<ScalePod>({
    client: api,
    path: '/api/v1/pods',
    parse: (raw) => ({ ...parsePod(raw), nodeSelector: asStringMap(at(raw, 'spec', 'nodeSelector')) }),
    log: pino({ level: 'error' }),
    clock: systemClock,
    random: Math.random,
  });
  pods.start({
    onChange(_key, now, before) {
      if (now !== undefined) changed(now);
      else if (before !== undefined) removed(before);
    },
  });
  await pods.synced;

  return {
    get registry() {
      return registry;
    },
    set registry(next) {
      registry = next;
    },
    stats,
    has: (node, image) => nodes.get(node)?.images.has(image) === true,
    async stop() {
      stopping.abort();
      await pods.stop();
      await Promise.all(tasks);
      if (errors.length > 0) throw new AggregateError(errors, `simulated kubelets: ${String(errors[0])}`);
    },
  };
}

function isThere({ image, imagePullPolicy, command }: Container, { images }: Node): boolean {
  // With policy Always a workload's pod only asks whether the tag has moved; a puller pod is there to pull.
  return images.has(image) && !(imagePullPolicy === 'Always' && isPreloadOnly(command));
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

function pathOf({ namespace, name }: Pick<Pod, 'namespace' | 'name'>): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}
