import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import type { ApiClient } from '../../cluster/api-client.ts';
import { asArray, asString, at } from '../../json.ts';
import { createLimiter } from '../../limiter.ts';
import type { Logger } from '../../log.ts';
import { elide } from '../../text.ts';
import type { Failure } from './pull-failure.ts';
import { registryMessage } from './pull-failure.ts';
import { PULL_CONTAINER } from './puller-pod.ts';
import type { PullerPod } from './puller-pod-status.ts';

/** What keeps pods from beginning to pull. Only their events tell: in their status it looks like a slow pull. */
export interface PodTroubles {
  /** Undefined until the pod's events have been read, and if they say nothing of the kind. */
  of(pod: PullerPod): Failure | undefined;
  /** Reads the events of those that have never been asked about. */
  read(pods: readonly PullerPod[]): void;
}

/** Far more than pull at a time. */
const REMEMBERED_PODS = 10_000;
/**
 * One for each of two namespaces. API servers keep no index of events: for each call they go through all events of the
 * namespace, and that may take them seconds.
 */
const READS_AT_A_TIME = 2;
/** Of one namespace. Where each takes seconds, pods come faster than their events can be read. */
const WAITING_READS = 100;

/** A kubelet writes at most 25 Events of one object at once, and then one in 5 minutes (client-go, EventSourceObjectSpamFilter). */
const EVENTS_LIMIT = 100;
/** A kubelet's have 2 kB each at most. Others may write some as well, of any size. */
const EVENTS_BYTES = 1024 * 1024;

export function createPodTroubles(options: {
  readonly client: Pick<ApiClient, 'get'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Logger;
  readonly onFound: (pod: PullerPod) => void;
}): PodTroubles {
  const { client, clock, log, onFound } = options;
  const known = new LRUCache<string, Failure | 'none'>({ max: REMEMBERED_PODS });
  const reading = createLimiter(READS_AT_A_TIME, clock);
  /** By namespace. */
  const waiting = new Map<string, number>();

  async function readInTurn(pod: PullerPod): Promise<void> {
    const { namespace } = pod;
    waiting.set(namespace, (waiting.get(namespace) ?? 0) + 1);
    await reading(namespace, () => readEvents(pod));
    const left = (waiting.get(namespace) ?? 0) - 1;
    if (left > 0) waiting.set(namespace, left);
    else waiting.delete(namespace);
  }

  async function readEvents(pod: PullerPod): Promise<void> {
    try {
      const path = `/api/v1/namespaces/${pod.namespace}/events`;
      const query = { fieldSelector: `involvedObject.uid=${pod.uid}`, limit: EVENTS_LIMIT };
      const list = await client.get(path, query, { maxBytes: EVENTS_BYTES });
      const trouble = troubleIn(asArray(at(list, 'items')));
      if (trouble === undefined) return;
      known.set(pod.uid, trouble);
      onFound(pod);
    } catch (error) {
      log.debug({ pod: pod.name, node: pod.node, err: error }, 'the events of a puller pod cannot be read');
    }
  }

  return {
    of(pod) {
      const trouble = known.get(pod.uid);
      return trouble === 'none' ? undefined : trouble;
    },
    read(pods) {
      for (const pod of pods) {
        // Beyond that it is asked about when it is given again.
        if (known.has(pod.uid) || (waiting.get(pod.namespace) ?? 0) >= WAITING_READS) continue;
        known.set(pod.uid, 'none');
        void readInTurn(pod);
      }
    },
  };
}

/**
 * What a kubelet warns of before it pulls (pkg/kubelet/events/event.go), without what it goes on after, such as
 * DNSConfigForming. A bare `Failed` is about the pod's directories; that of a container comes after `Pulling`.
 */
const BEFORE_THE_PULL =
  /^(Failed|FailedCreatePodSandBox|FailedPodSandBoxStatus|FailedCreatePodContainer|Failed(Mount|MapVolume|AttachVolume|Sync)|NetworkNotReady)$/;

/** The node does not have the runtime of the pod's RuntimeClass: in the words of containerd, CRI-O and cri-dockerd. */
const NO_SUCH_RUNTIME =
  /no runtime for "[^"]{1,253}" is configured|failed to find runtime handler|RuntimeHandler "[^"]{1,253}" not supported/;
/** An injected container has Events of the same reasons. */
const PULL_PATH = `spec.containers{${PULL_CONTAINER}}`;
const PULL_EVENTS: ReadonlySet<string> = new Set(['Pulling', 'Pulled']);

/** The last that went wrong, if no pull has begun. It may be over by now, because the kubelet retries on its own. */
function troubleIn(events: readonly unknown[]): Failure | undefined {
  const told = events.map((event) => ({
    reason: elide(asString(at(event, 'reason')) ?? ''),
    message: elide(asString(at(event, 'message')) ?? ''),
    time: asString(at(event, 'lastTimestamp')) ?? '',
    container: asString(at(event, 'involvedObject', 'fieldPath')) ?? PULL_PATH,
  }));
  const unfound = told.find(({ reason }) => reason === 'FailedToRetrieveImagePullSecret');
  if (unfound !== undefined)
    return { reason: 'PullSecretMissing', definitive: true, message: registryMessage(unfound.message) };
  if (told.some(({ reason, container }) => PULL_EVENTS.has(reason) && container === PULL_PATH))
    return undefined;
  const [newest] = told
    .filter(({ reason }) => BEFORE_THE_PULL.test(reason))
    .sort((a, b) => (a.time < b.time ? 1 : -1));
  if (newest === undefined) return undefined;
  // Without what stands before the cause: the call's wrapping, and most of the sandbox's id.
  const words = newest.message
    .replace(/rpc error: code = \w+ desc = /g, '')
    .replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1');
  return {
    reason: NO_SUCH_RUNTIME.test(words) ? 'NodeRefusesPod' : 'PodNotStarted',
    definitive: false,
    message: registryMessage(`${newest.reason}: ${words}`),
  };
}
