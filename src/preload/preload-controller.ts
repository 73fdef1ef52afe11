import { isDeepStrictEqual } from 'node:util';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { ApiError, isAlreadyExists, isConflict, isInvalid, isNotFound } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import type { Reflector } from '../cluster/reflector.ts';
import { createWorkQueue } from '../cluster/work-queue.ts';
import type { Deployment } from '../hold/deployment.ts';
import { asArray, asString, at } from '../json.ts';
import type { Logger } from '../log.ts';
import { API_GROUP_PATH } from '../names.ts';
import { type Activity, activityOf } from './activity.ts';
import {
  type AssessInput,
  type Assessment,
  assess,
  isListed,
  parallelNodes,
  type WantedPull,
} from './assess.ts';
import { type EligibleNodes, eligibleNodes } from './eligible-nodes.ts';
import { type Demand, fairShare } from './fair-share.ts';
import type { ImagePreload, ImagePreloadStatus, PreloadImage } from './image-preload.ts';
import type { Node } from './node.ts';
import { createPodIndex, podKey } from './pod-index.ts';
import { preloadFacts } from './preload-facts.ts';
import { noNodesSince, preloadStatus } from './preload-status.ts';
import { recordedFailure } from './pull-failure.ts';
import { type PullSpec, pullerPod, pullKey } from './puller-pod.ts';
import { type PullerPod, parsePullerPod } from './puller-pod-status.ts';
import type { Failure } from './slot.ts';

type Store<T> = Pick<Reflector<T>, 'get' | 'values'>;

export interface PreloadControllerOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly writeEvent: (event: GateEvent) => void;
  readonly preloads: Store<ImagePreload>;
  readonly deployments: Store<Deployment>;
  readonly nodes: Store<Node>;
  readonly isOptedIn: (namespace: string) => boolean;
  /** Pulls at a time in the whole cluster. */
  readonly maxConcurrentPulls: number;
  /** Called with `namespace/name` of a preload when something new is known of it. */
  readonly onAssessed: (key: string) => void;
}

/** Carries out ImagePreloads: puller pods and status. Told of changes by the reflectors, after their caches show them. */
export interface PreloadController {
  preloadChanged(key: string): void;
  nodesChanged(): void;
  podChanged(key: string, now: PullerPod | undefined, before: PullerPod | undefined): void;
  /** What is known of a preload now; undefined until it has been looked at. */
  assessmentOf(key: string): Assessment | undefined;
  stop(): Promise<void>;
}

/** The status is for people: once a second is as fast as they read. */
const STATUS_INTERVAL_MS = 1000;
/** A create that was refused for its name waits for the pod that still has it to be gone. */
const NAME_TAKEN_MS = 1000;
const DELETE_NOW = { gracePeriodSeconds: 0 };

interface State {
  /** A preload that was deleted and made again has the same name. */
  readonly uid: string;
  /** By `imageKey`. */
  readonly pulls: ReadonlyMap<string, { readonly spec: PullSpec; readonly key: string }>;
  assessment: Assessment | undefined;
  /** Whether it may need its pods; until it has been looked at, it may. */
  live: boolean;
  status: ImagePreloadStatus | undefined;
  statusAt: number;
  eligible: { readonly version: number; readonly nodes: EligibleNodes } | undefined;
  readonly readyNodes: Set<string>;
}

