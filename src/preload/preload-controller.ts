import { randomUUID } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import type { GateEvent } from '../cluster/events.ts';
import type { Trim } from '../cluster/object-cache.ts';
import type { Reflector } from '../cluster/reflector.ts';
import { createWorkQueue } from '../cluster/work-queue.ts';
import type { Deployment } from '../hold/deployment.ts';
import type { Logger } from '../log.ts';
import type { Mode } from '../names.ts';
import { shortHash } from '../template/template-hash.ts';
import { createTokenBuckets } from '../token-bucket.ts';
import { type Activity, activityOf, requestEndsAt } from './activity.ts';
import { type AssessInput, type Assessment, assess } from './assess.ts';
import { type EligibleNodes, eligibleNodes, exclusion } from './eligible-nodes.ts';
import { createEndedPulls, type EndedPull } from './ended-pulls.ts';
import { createImageAbsences, type ImageAbsences } from './image-absence.ts';
import { imageFilter } from './image-filter.ts';
import type { ImagePreload, ImagePreloadStatus, PreloadImage } from './image-preload.ts';
import { isListed, type Judgements } from './judged-node.ts';
import { createKeyGroups } from './key-groups.ts';
import { createLingeringPods } from './lingering-pods.ts';
import type { Node } from './node.ts';
import { createOwnPods } from './own-pods.ts';
import { createPodIndex, type Pull, podKey, pullPlace } from './pod-index.ts';
import { createPodTroubles } from './pod-trouble.ts';
import { createPodWriter, RETRY_MS } from './pod-writer.ts';
import { preloadFacts, refusedPreloadFact } from './preload-facts.ts';
import {
  endedStatus,
  isToldToWait,
  noNodesSince,
  preloadStatus,
  refusedStatus,
  waitingStatus,
} from './preload-status.ts';
import { createPreloadWriter, type WrittenStatus } from './preload-writer.ts';
import { recordedFailure } from './pull-failure.ts';
import { pullOutcome } from './pull-outcome.ts';
import { createPullPlaces } from './pull-places.ts';
import { createPullSharers, type Sharer } from './pull-sharers.ts';
import type { PullTimes } from './pull-times.ts';
import { type PullSpec, pullerPod, pullKey } from './puller-pod.ts';
import type { PullerPod } from './puller-pod-status.ts';
import { fitResources, type PullerResources, type ResourceRules } from './puller-resources.ts';
import { createServedPreloads } from './served-preloads.ts';
import type { Failure } from './slot.ts';
import { tolerationsFor } from './taints.ts';
import { parseTimestamp } from './timestamp.ts';
import { parallelNodes, type WantedPull } from './wanted-pulls.ts';
import { runsWasm, wasmWords } from './wasm.ts';
import { createWorkloadLookups } from './workload-lookups.ts';

type Store<T> = Pick<Reflector<T>, 'get' | 'values' | 'inNamespace'>;
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
  /** Pulls at a time in the whole cluster. */
  readonly maxConcurrentPulls: number;
  /** For how long a pull may keep its place among them while others want one, whatever its preload says. */
  readonly nodeTimeoutSeconds: number;
  readonly pullTimes: PullTimes;
  /** What puller pods request where their namespace does not ask for something else. */
  readonly pullerResources: PullerResources;
  /** Called with `namespace/name` of a preload when something new is known of it. */
  readonly onAssessed: (key: string) => void;
  readonly onPullEnded?: ((pull: EndedPull) => void) | undefined;
}

