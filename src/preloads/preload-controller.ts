import type { Awaited } from '../api/approval.ts';
import type { Deployment } from '../api/deployment.ts';
import { type ImagePreload, withStatus } from '../api/image-preload.ts';
import type { Mode } from '../api/names.ts';
import { type Clock, earliest } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import type { GateEvent } from '../cluster/events.ts';
import type { Store, Trim } from '../cluster/object-cache.ts';
import type { Reflector } from '../cluster/reflector.ts';
import { createWorkQueue } from '../cluster/work-queue.ts';
import type { Logger } from '../log.ts';
import { createLogLimit, PROGRESS_RATE } from '../log-limit.ts';
import { type Activity, activityOf, requestEndsAt } from './activity.ts';
import { type Assessment, assess } from './assess/assess.ts';
import type { PullTimes } from './assess/pull-times.ts';
import { createAssessInputs } from './assess-inputs.ts';
import { createPullPlaces } from './budget/pull-places.ts';
import { createEnding } from './ending.ts';
import type { Node } from './nodes/node.ts';
import { BEGUN_MS, createPodChanges } from './pod-changes.ts';
import { createEndedPulls, type EndedPull } from './pods/ended-pulls.ts';
import { createOwnPods } from './pods/own-pods.ts';
import { createPodIndex, type Pull } from './pods/pod-index.ts';
import { createPodTroubles } from './pods/pod-trouble.ts';
import { createPodWriter } from './pods/pod-writer.ts';
import { pullOutcome } from './pods/pull-result.ts';
import { createPullSharers } from './pods/pull-sharers.ts';
import type { PullerPod } from './pods/puller-pod-status.ts';
import type { PullerResources } from './pods/puller-resources.ts';
import { preloadEvents } from './preload-events.ts';
import { createPreloadPods } from './preload-pods.ts';
import { createPreloadStates, ownerKey, type PreloadState, restMs } from './preload-state.ts';
import { preloadStatus } from './preload-status.ts';
import { createPreloadWriter } from './preload-writer.ts';
import { logProgress } from './progress-log.ts';
import { createServedPreloads } from './served-preloads.ts';
import { createWorkloadLookups } from './workload-lookups.ts';

/** Those that are not served are kept in part, as `isWhole` and `less` of the controller say. */
type TrimmedStore<T> = Store<T> & Pick<Reflector<T>, 'trim' | 'refresh'>;

export interface PreloadControllerOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** In [0, 1), for delays: nothing that has to be a secret. */
  readonly random: () => number;
  readonly log: Logger;
  readonly writeEvent: (event: GateEvent) => void;
  readonly preloads: TrimmedStore<ImagePreload>;
  readonly deployments: Store<Deployment>;
  readonly nodes: Store<Node>;
  /** Undefined where nobody opted in. */
  readonly modeOf: (namespace: string) => Mode | undefined;
  /** What the hold of the Deployment waits for besides its images. */
  readonly awaitedOf: (owner: Deployment | undefined) => Awaited | undefined;
  /** Pulls at a time in the whole cluster. */
  readonly maxConcurrentPulls: number;
  /** For how long a pull may keep its place among them while others want one, whatever its preload says. */
  readonly nodeTimeoutSeconds: number;
  readonly pullTimes: PullTimes;
  /** What puller pods request where their namespace does not ask for something else. */
  readonly pullerResources: PullerResources;
  readonly onPullEnded?: ((pull: EndedPull) => void) | undefined;
}

/** Carries out ImagePreloads: puller pods and status. Told of changes by the reflectors, after their caches show them. */
export interface PreloadController extends Trim<ImagePreload> {
  /**
   * Call it when everything that is stored has been read. From then on `onAssessed` is called with `namespace/name` of a preload when
   * something new is known of it.
   */
  start(onAssessed: (key: string) => void): void;
  preloadChanged(key: string): void;
  /** A Deployment has changed that may own preloads. */
  ownerChanged(owner: { readonly namespace: string; readonly uid: string }): void;
  nodesChanged(): void;
  podChanged(key: string, now: PullerPod | undefined, before: PullerPod | undefined): void;
  /** What is known of a preload now; undefined until it has been looked at, and once nothing needs it any more. */
  assessmentOf(key: string): Assessment | undefined;
  /** Pulls under way in the whole cluster. */
  running(): number;
  stop(): Promise<void>;
}

