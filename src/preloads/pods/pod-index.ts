import type { Clock } from '../../clock.ts';
import { POD_REJECTED, type PodRefusal, PULL_TIMED_OUT, pullOutcome } from './pull-result.ts';
import type { PullerPod } from './puller-pod-status.ts';

/**
 * The gate's own puller pods, by what they pull and where. A pod that was just asked for counts before the watch shows
 * it, so that nothing is created twice; a refused one stays as a failure until its attempt is due again.
 */
export interface PodIndex {
  /** What the watch says; undefined for a pod that is gone, or that is not the gate's. Returns what was known of it. */
  observe(key: string, pod: PullerPod | undefined): PullerPod | undefined;
  /**
   * A pod that is about to be created. Its place is taken by the real one as soon as the watch shows it. False if one of
   * that name is still there, on its way out: the watch will tell when it is gone.
   */
  expect(pod: PullerPod): boolean;
  /** The API server refused to create an expected pod, with its words, or could not. */
  refuse(pod: PullerPod, message: string, reason?: PodRefusal): void;
  /** An expected pod that will not come after all, or a retired one that nobody needs any more. */
  forget(pod: PullerPod): void;
  /**
   * Returns what finds the pods of this pull on a node, as things are now: those that are not being deleted, and the same list as long as they
   * are the same.
   */
  findOf(pull: Pull): (node: string) => readonly PullerPod[];
  ofPull(pull: Pull): readonly PullerPod[];
  /**
   * Forgets what was expected long ago and never seen: made and deleted in a gap of the watch. What is queued has not been made
   * yet. Returns when the next one is due, in ms since the epoch.
   */
  expire(now: number, isQueued?: (pod: PullerPod) => boolean): number | undefined;
  /**
   * Returns the succeeded pods beyond `limit`, to be deleted: the oldest ones of the namespace with the most. They still count in
   * this process until they are forgotten. In the next process, a new puller pod finds the image on the node within seconds.
   */
  retire(limit: number): readonly PullerPod[];
  /**
   * Returns the succeeded pods of this pull that still exist, to be deleted. Like those of `retire`, they still count until they
   * are forgotten.
   */
  retirePull(pull: Pull): readonly PullerPod[];
  /** The same for one pod that has succeeded. */
  retirePod(pod: PullerPod): void;
  /** Whether a retired pod is there no more. */
  isGone(pod: PullerPod): boolean;
  /** Pulls under way in the whole cluster. */
  readonly running: number;
  /** These pulls, and since when each is known, in ms since the epoch, by our clock. */
  underWay(): Iterable<readonly [pod: PullerPod, since: number]>;
  /** A pod that the gate has deleted, as it took too long: it stays as a failure, like a refused one. */
  timedOut(pod: PullerPod, message: string): void;
}

/** What may share a pod on a node. Never that of another namespace, whatever its pods claim to pull. */
export type Pull = Pick<PullerPod, 'namespace' | 'pull'>;

/** Of one pull, on one node. */
interface Place {
  readonly all: readonly PullerPod[];
  /** Those that are not being deleted. */
  readonly staying: readonly PullerPod[];
}

export const NO_PODS: readonly PullerPod[] = [];
const findsNone = () => NO_PODS;

