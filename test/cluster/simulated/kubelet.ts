import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { isConflict, isNotFound } from '../../../src/cluster/api-error.ts';
import {
  type Container,
  isPreloadOnly,
  isReady,
  type Pod,
  podStatus,
  started,
  time,
  waiting,
} from './pod-status.ts';
import { PullFailed, type Registry } from './registry.ts';

/** One pull, in the order in which they began. Times in milliseconds of this process's monotonic clock. */
export interface Pull {
  readonly node: string;
  readonly image: string;
  readonly namespace: string;
  readonly pod: string;
  /** Of a puller pod, or else of the workload itself. */
  readonly preload: boolean;
  readonly began: number;
  ended?: number;
  /** What came of it, unless it failed. */
  digest?: string;
}

export interface KubeletOptions {
  readonly node: string;
  readonly api: ApiClient;
  readonly registry: Registry;
  /** Where it writes down its pulls. */
  readonly pulls: Pull[];
  /** Digests by name: what it has, and gets. */
  readonly store: Map<string, string>;
  /** Its first back-off after a failed pull, which doubles; default as kubelets have it. */
  readonly backoffMs?: number;
  readonly onError: (error: unknown) => void;
}

/** Gives pods the life that the kubelet of their node would. */
export interface Kubelet {
  readonly store: ReadonlyMap<string, string>;
  readonly asleep: boolean;
  run(pod: Pod): void;
  /** It is to go. */
  end(pod: Pod): void;
  /** It has gone. */
  forget(uid: string): void;
  /** From now on its containers are ready, or none is: as with an application that cannot reach its database. */
  serve(is: boolean): void;
  /** From now on it takes puller pods, or refuses them, as a node does that has as many pods as it may. */
  accept(is: boolean): void;
  /** Says nothing until it wakes; what the runtime is at goes on. */
  sleep(): void;
  wake(): void;
  stop(): Promise<void>;
}

/** The back-off of kubelets (MaxContainerBackOff, and its start in pkg/kubelet/kubelet.go). */
const BACKOFF_MS = 10_000;
const BACKOFF_LIMIT_MS = 300_000;
/** How long it says the registry's words before it says only that it backs off: until it next looks at the pod. */
const WORDS_MS = 2000;
/** An API server that restarts is waited for. */
const PATIENCE_MS = 60_000;