/** Nodes report something all the time, and each time every preload has to look at all of them. */
const NODES_INTERVAL_MS = 1000;
/** What somebody waits for. */
const URGENT: ReadonlySet<Activity> = new Set(['holding', 'requested']);
/** What needs its pods. */
const LIVE: ReadonlySet<Activity> = new Set([...URGENT, 'rolling', 'standalone']);

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: wiring, and reconcile with its steps
export function createPreloadController(options: PreloadControllerOptions): PreloadController {
  const { client, clock, random, log, writeEvent, preloads, deployments, nodes, modeOf } = options;
  const limitProgress = createLogLimit(clock, PROGRESS_RATE);
  const pods = createPodIndex(clock);
  const endedPulls = createEndedPulls(clock, (pull) => options.onPullEnded?.(pull));
  const sharers = createPullSharers();
  const lookups = createWorkloadLookups({ client, clock, log });
  let reportAssessed: (key: string) => void = () => undefined;
  let nodesChangedSince = false;
  let stopGathering: (() => void) | undefined;
  let stopped = false;

  const troubles = createPodTroubles({
    client,
    clock,
    log,
    onFound(pod) {
      if (!stopped) wakeSharers(pod, 0);
    },
  });
  const queue = createWorkQueue({
    name: 'preload',
    reconcile,
    restMs: (key) => restMs(states.get(key)),
    clock,
    log,
    random,
  });
  const writer = createPodWriter({ client, clock, log, pods, onRefused: endedPulls.refused });
  const preloadWriter = createPreloadWriter({ client, clock, log });
  const states = createPreloadStates({
    ...{ clock, sharers, absentMs: options.pullTimes.absentMs },
    onForgotten: endPulls,
  });
  const places = createPullPlaces({
    cap: options.maxConcurrentPulls,
    timeoutMs: options.nodeTimeoutSeconds * 1000,
    ...{ clock, log, limitProgress, pods, writer, sharers },
    wake: queue.add,
  });
  const served = createServedPreloads({
    get: preloads.get,
    trim: preloads.trim,
    nodes: () => Array.from(nodes.values()).length,
    wake: queue.add,
  });
  const changes = createPodChanges({
    ...{ clock, pods, writer, places, sharers, endedPulls, wakeSharers },
    wake: queue.addWithin,
  });
  const ownPods = createOwnPods({ preloads, clock, onChange: changes.observe });
  const preloadPods = createPreloadPods({
    ...{ clock, pods, ownPods, writer, places, sharers, states, nodes, modeOf },
    pullerResources: options.pullerResources,
    wake: queue.add,
  });
  const inputs = createAssessInputs({
    ...{ clock, nodes, pods, troubles, lookups },
    pullTimes: options.pullTimes,
    maxConcurrentPulls: options.maxConcurrentPulls,
    awaitedOf: options.awaitedOf,
  });
  const ending = createEnding({
    ...{ clock, random, writeEvent, inputs, pods, ownPods, preloadPods, preloadWriter, places, served },
    ownerOf,
    forget: states.forget,
  });

  async function reconcile(key: string): Promise<number | undefined> {
    const preload = preloads.get(key);
    if (preload === undefined || preload.deleting) {
      served.changed(key, preload);
      states.forget(key);
      return await preloadPods.removeOrphans(key);
    }
    const expiresAt = preloadPods.expire();
    const sweepIn = await preloadPods.sweep(key);
    const activity = activityOf({
      preload: withStatus(preload, states.get(key)?.status ?? preload.status),
      deployment: ownerOf(preload),
      mode: modeOf(preload.namespace),
      siblings: () => siblingsOf(preload),
      now: clock.now(),
    });
    return earliest(sweepIn, await follow(key, preload, activity, expiresAt));
  }

  async function follow(
    key: string,
    preload: ImagePreload,
    activity: Activity,
    expiresAt: number | undefined,
  ): Promise<number | undefined> {
    const live = LIVE.has(activity);
    const urgent = URGENT.has(activity);
    if (!live) served.rest(key, preload);
    else if (!served.take(key, preload, urgent)) return await ending.wait(key, preload);
    else if (preload.trimmed !== undefined) {
      // The change wakes it.
      await preloads.refresh(key);
      return undefined;
    }
    const state = preload.trimmed === undefined ? states.of(key, preload) : states.get(key);
    if (state === undefined) return await ending.finish(key, preload, undefined, activity);
    states.noteRequest(key, state, activity === 'requested' ? ownerKey(preload) : undefined);
    // What was known of it before says nothing about now: its pods are gone.
    if (live && !state.live) state.assessment = undefined;
    sharers.use(state, { live, urgent });
    return live
      ? await serve(key, preload, state, activity, expiresAt)
      : await ending.finish(key, preload, state, activity);
  }

  async function serve(
    key: string,
    preload: ImagePreload,
    state: PreloadState,
    activity: Activity,
    expiresAt: number | undefined,
  ): Promise<number | undefined> {
    const rules = await lookups.rulesOf(preload, state);
    if (activity === 'rolling' && rules.countsPods) {
      // The new pods need the room, and nobody waits for the nodes that are left.
      served.rest(key, preload);
      sharers.use(state, { live: false, urgent: false });
      return await ending.finish(key, preload, state, 'finished');
    }
    const known = withStatus(preload, state.status);
    const input = await inputs.of(known, state, activity, ownerOf(known));
    const assessment = assess(input);
    const before = state.assessment;
    state.assessment = assessment;
    reportAssessed(key);
    logProgress(known, before, assessment, { clock, log, limitProgress });
    endedPulls.timedOut(assessment.plan.timedOut);
    if (activity !== 'rolling')
      for (const event of preloadEvents(known, assessment, ownerOf(known))) writeEvent(event);
    preloadPods.endStray(state);
    preloadPods.start(key, known, state, assessment.plan, rules.resources);
    for (const pod of assessment.plan.remove) void writer.remove(pod);
    const retiredIn =
      activity === 'rolling' || rules.countsPods ? await preloadPods.retireSuccesses(state) : undefined;
    troubles.read(assessment.plan.creating);
    const status = preloadStatus({ preload: known, assessment, activity, now: input.now });
    const statusIn = await preloadWriter.writeStatus(known, state, status);
    const endsAt = activity === 'requested' ? requestEndsAt(withStatus(preload, state.status)) : undefined;
    const wakeAt = earliest(assessment.plan.wakeAt, expiresAt, endsAt);
    return earliest(
      retiredIn,
      statusIn,
      wakeAt === undefined ? undefined : Math.max(0, wakeAt - clock.now()),
    );
  }

  function ownerOf(preload: ImagePreload): Deployment | undefined {
    return preload.owner === undefined
      ? undefined
      : deployments.get(`${preload.namespace}/${preload.owner.name}`);
  }

  function* siblingsOf({ namespace, owner }: ImagePreload): Generator<ImagePreload> {
    for (const other of preloads.inNamespace(namespace)) if (other.owner?.uid === owner?.uid) yield other;
  }

  /** Ends the pulls of a preload that is forgotten, but for those that another one has in its list, or that are still needed. */
  function endPulls(key: string, state: PreloadState, needed: readonly Pull[]): void {
    places.satisfied(key);
    for (const pull of state.pulls) {
      const isLeft = sharers.isListed(pull) || needed.some((other) => other.pull === pull.pull);
      for (const pod of pods.ofPull(pull)) {
        // What only the index knows of, such as refused pods. Other preloads may still count on a success whose pod is deleted.
        const isKept = isLeft && pullOutcome(pod).state === 'succeeded';
        if (pod.preloadUid === state.uid && !isKept) pods.forget(pod);
        // A preload that is being deleted may stay for as long as a finalizer keeps it, and so would its pods.
        if (!isLeft) void writer.remove(pod);
      }
      wakeSharers(pull, 0);
    }
  }

  function wakeSharers(pull: Pull, withinMs: number): void {
    for (const key of sharers.keysOf(pull)) queue.addWithin(key, withinMs);
  }

  function wakeLive(): void {
    for (const [key, { live }] of states) if (live) queue.add(key);
  }

  return {
    preloadChanged(key) {
      served.changed(key, preloads.get(key));
      const preload = preloads.get(key);
      if (preload !== undefined && !preload.deleting) {
        // At once, before any other is looked at: it may need the pods of that one.
        if (preload.trimmed === undefined) states.of(key, preload);
        else if (states.get(key)?.uid !== preload.uid) states.forget(key);
      }
      ownPods.preloadChanged(key);
      queue.add(key);
      // A request for another template ends those before it.
      if (preload !== undefined && modeOf(preload.namespace) === 'reject') {
        for (const sibling of states.requestedFor(ownerKey(preload))) queue.add(sibling);
      }
    },
    ownerChanged(owner) {
      for (const key of states.ownedBy(`${owner.namespace}/${owner.uid}`)) queue.add(key);
    },
    isWhole: served.isWhole,
    less: served.less,
    nodesChanged() {
      inputs.nodesChanged();
      nodesChangedSince = stopGathering !== undefined;
      if (nodesChangedSince) return;
      wakeLive();
      stopGathering = clock.setTimer(NODES_INTERVAL_MS, () => {
        stopGathering = undefined;
        if (nodesChangedSince) wakeLive();
      });
    },
    podChanged(key, now, before) {
      if (before !== undefined && before.uid !== now?.uid) writer.gone(before);
      ownPods.observe(key, now);
      if (now === undefined) return;
      const owner = `${now.namespace}/${now.preload}`;
      // It may be one that has to go.
      if (preloads.get(owner) !== undefined || modeOf(now.namespace) === undefined)
        queue.addWithin(owner, BEGUN_MS);
    },
    assessmentOf(key) {
      const state = states.get(key);
      return state?.live === true ? state.assessment : undefined;
    },
    running: () => pods.running,
    start(onAssessed) {
      reportAssessed = onAssessed;
      endedPulls.start();
      served.start();
      queue.start();
    },
    async stop() {
      stopped = true;
      stopGathering?.();
      writer.stop();
      changes.stop();
      places.stop();
      await queue.stop();
    },
  };
}