export function podKey({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}

export function pullPlace({ namespace, pull }: Pull): string {
  return `${namespace}/${pull}`;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the operations of one index over one state
export function createPodIndex(clock: Pick<Clock, 'now'>): PodIndex {
  const pods = new Map<string, PullerPod>();
  /** By `pullPlace`, then by node. */
  const places = new Map<string, Map<string, Place>>();
  const expected = new Set<string>();
  /** By namespace, in the order in which they were seen to have succeeded. */
  const succeeded = new Map<string, Set<string>>();
  /** Deleted, or about to be, and still counting. */
  const retired = new Set<string>();
  /** Those of them that the watch shows no more. */
  const gone = new Set<string>();
  const underWay = new Map<string, readonly [PullerPod, number]>();

  function change(pod: PullerPod, next: (pods: readonly PullerPod[]) => readonly PullerPod[]): void {
    const { node } = pod;
    const place = pullPlace(pod);
    const nodes = places.get(place) ?? new Map<string, Place>();
    const all = next(nodes.get(node)?.all ?? NO_PODS);
    if (all.length === 0) nodes.delete(node);
    else nodes.set(node, { all, staying: all.filter(({ deleting }) => !deleting) });
    if (nodes.size === 0) places.delete(place);
    else places.set(place, nodes);
  }

  function put(key: string, pod: PullerPod | undefined): void {
    const before = pods.get(key);
    if (before !== undefined) {
      pods.delete(key);
      change(before, (all) => all.filter((other) => other !== before));
    }
    if (pod === undefined || !isRunning(pod)) underWay.delete(key);
    // The kubelet's times are not ours. What another leader has started is as old as the API server says.
    else underWay.set(key, [pod, underWay.get(key)?.[1] ?? Math.min(pod.createdAt, clock.now())]);
    if (before !== undefined && (pod === undefined || !hasSucceeded(pod))) unkeep(before.namespace, key);
    if (pod === undefined) return;
    if (hasSucceeded(pod)) succeeded.set(pod.namespace, (succeeded.get(pod.namespace) ?? new Set()).add(key));
    pods.set(key, pod);
    change(pod, (all) => [...all, pod]);
  }

  function unkeep(namespace: string, key: string): void {
    const kept = succeeded.get(namespace);
    kept?.delete(key);
    if (kept?.size === 0) succeeded.delete(namespace);
  }

  function retireOne(pod: PullerPod): void {
    const key = podKey(pod);
    if (pods.get(key)?.uid !== pod.uid) return;
    unkeep(pod.namespace, key);
    retired.add(key);
  }

  return {
    observe(key, pod) {
      const before = pods.get(key);
      if (retired.has(key)) {
        if (pod === undefined) gone.add(key);
        return before;
      }
      expected.delete(key);
      put(key, pod);
      return before;
    },
    expect(pod) {
      const key = podKey(pod);
      if (pods.has(key)) return false;
      expected.add(key);
      put(key, pod);
      return true;
    },
    refuse(pod, message, reason = POD_REJECTED) {
      const key = podKey(pod);
      if (expected.has(key)) put(key, { ...pod, phase: 'Failed', reason, message });
    },
    forget(pod) {
      const key = podKey(pod);
      gone.delete(key);
      if (expected.delete(key) || retired.delete(key)) put(key, undefined);
    },
    retire(limit) {
      const surplus: PullerPod[] = [];
      let kept = 0;
      for (const { size } of succeeded.values()) kept += size;
      for (; kept > limit; kept -= 1) {
        const [namespace = '', keys] = [...succeeded].reduce((a, b) => (b[1].size > a[1].size ? b : a));
        const [key = ''] = keys;
        unkeep(namespace, key);
        retired.add(key);
        const pod = pods.get(key);
        if (pod !== undefined) surplus.push(pod);
      }
      return surplus;
    },
    findOf(pull) {
      const nodes = places.get(pullPlace(pull));
      return nodes === undefined ? findsNone : (node) => nodes.get(node)?.staying ?? NO_PODS;
    },
    retirePull(pull) {
      const left: PullerPod[] = [];
      for (const { all } of places.get(pullPlace(pull))?.values() ?? []) {
        for (const pod of all) {
          if (!hasSucceeded(pod) || pod.uid === '') continue;
          retireOne(pod);
          if (!gone.has(podKey(pod))) left.push(pod);
        }
      }
      return left;
    },
    retirePod: retireOne,
    isGone: (pod) => gone.has(podKey(pod)),
    ofPull: (pull) => [...(places.get(pullPlace(pull))?.values() ?? [])].flatMap(({ all }) => all),
    expire(now, isQueued = () => false) {
      let next: number | undefined;
      for (const key of expected) {
        const pod = pods.get(key);
        if (pod?.phase !== 'Pending') continue;
        const due = (isQueued(pod) ? now : pod.createdAt) + EXPECTED_MS;
        if (due > now) {
          next = Math.min(next ?? due, due);
          continue;
        }
        expected.delete(key);
        put(key, undefined);
      }
      return next;
    },
    get running() {
      return underWay.size;
    },
    underWay: () => underWay.values(),
    timedOut(pod, message) {
      const key = podKey(pod);
      if (pods.has(key)) return;
      expected.add(key);
      const { container: _, ...rest } = pod;
      put(key, { ...rest, uid: '', phase: 'Failed', reason: PULL_TIMED_OUT, message });
    },
  };
}

/** A watch shows a new pod within a second; a minute allows for an API server that restarts. */
const EXPECTED_MS = 60_000;

function hasSucceeded(pod: PullerPod): boolean {
  return !pod.deleting && pullOutcome(pod).state === 'succeeded';
}

function isRunning(pod: PullerPod): boolean {
  const { state } = pullOutcome(pod);
  return !pod.deleting && (state === 'starting' || state === 'pulling');
}