export function createPreloadController(options: PreloadControllerOptions): PreloadController {
  const { client, clock, random, log, writeEvent, preloads, deployments, nodes } = options;
  const pods = createPodIndex();
  const states = new Map<string, State>();
  const byPull = new Map<string, Set<string>>();
  const starved = new Set<string>();
  const preferred = new LRUCache<string, ReadonlySet<string>>({ max: 1000 });
  const withSecret = new LRUCache<string, boolean>({ max: 1000 });
  let nodesVersion = 0;
  let stopped = false;

  const queue = createWorkQueue({ name: 'preload', reconcile, clock, log, random });

  async function reconcile(key: string): Promise<number | undefined> {
    const preload = preloads.get(key);
    if (preload === undefined || preload.deleting) {
      forget(key);
      return undefined;
    }
    const now = clock.now();
    pods.expire(now);
    const state = stateOf(key, preload);
    const activity = activityOf(preload, ownerOf(preload), options.isOptedIn(preload.namespace));
    state.live = activity === 'holding' || activity === 'rolling' || activity === 'standalone';
    if (activity === 'unserved') return undefined;
    if (!state.live) return await finish(key, preload, state);

    const input = await assessInput(preload, state, now);
    const assessment = assess(input);
    const before = state.assessment;
    state.assessment = assessment;
    options.onAssessed(key);
    logChanges(preload, state, before, assessment);
    if (activity !== 'rolling') for (const event of preloadFacts(preload, assessment)) writeEvent(event);

    startPulls(key, preload, state, assessment);
    for (const pod of assessment.remove) removePod(pod);
    const statusIn = await writeStatus(key, preload, state, activity);
    const wakeIn = assessment.wakeAt === undefined ? undefined : Math.max(0, assessment.wakeAt - clock.now());
    return earliest(statusIn, wakeIn);
  }

  function ownerOf(preload: ImagePreload): Deployment | undefined {
    return preload.owner === undefined
      ? undefined
      : deployments.get(`${preload.namespace}/${preload.owner.name}`);
  }

  function stateOf(key: string, preload: ImagePreload): State {
    const there = states.get(key);
    if (there?.uid === preload.uid) return there;
    forget(key);
    const pulls = new Map(
      preload.spec.images.map((image) => {
        const spec = pullSpec(preload, image);
        return [imageKey(image), { spec, key: pullKey(spec) }];
      }),
    );
    for (const { key: pull } of pulls.values()) byPull.set(pull, (byPull.get(pull) ?? new Set()).add(key));
    const state: State = {
      uid: preload.uid,
      pulls,
      assessment: undefined,
      live: true,
      status: preload.status,
      statusAt: Number.NEGATIVE_INFINITY,
      eligible: undefined,
      readyNodes: new Set(),
    };
    states.set(key, state);
    return state;
  }

  function forget(key: string): void {
    const state = states.get(key);
    if (state === undefined) return;
    states.delete(key);
    starved.delete(key);
    for (const { key: pull } of state.pulls.values()) {
      const sharers = byPull.get(pull);
      sharers?.delete(key);
      if (sharers?.size === 0) byPull.delete(pull);
      else wakeSharers(pull);
    }
  }

  async function assessInput(preload: ImagePreload, state: State, now: number): Promise<AssessInput> {
    if (state.eligible?.version !== nodesVersion) {
      const eligible = eligibleNodes(nodes.values(), preload.spec.scheduling);
      state.eligible = { version: nodesVersion, nodes: eligible };
    }
    const { eligible, excluded } = state.eligible.nodes;
    // Order matters only if not all can start at once.
    const ordered = parallelNodes(preload, eligible.length) < eligible.length;
    return {
      preload,
      eligible,
      excluded,
      podsFor: (image, node) => usablePods(preload, state, image, node),
      knownFailure: (image, node) => knownFailure(preload, state, image, node),
      withSecret: await pullsWithSecret(preload, eligible),
      preferred: ordered ? await nodesOfWorkload(preload) : new Set(),
      noNodesSince: noNodesSince(preload),
      now,
    };
  }

  /** With Always, a pod of another preload counts only if it began after this one was asked for: tags move. */
  function usablePods(
    preload: ImagePreload,
    state: State,
    image: PreloadImage,
    node: string,
  ): readonly PullerPod[] {
    const found = pods.find(state.pulls.get(imageKey(image))?.key ?? '', node);
    if (image.imagePullPolicy === 'IfNotPresent') return found;
    return found.filter((pod) => pod.preloadUid === preload.uid || pod.createdAt > preload.createdAt);
  }

  /** Asked only where the answer matters: some node lists one of the images. */
  async function pullsWithSecret(preload: ImagePreload, eligible: readonly Node[]): Promise<boolean> {
    const { images, imagePullSecrets, serviceAccountName } = preload.spec;
    if (imagePullSecrets.length > 0) return true;
    if (!eligible.some((node) => images.some((image) => isListed(image, node)))) return false;
    const known = withSecret.get(preload.uid);
    if (known !== undefined) return known;
    const name = serviceAccountName || 'default';
    try {
      const account = await client.get(`/api/v1/namespaces/${preload.namespace}/serviceaccounts/${name}`);
      const answer = asArray(at(account, 'imagePullSecrets')).length > 0;
      withSecret.set(preload.uid, answer);
      return answer;
    } catch (error) {
      // A puller pod then finds out what is there.
      log.debug({ preload: preload.name, err: error }, 'the service account cannot be read');
      return true;
    }
  }

  async function nodesOfWorkload(preload: ImagePreload): Promise<ReadonlySet<string>> {
    const known = preferred.get(preload.uid);
    if (known !== undefined) return known;
    const owner = ownerOf(preload);
    const found = new Set<string>();
    if (owner !== undefined) {
      const labelSelector = Object.entries(owner.matchLabels)
        .map(([name, value]) => `${name}=${value}`)
        .join(',');
      try {
        const list = await client.get(`/api/v1/namespaces/${preload.namespace}/pods`, { labelSelector });
        for (const pod of asArray(at(list, 'items'))) found.add(asString(at(pod, 'spec', 'nodeName')) ?? '');
      } catch (error) {
        // Only the order depends on it.
        log.warn({ preload: preload.name, err: error }, 'the nodes of the running pods are not known');
      }
    }
    preferred.set(preload.uid, found);
    return found;
  }

  function startPulls(key: string, preload: ImagePreload, state: State, assessment: Assessment): void {
    const granted = grantFor(key, assessment);
    if (granted < assessment.wanted.length) starved.add(key);
    else starved.delete(key);
    for (const pull of assessment.wanted.slice(0, granted)) startPull(key, preload, state, pull);
  }

  function grantFor(key: string, { wanted, running }: Assessment): number {
    const { maxConcurrentPulls } = options;
    if (wanted.length === 0) return 0;
    if (pods.running + wanted.length <= maxConcurrentPulls && starved.size === 0) return wanted.length;
    const demands: Demand[] = [{ key, running, wanted: wanted.length }];
    for (const other of starved) {
      const known = states.get(other)?.assessment;
      if (other === key || known === undefined) continue;
      demands.push({ key: other, running: known.running, wanted: known.wanted.length });
    }
    // What runs for nobody in the list takes its part of the cap, too.
    const listed = demands.reduce((sum, demand) => sum + demand.running, 0);
    const cap = maxConcurrentPulls - Math.max(0, pods.running - listed);
    return fairShare(cap, demands).get(key) ?? 0;
  }

  function startPull(key: string, preload: ImagePreload, state: State, pull: WantedPull): void {
    const spec = state.pulls.get(imageKey(pull.image))?.spec;
    if (spec === undefined) return;
    const manifest = pullerPod({
      spec,
      preload,
      node: pull.node,
      attempt: pull.attempt,
      firstAttemptAt: pull.firstAttemptAt,
      random: random().toString(36).slice(2),
    });
    const pod: PullerPod = { ...parsePullerPod(manifest), createdAt: clock.now(), phase: 'Pending' };
    pods.expect(pod);
    log.debug({ preload: key, node: pull.node, image: spec.image, attempt: pull.attempt }, 'pull starts');
    client.create(`/api/v1/namespaces/${preload.namespace}/pods`, manifest).then(
      () => undefined,
      (error: unknown) => onCreateFailed(key, pod, error),
    );
  }

  function onCreateFailed(key: string, pod: PullerPod, error: unknown): void {
    if (stopped) return;
    if (isAlreadyExists(error)) {
      // The watch will show it, or it is on its way out; either way the place is looked at again.
      clock.setTimer(NAME_TAKEN_MS, () => {
        pods.forget(pod);
        queue.add(key);
      });
      return;
    }
    // Quota, policy webhook, admission: the pod was refused, and the words are the operator's to read. All else
    // is the API server's trouble and says nothing about the node.
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
      pods.refuse(pod, error.apiMessage);
    } else {
      pods.forget(pod);
      log.warn({ preload: key, node: pod.node, err: error }, 'a puller pod could not be created');
    }
    queue.add(key);
  }

  function removePod(pod: PullerPod): void {
    if (pod.uid === '') {
      pods.forget(pod);
      return;
    }
    const path = `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
    const body = { ...DELETE_NOW, preconditions: { uid: pod.uid } };
    client.delete(path, body).catch((error: unknown) => {
      if (isNotFound(error) || isConflict(error) || stopped) return;
      log.warn({ pod: podKey(pod), err: error }, 'a puller pod could not be deleted');
    });
  }

  /** Nothing needs it any more: its pods go unless somebody else needs them, the object stays for its time to live. */
  async function finish(key: string, preload: ImagePreload, state: State): Promise<number | undefined> {
    starved.delete(key);
    state.readyNodes.clear();
    for (const { key: pull } of state.pulls.values()) {
      if (!isNeeded(pull)) for (const pod of pods.ofPull(pull)) if (!pod.deleting) removePod(pod);
    }
    const statusIn = await writeStatus(key, preload, state, 'done');
    return statusIn ?? (await expire(preload, state.status?.finishedAt));
  }

  /** Deletes it once its time to live is over; until then returns in how many ms that is. */
  async function expire(preload: ImagePreload, finished: string | undefined): Promise<number | undefined> {
    const finishedAt = Date.parse(finished ?? '');
    if (Number.isNaN(finishedAt)) return undefined;
    const expiresIn = finishedAt + preload.spec.ttlSecondsAfterFinished * 1000 - clock.now();
    if (expiresIn > 0) return expiresIn;
    const body = { preconditions: { uid: preload.uid } };
    await client.delete(preloadPath(preload), body).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    });
    return undefined;
  }

  function isNeeded(pull: string): boolean {
    for (const key of byPull.get(pull) ?? []) if (states.get(key)?.live === true) return true;
    return false;
  }

  /** Returns in how many ms to come back if it is too early to write, or if the write was refused. */
  async function writeStatus(
    key: string,
    preload: ImagePreload,
    state: State,
    activity: Activity,
  ): Promise<number | undefined> {
    const now = clock.now();
    const assessment = state.assessment ?? assess(await assessInput(preload, state, now));
    const status = preloadStatus({ preload: withStatus(preload, state.status), assessment, activity, now });
    if (isDeepStrictEqual(status, state.status)) return undefined;
    const tooEarly = state.statusAt + STATUS_INTERVAL_MS - clock.monotonic();
    if (tooEarly > 0 && activity !== 'done') return tooEarly;
    state.statusAt = clock.monotonic();
    try {
      await client.jsonPatch(`${preloadPath(preload)}/status`, [
        { op: 'test', path: '/metadata/uid', value: preload.uid },
        { op: 'add', path: '/status', value: status },
      ]);
      state.status = status;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (isConflict(error) || isInvalid(error)) return STATUS_INTERVAL_MS;
      throw error;
    } finally {
      log.debug({ preload: key, phase: status.phase, ready: status.ready }, 'status written');
    }
    return undefined;
  }

  function logChanges(
    preload: ImagePreload,
    state: State,
    before: Assessment | undefined,
    now: Assessment,
  ): void {
    const fields = {
      preload: `${preload.namespace}/${preload.name}`,
      deployment: preload.owner?.name,
      durationMs: clock.now() - preload.createdAt,
    };
    for (const { name } of state.eligible?.nodes.eligible ?? []) {
      if (!now.readyNodes.has(name)) state.readyNodes.delete(name);
      else if (!state.readyNodes.has(name)) {
        state.readyNodes.add(name);
        log.info({ ...fields, node: name, ready: now.ready, desired: now.desired }, 'node ready');
      }
    }
    if (before?.verdict.kind === now.verdict.kind) return;
    const { verdict, ready, desired } = now;
    log.info({ ...fields, verdict, ready, desired }, `preload ${verdict.kind}`);
  }

  function wakeSharers(pull: string): void {
    for (const key of byPull.get(pull) ?? []) queue.add(key);
  }

  return {
    preloadChanged(key) {
      const preload = preloads.get(key);
      // At once, before any other is looked at: it may need the pods of that one.
      if (preload !== undefined && !preload.deleting) stateOf(key, preload);
      queue.add(key);
    },
    nodesChanged() {
      nodesVersion += 1;
      for (const [key, { live }] of states) if (live) queue.add(key);
    },
    podChanged(key, now, before) {
      const full = pods.running >= options.maxConcurrentPulls;
      pods.observe(key, now);
      for (const pull of new Set([now?.pull, before?.pull])) if (pull !== undefined) wakeSharers(pull);
      const pod = now ?? before;
      if (pod !== undefined) queue.add(`${pod.namespace}/${pod.preload}`);
      if (full || starved.size > 0) for (const other of starved) queue.add(other);
    },
    assessmentOf: (key) => states.get(key)?.assessment,
    async stop() {
      stopped = true;
      await queue.stop();
    },
  };
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

function knownFailure(preload: ImagePreload, state: State, image: string, node: string): Failure | undefined {
  const seen = state.assessment?.failures.find((failure) => failure.image === image && failure.node === node);
  if (seen !== undefined) return seen;
  const recorded = preload.status?.failures.find(
    (failure) => failure.image === image && failure.node === node,
  );
  return recorded && recordedFailure(recorded.reason, recorded.message);
}

function withStatus(preload: ImagePreload, status: ImagePreloadStatus | undefined): ImagePreload {
  if (status !== undefined) return { ...preload, status };
  const { status: _, ...rest } = preload;
  return rest;
}

function preloadPath({ namespace, name }: ImagePreload): string {
  return `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads/${name}`;
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