/** Carries out ImagePreloads: puller pods and status. Told of changes by the reflectors, after their caches show them. */
export interface PreloadController extends Trim<ImagePreload> {
  /** When everything that is stored has been read. */
  start(): void;
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

/** After each look at a preload; for one image on 5,000 nodes 150 ms, which is little beside a pull, and then at most 1% of a core. */
const REST_MS = 25;
const PULLS_PER_MS_OF_REST = 40;
/** That a pull has begun changes nothing yet: it has to be looked at before PullTimes.creatingMs is over. */
const BEGUN_MS = 1000;
/** Nothing waits for it: such pods count for nothing. */
const SWEEP_RETRY_MS = 60_000;
/** Nodes report something all the time, and each time every preload has to look at all of them. */
const NODES_INTERVAL_MS = 1000;
/**
 * Finished puller pods that are kept, in the whole cluster. The garbage collector of pods begins to delete everyone's at
 * 12,500 (kube-controller-manager --terminated-pod-gc-threshold), and others have theirs, too.
 */
const KEPT_PODS = 2000;

/** Statuses that say that an ImagePreload waits for others: so many of a namespace at once, then one in so many milliseconds. */
const TOLD_TO_WAIT = { burst: 20, refillMs: 100 };

/** What somebody waits for. */
const URGENT: ReadonlySet<Activity> = new Set(['holding', 'requested']);
/** What needs its pods. */
const LIVE: ReadonlySet<Activity> = new Set([...URGENT, 'rolling', 'standalone']);

interface State extends Sharer, WrittenStatus {
  /** A preload that was deleted and made again has the same name. */
  readonly uid: string;
  /** Nothing forbids to edit its spec on servers without CEL. */
  readonly generation: number;
  /** How each image is pulled, by `imageKey`. */
  readonly pullOf: ReadonlyMap<string, { readonly spec: PullSpec } & Pull>;
  /** Of the past while it is not live. */
  assessment: Assessment | undefined;
  eligible:
    | { readonly version: number; readonly nodes: EligibleNodes; readonly listImage: boolean }
    | undefined;
  readonly judged: Judgements;
  /** ms since the epoch, when it began to be served. */
  readonly servedSince: number;
  /** `namespace/uid` of its owner. */
  readonly owner: string | undefined;
  /** The owner whose rejected update waits for it. */
  requestedFor: string | undefined;
  /** Why it leaves a node out. */
  readonly excludes: ReturnType<typeof exclusion>;
  /** See AssessInput; the same after a restart. */
  readonly beginAt: number;
  readonly absences: ImageAbsences;
}

export function createPreloadController(options: PreloadControllerOptions): PreloadController {
  const { client, clock, random, log, writeEvent, preloads, deployments, nodes } = options;
  const pods = createPodIndex(clock);
  const endedPulls = createEndedPulls(clock, (pull) => options.onPullEnded?.(pull));
  const states = new Map<string, State>();
  /** Keys of the preloads that rejected updates wait for, by the Deployment that owns them. */
  const requested = createKeyGroups();
  /** Keys of those that have a state, by owner. */
  const owned = createKeyGroups();
  const sharers = createPullSharers();
  const waits = createTokenBuckets({ ...TOLD_TO_WAIT, clock });
  const lookups = createWorkloadLookups({ client, clock, log });
  let nodesVersion = 0;
  let stopGathering: (() => void) | undefined;
  let stopped = false;

  const troubles = createPodTroubles({
    client,
    clock,
    log,
    onFound(pod) {
      if (!stopped) wakeSharers(pod);
    },
  });
  const queue = createWorkQueue({ name: 'preload', reconcile, restMs, clock, log, random });
  const writer = createPodWriter({ client, clock, log, pods, onRefused: endedPulls.refused });
  const preloadWriter = createPreloadWriter({ client, clock, log });
  const places = createPullPlaces({
    cap: options.maxConcurrentPulls,
    timeoutMs: options.nodeTimeoutSeconds * 1000,
    ...{ clock, log, pods, writer, sharers },
    wake: queue.add,
  });
  const served = createServedPreloads({
    get: preloads.get,
    trim: preloads.trim,
    nodes: () => Array.from(nodes.values()).length,
    wake: queue.add,
  });
  const lingering = createLingeringPods({
    clock,
    onLingering(pod) {
      pods.retirePod(pod);
      void writer.delete(pod).then((isDone) => {
        if (!isDone && !stopped) lingering.observe(podKey(pod), pod);
      });
    },
  });
  const ownPods = createOwnPods({ preloads, clock, onChange: ownPodChanged });

  function ownPodChanged(key: string, now: PullerPod | undefined, before: PullerPod | undefined): void {
    const known = pods.observe(key, now);
    if (
      before !== undefined &&
      before.uid !== now?.uid &&
      places.endedOverdue(before) &&
      isUnderWay(before)
    ) {
      pods.timedOut(before, TIMED_OUT_MESSAGE);
      endedPulls.timedOut([{ pod: before, at: clock.now() }]);
    }
    endedPulls.observe(now, before);
    lingering.observe(key, now);
    const pod = now ?? known;
    if (pod === undefined) return;
    if (now?.deleting === true && !sharers.isNeeded(now)) void writer.remove(now);
    const hasOnlyBegun = isUnderWay(now) && (before === undefined || isUnderWay(before));
    const withinMs = hasOnlyBegun ? BEGUN_MS : 0;
    wakeSharers(pod, withinMs);
    for (const surplus of pods.retire(KEPT_PODS)) void writer.delete(surplus);
    queue.addWithin(`${pod.namespace}/${pod.preload}`, withinMs);
    places.share();
  }

  /** To look at thousands of nodes takes milliseconds, for each image. */
  function restMs(key: string): number {
    const state = states.get(key);
    const pulls = (state?.eligible?.nodes.eligible.length ?? 0) * (state?.pulls.length ?? 0);
    return REST_MS + pulls / PULLS_PER_MS_OF_REST;
  }

  async function reconcile(key: string): Promise<number | undefined> {
    const preload = preloads.get(key);
    if (preload === undefined || preload.deleting) {
      served.changed(key, preload);
      forget(key);
      return await removeOrphans(key);
    }
    const expiresAt = expirePods();
    const sweepIn = await sweep(key);
    const activity = activityOf({
      preload: withStatus(preload, states.get(key)?.status ?? preload.status),
      deployment: ownerOf(preload),
      mode: options.modeOf(preload.namespace),
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
    else if (!served.take(key, preload, urgent)) return await wait(key, preload);
    else if (preload.trimmed !== undefined) {
      // The change wakes it.
      await preloads.refresh(key);
      return undefined;
    }
    const state = preload.trimmed === undefined ? stateOf(key, preload) : states.get(key);
    if (state === undefined) return await finish(key, preload, undefined, activity);
    noteRequest(key, state, requesterOf(preload, activity));
    // What was known of it before says nothing about now: its pods are gone.
    if (live && !state.live) state.assessment = undefined;
    sharers.use(state, { live, urgent });
    return live
      ? await serve(key, preload, state, activity, expiresAt)
      : await finish(key, preload, state, activity);
  }

  async function serve(
    key: string,
    preload: ImagePreload,
    state: State,
    activity: Activity,
    expiresAt: number | undefined,
  ): Promise<number | undefined> {
    const rules = await lookups.rulesOf(preload, state);
    if (activity === 'rolling' && rules.countsPods) {
      // The new pods need the room, and nobody waits for the nodes that are left.
      served.rest(key, preload);
      sharers.use(state, { live: false, urgent: false });
      return await finish(key, preload, state, 'finished');
    }
    const known = withStatus(preload, state.status);
    const input = await assessInput(known, state, activity);
    const assessment = assess(input);
    const before = state.assessment;
    state.assessment = assessment;
    options.onAssessed(key);
    logChanges(known, before, assessment);
    endedPulls.timedOut(assessment.timedOut);
    if (activity !== 'rolling')
      for (const event of preloadFacts(known, assessment, ownerOf(known))) writeEvent(event);

    endStrayPulls(state);
    startPulls(key, known, state, assessment, rules.resources);
    for (const pod of assessment.remove) void writer.remove(pod);
    const retiredIn = activity === 'rolling' || rules.countsPods ? await retireSuccesses(state) : undefined;
    troubles.read(assessment.creating);
    const status = preloadStatus({ preload: known, assessment, activity, now: input.now });
    const statusIn = await preloadWriter.writeStatus(known, state, status);
    const endsAt = activity === 'requested' ? requestEndsAt(withStatus(preload, state.status)) : undefined;
    const wakeAt = earliest(assessment.wakeAt, expiresAt, endsAt);
    return earliest(
      retiredIn,
      statusIn,
      wakeAt === undefined ? undefined : Math.max(0, wakeAt - clock.now()),
    );
  }

  /** Returns in how many ms to come back, to say that it waits for others. */
  async function wait(key: string, preload: ImagePreload): Promise<number | undefined> {
    // An earlier leader may have served it.
    const removed = await removePods(ownPods.ofPreload(key));
    if (isToldToWait(preload)) return removed ? undefined : RETRY_MS;
    if (!waits.take(preload.namespace))
      return RETRY_MS + random() * served.waiting(preload.namespace) * TOLD_TO_WAIT.refillMs;
    const statusIn = await preloadWriter.writeStatus(
      preload,
      unwritten(preload),
      waitingStatus(preload, clock.now()),
    );
    return earliest(statusIn, removed ? undefined : RETRY_MS);
  }

  /** Returns false if not all that nothing needs could be deleted now. */
  async function removePods(found: readonly PullerPod[]): Promise<boolean> {
    const unneeded = found.filter((pod) => !sharers.isNeeded(pod));
    return !(await Promise.all(unneeded.map(writer.remove))).includes(false);
  }

  /**
   * Deletes the pods that have done their work, because a quota may count them. Their nodes go on counting for as long as this process lives.
   * Returns in how many ms to come back for pods that could not be deleted.
   */
  async function retireSuccesses(state: State): Promise<number | undefined> {
    const removed = await Promise.all(state.pulls.flatMap(pods.retirePull).map(writer.delete));
    return removed.includes(false) ? RETRY_MS : undefined;
  }

  /** Returns in how many ms to come back for pods that could not be deleted. */
  async function sweep(key: string): Promise<number | undefined> {
    const swept = await Promise.all(ownPods.misnamed(key).map(writer.delete));
    return swept.includes(false) ? SWEEP_RETRY_MS : undefined;
  }

  /**
   * Deletes pods that an earlier leader has left where nobody serves them any more: it knows nothing of their ImagePreload. Returns
   * in how many ms to try again.
   */
  async function removeOrphans(key: string): Promise<number | undefined> {
    const orphans = ownPods.orphans(key).filter(({ namespace }) => options.modeOf(namespace) === undefined);
    const removed = await Promise.all(orphans.map(writer.delete));
    return removed.includes(false) ? SWEEP_RETRY_MS : undefined;
  }

  function expirePods(): number | undefined {
    const before = pods.running;
    const expiresAt = pods.expire(clock.now(), writer.isQueued);
    if (pods.running < before) places.share();
    return expiresAt;
  }

  function ownerOf(preload: ImagePreload): Deployment | undefined {
    return preload.owner === undefined
      ? undefined
      : deployments.get(`${preload.namespace}/${preload.owner.name}`);
  }

  function* siblingsOf({ namespace, owner }: ImagePreload): Generator<ImagePreload> {
    for (const other of preloads.inNamespace(namespace)) if (other.owner?.uid === owner?.uid) yield other;
  }

  /** A user may make thousands of ImagePreloads with one owner: to look through all of them for each that changes takes seconds. */
  function noteRequest(key: string, state: State, owner: string | undefined): void {
    if (state.requestedFor === owner) return;
    if (state.requestedFor !== undefined) requested.delete(state.requestedFor, key);
    state.requestedFor = owner;
    if (owner !== undefined) requested.add(owner, key);
  }

  function stateOf(key: string, preload: ImagePreload): State {
    const there = states.get(key);
    if (there?.uid === preload.uid && there.generation === preload.generation) return there;
    const pullOf = new Map(
      preload.spec.images.map((image) => {
        const spec = pullSpec(preload, image);
        return [imageKey(image), { spec, namespace: preload.namespace, pull: pullKey(spec) }];
      }),
    );
    // Two images may be one pull.
    const pulls = [...new Map([...pullOf.values()].map((pull) => [pull.pull, pull])).values()];
    const state: State = {
      uid: preload.uid,
      generation: preload.generation,
      ...{ pullOf, pulls },
      assessment: undefined,
      // Until it has been looked at, it may be.
      ...{ live: true, urgent: true },
      status: preload.status,
      statusAt: Number.NEGATIVE_INFINITY,
      servedSince: parseTimestamp(preload.status?.startedAt) ?? clock.now(),
      owner: preload.owner && ownerKey(preload),
      eligible: undefined,
      judged: new Map(),
      absences: createImageAbsences(options.pullTimes.absentMs),
      requestedFor: undefined,
      excludes: exclusion(preload.spec.scheduling),
      beginAt: Number.parseInt(shortHash(preload.uid), 16),
    };
    forget(key, pulls);
    states.set(key, state);
    if (state.owner !== undefined) owned.add(state.owner, key);
    sharers.add(key, state);
    return state;
  }

  /** @param needed pulls that are still needed under its name */
  function forget(key: string, needed: readonly Pull[] = []): void {
    const state = states.get(key);
    if (state === undefined) return;
    states.delete(key);
    if (state.owner !== undefined) owned.delete(state.owner, key);
    noteRequest(key, state, undefined);
    sharers.remove(key, state);
    places.satisfied(key);
    for (const pull of state.pulls) {
      const isLeft = sharers.isListed(pull) || needed.some((other) => other.pull === pull.pull);
      for (const pod of pods.ofPull(pull)) {
        // What only the index knows of: pods that were refused, for one.
        if (pod.preloadUid === state.uid) pods.forget(pod);
        // A preload that is being deleted may stay for as long as a finalizer keeps it, and so would its pods.
        if (!isLeft) void writer.remove(pod);
      }
      wakeSharers(pull);
    }
  }

  async function assessInput(preload: ImagePreload, state: State, activity: Activity): Promise<AssessInput> {
    const { runtimeClassName } = preload.spec.scheduling;
    const isWasm =
      runtimeClassName !== undefined && runsWasm(runtimeClassName, await lookups.handlerOf(preload, state));
    if (state.eligible?.version !== nodesVersion) {
      const found = eligibleNodes(nodes.values(), preload.spec.scheduling);
      const listed = preload.spec.images.map(isListed);
      const listImage = found.eligible.some((node) => {
        const filter = imageFilter(node.images);
        return listed.some((is) => is(node, filter));
      });
      state.eligible = { version: nodesVersion, nodes: found, listImage };
    }
    const { eligible, excluded } = state.eligible.nodes;
    // Order matters only if not all can start at once.
    const atATime = Math.min(parallelNodes(preload, eligible.length), options.maxConcurrentPulls);
    const ordered = atATime < eligible.length;
    const failures = new Map((state.assessment?.failures ?? []).map((entry) => [failureKey(entry), entry]));
    return {
      preload,
      eligible,
      excluded,
      podsOf: (image) => podsOnNodes(preload, state, image),
      knownFailure: (image, node) =>
        failures.get(failureKey({ image, node })) ?? recorded(preload, image, node),
      troubleOf: troubles.of,
      // Asked only where the answer matters: some node lists one of the images.
      // Once nobody waits any more, what the nodes list is enough: the pods that have pulled it are gone.
      withSecret:
        activity !== 'rolling' &&
        (preload.spec.imagePullSecrets.length > 0 ||
          (state.eligible.listImage && (await lookups.accountHasSecret(preload, state)))),
      ...(isWasm && { notPreloadable: wasmWords(runtimeClassName) }),
      beginAt: ordered ? state.beginAt : 0,
      preferred: ordered ? await lookups.nodesOf(preload, state, ownerOf(preload)) : new Set(),
      noNodesSince: noNodesSince(preload),
      servedSince: state.servedSince,
      times: options.pullTimes,
      now: clock.now(),
      judged: state.judged,
      absences: state.absences,
    };
  }

  /** With Always, a pod of another preload counts only if it began after this one was asked for: tags move. */
  function podsOnNodes(
    preload: ImagePreload,
    state: State,
    image: PreloadImage,
  ): (node: string) => readonly PullerPod[] {
    const pull = state.pullOf.get(imageKey(image));
    if (pull === undefined) return () => [];
    const find = pods.findOf(pull);
    if (image.imagePullPolicy === 'IfNotPresent') return find;
    const isMine = (pod: PullerPod) => pod.preloadUid === preload.uid || pod.createdAt > preload.createdAt;
    return (node) => {
      const found = find(node);
      return found.every(isMine) ? found : found.filter(isMine);
    };
  }

  function startPulls(
    key: string,
    preload: ImagePreload,
    state: State,
    assessment: Assessment,
    rules: readonly ResourceRules[],
  ): void {
    const { wanted, running } = assessment;
    const { namespace } = preload;
    places.take({ key, namespace, urgent: state.urgent, running, wanted: wanted.length }, (pulls) => {
      for (const pull of wanted.slice(0, pulls)) startPull(key, preload, state, pull, rules);
    });
  }

  function startPull(
    key: string,
    preload: ImagePreload,
    state: State,
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
      // Not `random`: the generator behind it can be told from a few of its numbers, and each puller pod shows one.
      random: randomUUID().replaceAll('-', ''),
    });
    writer.create(manifest, () => {
      queue.add(key);
      places.share();
    });
  }

  /** Nothing needs it any more: its pods go unless somebody else needs them, the object stays for its time to live. */
  async function finish(
    key: string,
    preload: ImagePreload,
    state: State | undefined,
    activity: Activity,
  ): Promise<number | undefined> {
    places.satisfied(key);
    state?.judged.clear();
    if (state !== undefined) endStrayPulls(state);
    const removed = await removePods(state?.pulls.flatMap(pods.ofPull) ?? ownPods.ofPreload(key));
    const removeIn = removed ? undefined : RETRY_MS;
    if (activity === 'unserved') return removeIn;
    // The cache has forgotten what it asked for.
    if (removed && preload.trimmed !== undefined && preload.status?.finishedAt !== undefined) forget(key);
    let statusIn: number | undefined;
    const written = state ?? unwritten(preload);
    if (written.status?.finishedAt === undefined) {
      const { refused } = preload;
      if (refused !== undefined) writeEvent(refusedPreloadFact(preload, refused));
      const status =
        refused === undefined
          ? endedStatus(await lastStatus(preload, state), activity, clock.now())
          : refusedStatus(preload, refused, clock.now());
      statusIn = await preloadWriter.writeStatus(preload, written, status);
    }
    return earliest(removeIn, statusIn) ?? (await preloadWriter.expire(preload, written.status?.finishedAt));
  }

  /** How far it came. */
  async function lastStatus(preload: ImagePreload, state: State | undefined): Promise<ImagePreloadStatus> {
    if (state === undefined) {
      const stored = preload.status && (await preloadWriter.readStatus(preload));
      return stored ?? waitingStatus(preload, clock.now());
    }
    if (state.assessment === undefined && state.status !== undefined) return state.status;
    const known = withStatus(preload, state.status);
    const assessment = state.assessment ?? assess(await assessInput(known, state, 'rolling'));
    return preloadStatus({ preload: known, assessment, activity: 'rolling', now: clock.now() });
  }

  /** Ends pulls on nodes that nobody counts any more. They may never end, and others need their places. */
  function endStrayPulls(state: State): void {
    const mine = new Set(state.pulls.map(pullPlace));
    for (const [pod] of [...pods.underWay()])
      if (mine.has(pullPlace(pod)) && !isCounted(pod)) void writer.remove(pod);
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

  function logChanges(preload: ImagePreload, before: Assessment | undefined, now: Assessment): void {
    const fields = {
      preload: `${preload.namespace}/${preload.name}`,
      deployment: preload.owner?.name,
      durationMs: clock.now() - preload.createdAt,
    };
    for (const node of now.newlyReady) {
      log.info({ ...fields, node, ready: now.ready, desired: now.desired }, 'node ready');
    }
    if (before?.verdict.kind === now.verdict.kind) return;
    const { verdict, ready, desired } = now;
    log.info({ ...fields, verdict, ready, desired }, `preload ${verdict.kind}`);
  }

  function wakeSharers(pull: Pull, withinMs = 0): void {
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
        if (preload.trimmed === undefined) stateOf(key, preload);
        else if (states.get(key)?.uid !== preload.uid) forget(key);
      }
      ownPods.preloadChanged(key);
      queue.add(key);
      // A request for another template ends those before it.
      if (preload !== undefined && options.modeOf(preload.namespace) === 'reject') {
        for (const sibling of requested.of(ownerKey(preload))) queue.add(sibling);
      }
    },
    ownerChanged(owner) {
      for (const key of owned.of(`${owner.namespace}/${owner.uid}`)) queue.add(key);
    },
    isWhole: served.isWhole,
    less: served.less,
    nodesChanged() {
      nodesVersion += 1;
      if (stopGathering !== undefined) return;
      wakeLive();
      const seen = nodesVersion;
      stopGathering = clock.setTimer(NODES_INTERVAL_MS, () => {
        stopGathering = undefined;
        if (nodesVersion !== seen) wakeLive();
      });
    },
    podChanged(key, now, before) {
      if (before !== undefined && before.uid !== now?.uid) writer.gone(before);
      ownPods.observe(key, now);
      if (now === undefined) return;
      const owner = `${now.namespace}/${now.preload}`;
      // It may be one that has to go.
      if (preloads.get(owner) !== undefined || options.modeOf(now.namespace) === undefined)
        queue.addWithin(owner, BEGUN_MS);
    },
    assessmentOf(key) {
      const state = states.get(key);
      return state?.live === true ? state.assessment : undefined;
    },
    running: () => pods.running,
    start() {
      endedPulls.start();
      served.start();
      queue.start();
    },
    async stop() {
      stopped = true;
      stopGathering?.();
      writer.stop();
      lingering.stop();
      places.stop();
      await queue.stop();
    },
  };
}

