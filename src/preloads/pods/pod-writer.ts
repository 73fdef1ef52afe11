import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import type { ApiClient } from '../../cluster/api-client.ts';
import { ApiError, describeError, isAlreadyExists, isUnanswered } from '../../cluster/api-error.ts';
import type { JsonObject } from '../../json.ts';
import { createLimiter } from '../../limiter.ts';
import type { Logger } from '../../log.ts';
import { createLogLimit, FAILURE_RATE } from '../../log-limit.ts';
import { createPodDeletions, type PodDeletions } from './pod-deletions.ts';
import { type PodIndex, podKey } from './pod-index.ts';
import { POD_NOT_CREATED, POD_REJECTED, type PodRefusal } from './pull-result.ts';
import { type PullerPod, parsePullerPod } from './puller-pod-status.ts';

/** Creates and deletes puller pods, and keeps the index right meanwhile: the watch shows both only later. */
export interface PodWriter extends PodDeletions {
  /** Creates the pod unless one of that name is there. `settled` is called if it will not come, or not yet. */
  create(manifest: JsonObject, settled: () => void): void;
  /** Deletes the pod, and forgets what only the index knows of it. False if the API server could not do it now. */
  remove(pod: PullerPod): Promise<boolean>;
  /** Whether the API server has not been asked for the pod yet. */
  isQueued(pod: PullerPod): boolean;
  /** Forgets a pod that is queued. */
  cancel(pod: PullerPod): void;
  stop(): void;
}

/** A pod that could not be created or deleted through no fault of its own. */
export const RETRY_MS = 1000;
/** A second apart. The watch is never that late while the API server answers. */
const TAKEN_LIMIT = 5;
const REMEMBERED_NAMES = 10_000;
/**
 * Of the calls about namespaces that the client makes at a time (NAMESPACE_CALLS of src/cluster/api-client.ts) most are for
 * puller pods, which come and go by the thousand. Releases and status have the rest.
 */
const CREATES_AT_A_TIME = 32;
/** What the watch will show. */
const UNREAD = { ignoreAnswer: true };
/**
 * A webhook that is down, or a moment without etcd, is told when it lasts longer than this. A webhook that does not answer has taken longer
 * already: the API server waits 10 s for it by default, and up to 30.
 */
const TOLD_AFTER_MS = 5000;
/** One attempt, so that its failure can be told within 15 s, after a dry run of 4 s. Webhooks have 10 s by default. */
const CREATE = { ...UNREAD, retry: false, deadlineMs: 10_600 };

export function createPodWriter(options: {
  readonly client: Pick<ApiClient, 'create' | 'delete'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly pods: PodIndex;
  /** The API server did not take the pod. */
  readonly onRefused: (reason: PodRefusal) => void;
}): PodWriter {
  const { client, clock, log, pods, onRefused } = options;
  const creating = createLimiter(CREATES_AT_A_TIME, clock);
  /** Keys of pods that wait for their turn to be created. */
  const queued = new Set<string>();
  /** How often a name was taken already, by key of the pod. */
  const taken = new LRUCache<string, number>({ max: REMEMBERED_NAMES });
  /** Of `clock.monotonic`, when the API server was first asked for a pod that it has not made yet, by key of the pod. */
  const askedAt = new LRUCache<string, number>({ max: REMEMBERED_NAMES });
  const timers = new Set<() => void>();
  const limitLog = createLogLimit(clock, FAILURE_RATE);
  let stopped = false;
  const deletions = createPodDeletions({
    ...{ client, clock },
    isStopped: () => stopped,
    onFailed: (pod, error) => report(pod, error, 'a puller pod could not be deleted'),
  });

  /** Why the pod will not come, in words. Undefined for trouble of the API server that may be over in a moment. */
  function refusalOf(pod: PullerPod, error: unknown): readonly [PodRefusal, string] | undefined {
    if (isUnanswered(error)) {
      const since = askedAt.get(podKey(pod)) ?? clock.monotonic();
      return clock.monotonic() - since < TOLD_AFTER_MS ? undefined : [POD_NOT_CREATED, describeError(error)];
    }
    if (!(error instanceof ApiError)) return undefined;
    // Quota, policy webhook, admission: the words are the operator's to read.
    if (isRefusal(error)) return [POD_REJECTED, error.apiMessage];
    if (!isAlreadyExists(error)) return undefined;
    // The watch will show it, or it is on its way out. Else it is somebody else's, who may have many.
    const times = (taken.get(podKey(pod)) ?? 0) + 1;
    taken.set(podKey(pod), times);
    return times < TAKEN_LIMIT ? undefined : [POD_REJECTED, `${error.apiMessage}, and it is not Pullgate's`];
  }

  function report(pod: PullerPod, err: unknown, message: string): void {
    limitLog(pod.namespace, (fields) =>
      log.warn({ ...fields, pod: podKey(pod), node: pod.node, err }, message),
    );
  }

  function onCreateFailed(pod: PullerPod, error: unknown, settled: () => void): void {
    if (stopped) return;
    const refusal = refusalOf(pod, error);
    if (refusal !== undefined) {
      const [reason, words] = refusal;
      taken.delete(podKey(pod));
      askedAt.delete(podKey(pod));
      pods.refuse(pod, words, reason);
      onRefused(reason);
      settled();
      return;
    }
    if (!isAlreadyExists(error)) report(pod, error, 'a puller pod could not be created');
    const cancel = clock.setTimer(RETRY_MS, () => {
      timers.delete(cancel);
      pods.forget(pod);
      settled();
    });
    timers.add(cancel);
  }

  return {
    create(manifest, settled) {
      const pod: PullerPod = { ...parsePullerPod(manifest), createdAt: clock.now(), phase: 'Pending' };
      if (!pods.expect(pod)) return;
      const { namespace, name, node, preload, attempt } = pod;
      log.debug({ preload: `${namespace}/${preload}`, pod: name, node, attempt }, 'pull starts');
      const key = podKey(pod);
      queued.add(key);
      creating(namespace, async () => {
        if (!queued.delete(key) || stopped) return;
        if (!askedAt.has(key)) askedAt.set(key, clock.monotonic());
        await client.create(`/api/v1/namespaces/${namespace}/pods`, manifest, {}, CREATE);
        askedAt.delete(key);
      }).catch((error: unknown) => onCreateFailed(pod, error, settled));
    },
    async remove(pod) {
      const isGone = pods.isGone(pod);
      pods.forget(pod);
      return isGone || (await deletions.delete(pod));
    },
    delete: deletions.delete,
    isQueued: (pod) => queued.has(podKey(pod)),
    cancel(pod) {
      if (queued.delete(podKey(pod))) pods.forget(pod);
    },
    isRemoving: deletions.isRemoving,
    isStuck: deletions.isStuck,
    gone: deletions.gone,
    stop() {
      stopped = true;
      for (const cancel of timers) cancel();
    },
  };
}

/** An answer about this very pod. */
function isRefusal({ status }: ApiError): boolean {
  return status === 400 || status === 403 || status === 404 || status === 422;
}
