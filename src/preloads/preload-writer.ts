import { isDeepStrictEqual } from 'node:util';
import {
  type ImagePreload,
  type ImagePreloadStatus,
  type PreloadPhase,
  parseImagePreload,
} from '../api/image-preload.ts';
import { API_GROUP_PATH } from '../api/names.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isConflict, isInvalid, isNotFound } from '../cluster/api-error.ts';
import type { Logger } from '../log.ts';
import { createLogLimit, FAILURE_RATE } from '../log-limit.ts';

/** The status of a preload as it was written last, and when, of `clock.monotonic`. */
export interface WrittenStatus {
  status: ImagePreloadStatus | undefined;
  statusAt: number;
}

/** Writes what becomes of ImagePreloads. */
export interface PreloadWriter {
  /** Returns in how many ms to come back if it is too early to write, or if that went wrong. */
  writeStatus(
    preload: ImagePreload,
    written: WrittenStatus,
    status: ImagePreloadStatus,
  ): Promise<number | undefined>;
  /** Returns the stored status, or undefined if the preload has no status or no longer exists. */
  readStatus(preload: ImagePreload): Promise<ImagePreloadStatus | undefined>;
  /** Deletes it once its time to live is over; until then returns in how many ms that is. */
  expire(preload: ImagePreload, finished: string | undefined): Promise<number | undefined>;
}

/** The status is for people: once a second is as fast as they read. */
const STATUS_INTERVAL_MS = 1000;
const STATUS_RETRY_MS = 5000;
const WAITING_PHASES: ReadonlySet<PreloadPhase> = new Set(['WaitingForApproval', 'WaitingForTime']);

export function createPreloadWriter({
  client,
  clock,
  log,
}: {
  readonly client: Pick<ApiClient, 'get' | 'jsonPatch' | 'delete'>;
  readonly clock: Clock;
  readonly log: Logger;
}): PreloadWriter {
  const limitLog = createLogLimit(clock, FAILURE_RATE);
  async function put(preload: ImagePreload, status: ImagePreloadStatus): Promise<void> {
    const patch = [
      { op: 'test', path: '/metadata/uid', value: preload.uid },
      { op: 'add', path: '/status', value: status },
    ];
    await client.jsonPatch(`${preloadPath(preload)}/status`, patch, {}, { ignoreAnswer: true });
  }

  /** The CustomResourceDefinition of an earlier version does not have these phases. */
  async function putKnown(preload: ImagePreload, status: ImagePreloadStatus): Promise<void> {
    try {
      await put(preload, status);
    } catch (error) {
      if (!isInvalid(error) || !WAITING_PHASES.has(status.phase)) throw error;
      await put(preload, { ...status, phase: 'Ready' });
    }
  }

  return {
    async writeStatus(preload, written, status) {
      if (isDeepStrictEqual(status, written.status)) return undefined;
      const tooEarly = written.statusAt + STATUS_INTERVAL_MS - clock.monotonic();
      if (tooEarly > 0) return tooEarly;
      written.statusAt = clock.monotonic();
      const key = `${preload.namespace}/${preload.name}`;
      try {
        await putKnown(preload, status);
      } catch (error) {
        if (isNotFound(error)) return undefined;
        // Not thrown: pulls do not wait until their status can be told.
        limitLog(preload.namespace, (fields) =>
          log.warn({ ...fields, preload: key, err: error }, 'the status could not be written'),
        );
        return STATUS_RETRY_MS;
      }
      written.status = status;
      log.debug({ preload: key, phase: status.phase, ready: status.ready }, 'status written');
      return undefined;
    },
    async readStatus(preload) {
      try {
        return parseImagePreload(await client.get(preloadPath(preload))).status;
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    async expire(preload, finished) {
      const finishedAt = Date.parse(finished ?? '');
      if (Number.isNaN(finishedAt)) return undefined;
      const expiresIn = finishedAt + preload.spec.ttlSecondsAfterFinished * 1000 - clock.now();
      if (expiresIn > 0) return expiresIn;
      const body = { preconditions: { uid: preload.uid } };
      await client.delete(preloadPath(preload), body).catch((error: unknown) => {
        if (!isNotFound(error) && !isConflict(error)) throw error;
      });
      return undefined;
    },
  };
}

function preloadPath({ namespace, name }: ImagePreload): string {
  return `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads/${name}`;
}