function isUnderWay(pod: PullerPod | undefined): boolean {
  if (pod === undefined || pod.deleting) return false;
  const { state } = pullOutcome(pod);
  return state === 'starting' || state === 'pulling';
}

const TIMED_OUT_MESSAGE =
  'the pull took longer than --node-timeout-seconds and other pulls needed its place; it is retried automatically';

function requesterOf(preload: ImagePreload, activity: Activity): string | undefined {
  return activity === 'requested' ? ownerKey(preload) : undefined;
}

function ownerKey({ namespace, owner }: ImagePreload): string {
  return `${namespace}/${owner?.uid}`;
}

/** The image objects are others each time the preload is read. */
function imageKey({ image, imagePullPolicy }: PreloadImage): string {
  return `${imagePullPolicy} ${image}`;
}

function pullSpec(preload: ImagePreload, image: PreloadImage): PullSpec {
  const { scheduling, imagePullSecrets, serviceAccountName } = preload.spec;
  return {
    namespace: preload.namespace,
    ...image,
    imagePullSecrets: imagePullSecrets.map(({ name }) => name),
    serviceAccountName,
    ...(scheduling.runtimeClassName !== undefined && { runtimeClassName: scheduling.runtimeClassName }),
    tolerations: scheduling.tolerations ?? [],
  };
}

/** The gate has written no status of it since the one in the cache. */
function unwritten({ status }: ImagePreload): WrittenStatus {
  return { status, statusAt: Number.NEGATIVE_INFINITY };
}

/** A failure that the status tells of: what was seen before a restart. */
function recorded({ status }: ImagePreload, image: string, node: string): Failure | undefined {
  const found = status?.failures.find((failure) => failure.image === image && failure.node === node);
  return found && recordedFailure(found.reason, found.message);
}

function failureKey({ image, node }: { readonly image: string; readonly node: string }): string {
  return `${node} ${image}`;
}

function withStatus(preload: ImagePreload, status: ImagePreloadStatus | undefined): ImagePreload {
  if (status !== undefined) return { ...preload, status };
  const { status: _, ...rest } = preload;
  return rest;
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
