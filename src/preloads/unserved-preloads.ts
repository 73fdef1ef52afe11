import type { ImagePreload } from '../api/image-preload.ts';
import { API_GROUP_PATH } from '../api/names.ts';
import { type Clock, wait } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import type { GateEvent } from '../cluster/events.ts';
import { createFairQueue } from '../cluster/fair-queue.ts';
import type { Logger } from '../log.ts';
import { unservedEvent } from './preload-events.ts';
import { NOT_SERVED, unservedStatus } from './preload-status.ts';

/** Tells ImagePreloads in namespaces without a mode that nobody serves them. Nothing else is remembered of them. */
export interface UnservedPreloads {
  observe(preload: ImagePreload): void;
  stop(): void;
}

/** The label of the namespace may have been set a moment before, and be seen a moment later. */
const LABEL_MS = 2000;
/** One at a time, so that thousands of them take no calls from holds. */
const EVERY_MS = 200;
/** A webhook of one namespace that hangs does not keep those of others waiting: the Event says the same as the status. */
const PATCH = { ignoreAnswer: true, retry: false, deadlineMs: 1000 };
/** If more than this wait, some ImagePreloads of the namespace with the most get no status and no Event. */
const ROOM = 1000;

interface Unserved extends Pick<ImagePreload, 'namespace' | 'name' | 'uid' | 'generation'> {
  /** Of `clock.monotonic`. */
  readonly dueAt: number;
}

export function createUnservedPreloads({
  client,
  clock,
  log,
  writeEvent,
  isFollowed,
}: {
  readonly client: Pick<ApiClient, 'jsonPatch'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly writeEvent: (event: GateEvent) => void;
  readonly isFollowed: (namespace: string) => boolean;
}): UnservedPreloads {
  const stopped = new AbortController();
  /** uids. */
  const waiting = new Set<string>();
  const queue = createFairQueue<Unserved>({
    ...{ atATime: 1, room: ROOM, clock },
    handle: (preload) => tellInTime(preload).catch(ignoreStop),
    onDropped: ({ uid }) => void waiting.delete(uid),
  });

  async function tellInTime(preload: Unserved): Promise<void> {
    const { uid, namespace, dueAt } = preload;
    await wait(clock, Math.max(0, dueAt - clock.monotonic()), stopped.signal);
    waiting.delete(uid);
    if (isFollowed(namespace)) return;
    await tell(preload);
    await wait(clock, EVERY_MS, stopped.signal);
  }

  async function tell(preload: Unserved): Promise<void> {
    const { namespace, name, uid } = preload;
    writeEvent(unservedEvent(preload));
    const patch = [
      { op: 'test', path: '/metadata/uid', value: uid },
      { op: 'add', path: '/status', value: unservedStatus(preload, clock.now()) },
    ];
    try {
      const path = `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads/${name}/status`;
      await client.jsonPatch(path, patch, {}, PATCH);
    } catch (error) {
      // It may be gone, or the gate has no right in namespaces that did not opt in. Its Event says the same.
      log.debug({ preload: `${namespace}/${name}`, err: error }, 'could not tell that nobody serves it');
    }
  }

  function ignoreStop(error: unknown): void {
    if (error !== STOPPED) throw error;
  }

  return {
    observe({ namespace, name, uid, generation, owner, deleting, status }) {
      const isTold = status?.conditions.some(({ reason }) => reason === NOT_SERVED) === true;
      if (owner !== undefined || deleting || isTold || status?.finishedAt !== undefined) return;
      if (waiting.has(uid)) return;
      waiting.add(uid);
      queue.add({ namespace, name, uid, generation, dueAt: clock.monotonic() + LABEL_MS });
    },
    stop: () => stopped.abort(STOPPED),
  };
}

const STOPPED = new Error('the leader has stopped');
