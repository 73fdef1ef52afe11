import { randomUUID } from 'node:crypto';
import type { ImagePreload } from '../api/image-preload.ts';
import type { Mode } from '../api/names.ts';
import type { Clock } from '../clock.ts';
import type { Store } from '../cluster/object-cache.ts';
import type { Plan } from './assess/assess.ts';
import type { WantedPull } from './assess/wanted-pulls.ts';
import type { PullPlaces } from './budget/pull-places.ts';
import type { Node } from './nodes/node.ts';
import { tolerationsFor } from './nodes/taints.ts';
import type { OwnPods } from './pods/own-pods.ts';
import { type PodIndex, pullPlace } from './pods/pod-index.ts';
import { type PodWriter, RETRY_MS } from './pods/pod-writer.ts';
import type { PullSharers } from './pods/pull-sharers.ts';
import { pullerPod } from './pods/puller-pod.ts';
import type { PullerPod } from './pods/puller-pod-status.ts';
import { fitResources, type PullerResources, type ResourceRules } from './pods/puller-resources.ts';
import { imageKey, type PreloadState, type PreloadStates } from './preload-state.ts';

/** Creates the puller pods of ImagePreloads, and deletes those that nothing needs. */
export interface PreloadPods {
  /** Starts the pulls of the plan, as far as the cap on pulls in the cluster allows. */
  start(
    key: string,
    preload: ImagePreload,
    state: PreloadState,
    plan: Plan,
    rules: readonly ResourceRules[],
  ): void;
  /** Ends pulls on nodes that nobody counts any more. They may never end, and others need their places. */
  endStray(state: PreloadState): void;
  /** Deletes those of the pods that nothing needs. Returns false if not all of them could be deleted now. */
  removeUnneeded(found: readonly PullerPod[]): Promise<boolean>;
  /**
   * Deletes the pods that have done their work, because a quota may count them. Their nodes still count for as long as this process
   * lives. Returns in how many ms to come back for pods that could not be deleted.
   */
  retireSuccesses(state: PreloadState): Promise<number | undefined>;
  /**
   * Deletes pods with a name that Pullgate does not compute. Returns in how many ms to come back for pods that could not be
   * deleted.
   */
  sweep(key: string): Promise<number | undefined>;
  /**
   * Deletes pods that an earlier leader has left where nobody serves them any more, and whose ImagePreload is unknown. Returns in how many
   * ms to try again.
   */
  removeOrphans(key: string): Promise<number | undefined>;
  /** Forgets pods that never showed up. Returns when to look again, in ms since the epoch. */
  expire(): number | undefined;
}

/** Nothing waits for it: such pods count for nothing. */
const SWEEP_RETRY_MS = 60_000;

export function createPreloadPods(options: {
  readonly clock: Pick<Clock, 'now'>;
  readonly pods: PodIndex;
  readonly ownPods: OwnPods;
  readonly writer: PodWriter;
  readonly places: PullPlaces;
  readonly sharers: PullSharers;
  readonly states: PreloadStates;
  readonly nodes: Pick<Store<Node>, 'get'>;
  readonly modeOf: (namespace: string) => Mode | undefined;
  readonly pullerResources: PullerResources;
  /** Called with the key of a preload to look at again. */
  readonly wake: (key: string) => void;
}): PreloadPods {
  const { clock, pods, ownPods, writer, places, sharers, states, nodes, modeOf, wake } = options;

  function startPull(
    key: string,
    preload: ImagePreload,
    state: PreloadState,
    pull: WantedPull,
    rules: readonly ResourceRules[],
  ): void {
    const spec = state.pullOf.get(imageKey(pull.image))?.spec;
    if (spec === undefined) return;
    const { node, attempt, firstAttemptAt } = pull;
    const { startupTaints = [], bootId = '' } = nodes.get(node) ?? {};
    const tolerations = [...spec.tolerations, ...tolerationsFor(startupTaints)];
    const manifest = pullerPod({
      ...{ spec: { ...spec, tolerations }, preload, node, bootId, attempt, firstAttemptAt },
      resources: fitResources(options.pullerResources, rules),
      // Not a seeded generator: its numbers can be told from a few of them, and each puller pod shows one.
      random: randomUUID().replaceAll('-', ''),
    });
    writer.create(manifest, () => {
      wake(key);
      places.share();
    });
  }

  function isCounted(pod: PullerPod): boolean {
    const node = nodes.get(pod.node);
    if (node === undefined) return false;
    for (const key of sharers.keysOf(pod)) {
      const state = states.get(key);
      if (state?.live === true && state.excludes(node) === undefined) return true;
    }
    return false;
  }

  async function deleteAll(found: readonly PullerPod[], retryMs: number): Promise<number | undefined> {
    const deleted = await Promise.all(found.map(writer.delete));
    return deleted.includes(false) ? retryMs : undefined;
  }

  return {
    start(key, preload, state, { wanted, running }, rules) {
      const { namespace } = preload;
      places.take({ key, namespace, urgent: state.urgent, running, wanted: wanted.length }, (pulls) => {
        for (const pull of wanted.slice(0, pulls)) startPull(key, preload, state, pull, rules);
      });
    },
    endStray(state) {
      const mine = new Set(state.pulls.map(pullPlace));
      for (const [pod] of [...pods.underWay()])
        if (mine.has(pullPlace(pod)) && !isCounted(pod)) void writer.remove(pod);
    },
    async removeUnneeded(found) {
      const unneeded = found.filter((pod) => !sharers.isNeeded(pod));
      return !(await Promise.all(unneeded.map(writer.remove))).includes(false);
    },
    retireSuccesses: (state) => deleteAll(state.pulls.flatMap(pods.retirePull), RETRY_MS),
    sweep: (key) => deleteAll(ownPods.misnamed(key), SWEEP_RETRY_MS),
    removeOrphans: (key) =>
      deleteAll(
        ownPods.orphans(key).filter(({ namespace }) => modeOf(namespace) === undefined),
        SWEEP_RETRY_MS,
      ),
    expire() {
      const before = pods.running;
      const expiresAt = pods.expire(clock.now(), writer.isQueued);
      if (pods.running < before) places.share();
      return expiresAt;
    },
  };
}
