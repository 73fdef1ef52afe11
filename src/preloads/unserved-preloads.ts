import { LRUCache } from 'lru-cache';
import type { ImagePreload } from '../api/image-preload.ts';
import { API_GROUP_PATH } from '../api/names.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import type { GateEvent } from '../cluster/events.ts';
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
/** If more than this wait, only the newest ones get an Event. */
const MOST_WAITING = 1000;

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
  type Named = Pick<ImagePreload, 'namespace' | 'name' | 'uid' | 'generation'>;
  const waiting = new LRUCache<string, { readonly preload: Named; readonly at: number }>({
    max: MOST_WAITING,
  });
  let cancel: (() => void) | undefined;

  function schedule(ms: number): void {
    cancel ??= clock.setTimer(ms, () => {
      cancel = undefined;
      void tellNext();
    });
  }

  async function tellNext(): Promise<void> {
    // The one that was added first.
    const [uid] = waiting.rkeys();
    const next = uid === undefined ? undefined : waiting.peek(uid);
    if (uid === undefined || next === undefined) return;
    const early = next.at - clock.monotonic();
    if (early <= 0) {
      waiting.delete(uid);
      if (!isFollowed(next.preload.namespace)) await tell(next.preload);
    }
    if (waiting.size > 0) schedule(Math.max(early, EVERY_MS));
  }

  async function tell(preload: Named): Promise<void> {
    const { namespace, name, uid } = preload;
    writeEvent(unservedEvent(preload));
    const patch = [
      { op: 'test', path: '/metadata/uid', value: uid },
      { op: 'add', path: '/status', value: unservedStatus(preload, clock.now()) },
    ];
    try {
      const path = `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads/${name}/status`;
      await client.jsonPatch(path, patch, {}, { ignoreAnswer: true });
    } catch (error) {
      // It may be gone, or the gate has no right in namespaces that did not opt in. Its Event says the same.
      log.debug({ preload: `${namespace}/${name}`, err: error }, 'could not tell that nobody serves it');
    }
  }

  return {
    observe({ namespace, name, uid, generation, owner, deleting, status }) {
      const isTold = status?.conditions.some(({ reason }) => reason === NOT_SERVED) === true;
      if (owner !== undefined || deleting || isTold || status?.finishedAt !== undefined) return;
      if (waiting.has(uid)) return;
      waiting.set(uid, { preload: { namespace, name, uid, generation }, at: clock.monotonic() + LABEL_MS });
      schedule(LABEL_MS);
    },
    stop() {
      waiting.clear();
      cancel?.();
    },
  };
}
