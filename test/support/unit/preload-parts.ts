import { asString, at as field } from '../../../src/json.ts';
import type { Demand } from '../../../src/preloads/budget/fair-share.ts';
import type { PullPlaces } from '../../../src/preloads/budget/pull-places.ts';
import type { OwnPods } from '../../../src/preloads/pods/own-pods.ts';
import { createPodIndex, podKey } from '../../../src/preloads/pods/pod-index.ts';
import type { PodWriter } from '../../../src/preloads/pods/pod-writer.ts';
import { createPullSharers } from '../../../src/preloads/pods/pull-sharers.ts';
import type { PullerPod } from '../../../src/preloads/pods/puller-pod-status.ts';
import { createPreloadStates } from '../../../src/preloads/preload-state.ts';
import { manualClock } from './manual-clock.ts';
import { at, type PullerBuilder, preload } from './preload-builder.ts';

export const KEY = 'shop/web-1';

/** What the parts of the preload controller share, of one served preload: real, but for the two that write, which record instead. */
export function preloadParts({ grant = Number.POSITIVE_INFINITY, stored = preload() } = {}) {
  const clock = manualClock(at(0));
  const pods = createPodIndex(clock);
  const sharers = createPullSharers();
  const states = createPreloadStates({ clock, absentMs: 1000, sharers, onForgotten: () => undefined });
  const created: { readonly node: string | undefined; readonly settled: () => void }[] = [];
  const demands: Demand[] = [];
  const calls: string[] = [];
  /** Nodes whose pods the API server does not delete. */
  const undeletable = new Set<string>();
  const remove = async ({ node }: PullerPod) => {
    calls.push(`delete ${node}`);
    return !undeletable.has(node);
  };
  const writer: PodWriter = {
    create: (manifest, settled) =>
      void created.push({ node: asString(field(manifest, 'spec', 'nodeName')), settled }),
    remove,
    delete: remove,
    isQueued: () => false,
    cancel: () => undefined,
    isRemoving: () => false,
    isStuck: () => false,
    gone: () => undefined,
    stop: () => undefined,
  };
  /** uids of pods whose places were taken back because they took too long. */
  const overdue = new Set<string>();
  const places: PullPlaces = {
    take(demand, start) {
      demands.push(demand);
      start(Math.min(grant, demand.wanted));
    },
    satisfied: (key) => void calls.push(`satisfied ${key}`),
    share: () => void calls.push('share'),
    stop: () => undefined,
    endedOverdue: ({ uid }) => overdue.delete(uid),
  };
  const found = { own: [] as PullerPod[], misnamed: [] as PullerPod[], orphans: [] as PullerPod[] };
  const ownPods: OwnPods = {
    observe: () => undefined,
    preloadChanged: () => undefined,
    ofPreload: () => found.own,
    misnamed: () => found.misnamed,
    orphans: () => found.orphans,
  };
  const state = states.of(KEY, stored);
  const [pull = { namespace: '', pull: '' }] = state.pulls;
  const podOf = (builder: PullerBuilder): PullerPod => builder.with({ pull: pull.pull }).pod;
  return {
    ...{ clock, pods, sharers, states, writer, places, ownPods, stored, state, pull },
    ...{ created, demands, calls, undeletable, overdue, found },
    /** Returns the pod as one of that preload's pull. */
    podOf,
    /** The index has seen the pod. */
    seen(builder: PullerBuilder): PullerPod {
      const pod = podOf(builder);
      pods.observe(podKey(pod), pod);
      return pod;
    },
    /** Nobody needs the preload any more. */
    over: () => sharers.use(state, { live: false, urgent: false }),
  };
}