interface Life extends AbortController {
  report?: () => Promise<void>;
  /** Says once more how far the pod is, if the API server has it otherwise. */
  correct?: (pod: Pod) => void;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one kubelet with its state
export function createKubelet(options: KubeletOptions): Kubelet {
  const { node, api, registry, pulls, store, backoffMs = BACKOFF_MS, onError } = options;
  const stopping = new AbortController();
  /** By uid of the pod. */
  const lives = new Map<string, Life>();
  const tasks = new Set<Promise<void>>();
  let awake: PromiseWithResolvers<void> | undefined;
  let serving = true;
  let accepting = true;

  function spawn(task: (signal: AbortSignal) => Promise<void>, ending?: AbortSignal): void {
    const signal = ending === undefined ? stopping.signal : AbortSignal.any([stopping.signal, ending]);
    const running: Promise<void> = task(signal)
      .catch((error: unknown) => {
        // 404 and 409: the pod is gone, and another one may have its name.
        if (!signal.aborted && !isNotFound(error) && !isConflict(error)) onError(error);
      })
      .finally(() => tasks.delete(running));
    tasks.add(running);
  }

  async function live(pod: Pod, life: Life, signal: AbortSignal): Promise<void> {
    const startTime = time();
    const states = new Map<string, ReturnType<typeof waiting>>();
    const send = async () => {
      await awake?.promise;
      const body = { metadata: { uid: pod.uid }, status: podStatus(pod, states, startTime, serving) };
      await api.mergePatch(`${pathOf(pod)}/status`, body, {}, { signal, deadlineMs: PATIENCE_MS });
    };
    // One after the other: an older status that arrives later would take a container back to where it was.
    let sent = Promise.resolve();
    const report = async () => {
      sent = sent.catch(() => undefined).then(send);
      await sent;
    };
    life.correct = (stored) => {
      // Who takes it back is the node controller, of a node that it has seen not ready.
      if (!stored.ready && serving && isReady(pod, states)) spawn(report, signal);
    };
    if (!accepting && pod.containers.some(({ command }) => isPreloadOnly(command))) {
      const status = {
        phase: 'Failed',
        reason: 'OutOfpods',
        message: 'Pod was rejected: Node did not have enough resource: pods',
      };
      await api.mergePatch(`${pathOf(pod)}/status`, { metadata: { uid: pod.uid }, status }, {}, { signal });
      return;
    }
    life.report = report;
    await report();
    for (const container of pod.containers) {
      const digest = await imageFor(container, pod, signal, async (reason, message) => {
        states.set(container.name, waiting(reason, message));
        await report();
      });
      states.set(container.name, started(container, digest));
      await report();
    }
  }

  /** Tries until it is there. */
  async function imageFor(
    container: Container,
    pod: Pod,
    signal: AbortSignal,
    say: (reason: string, message: string) => Promise<void>,
  ): Promise<string> {
    const { image } = container;
    for (let backoff = backoffMs; ; backoff = Math.min(2 * backoff, BACKOFF_LIMIT_MS)) {
      try {
        return await present(container, pod);
      } catch (error) {
        if (!(error instanceof PullFailed)) throw error;
        await say(error.reason, error.message);
        await wait(systemClock, WORDS_MS, signal);
        // Since kubelet 1.31 the words would follow.
        if (error.reason === 'ErrImagePull')
          await say('ImagePullBackOff', `Back-off pulling image "${image}"`);
        await wait(systemClock, backoff, signal);
      }
    }
  }

  async function present(
    { image, imagePullPolicy, command }: Container,
    { namespace, name }: Pod,
  ): Promise<string> {
    const known = store.get(image);
    if (known !== undefined && imagePullPolicy !== 'Always') return known;
    if (imagePullPolicy === 'Never') {
      const words = `Container image "${image}" is not present with pull policy of Never`;
      throw new PullFailed('ErrImageNeverPull', words);
    }
    const preload = isPreloadOnly(command);
    const pull: Pull = { node, image, namespace, pod: name, preload, began: performance.now() };
    pulls.push(pull);
    try {
      // To the end even if the pod goes meanwhile: kubelets do not cancel.
      const digest = await registry.pull(image, node, known, stopping.signal);
      store.set(image, digest);
      pull.digest = digest;
      return digest;
    } finally {
      pull.ended = performance.now();
    }
  }

  function forget(uid: string): void {
    lives.get(uid)?.abort();
    lives.delete(uid);
  }

  function wake(): void {
    awake?.resolve();
    awake = undefined;
  }

  return {
    store,
    get asleep() {
      return awake !== undefined;
    },
    run(pod) {
      const known = lives.get(pod.uid);
      if (known !== undefined) return known.correct?.(pod);
      const life: Life = new AbortController();
      lives.set(pod.uid, life);
      spawn((signal) => live(pod, life, signal), life.signal);
    },
    end(pod) {
      lives.get(pod.uid)?.abort();
      spawn(async (signal) => {
        await awake?.promise;
        const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.uid } };
        await api.delete(pathOf(pod), body, { signal, deadlineMs: PATIENCE_MS });
      });
    },
    forget,
    serve(is) {
      serving = is;
      for (const life of lives.values()) if (life.report !== undefined) spawn(life.report, life.signal);
    },
    accept(is) {
      accepting = is;
    },
    sleep() {
      awake ??= Promise.withResolvers<void>();
    },
    wake,
    async stop() {
      stopping.abort();
      wake();
      await Promise.all(tasks);
    },
  };
}

function pathOf({ namespace, name }: Pick<Pod, 'namespace' | 'name'>): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}
