import { LRUCache } from 'lru-cache';
import { weightUpTo } from '../api/template/weight.ts';
import type { Clock } from '../clock.ts';
import type { JsonObject } from '../json.ts';
import { createLimiter } from '../limiter.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import type { CreateResult } from './create-preload.ts';

/** Makes ImagePreloads for updates that have been answered already. */
export interface BackgroundMaking {
  /**
   * Begins `make`, unless it is under way for this name. Returns its result if it comes within `waitMs`. A refusal that comes later is the
   * result of the next call; any other error that comes later is logged. Returns `Crowded` if there is no room for another one.
   */
  make(
    preload: PreloadToMake,
    waitMs: number,
    make: () => Promise<CreateResult>,
  ): Promise<CreateResult | { readonly kind: 'Crowded' } | undefined>;
}

export interface PreloadToMake {
  readonly namespace: string;
  readonly name: string;
  /** What `make` keeps in memory. */
  readonly keeps: JsonObject;
}

/** Of all namespaces. */
const MOST = 64;
/** Of one namespace: its webhooks may take 5 s for each. */
const MOST_OF_NAMESPACE = 8;
/**
 * Memory of what all of them keep. It is kept after the answer, when the memory budget of admission no longer counts the review. A usual
 * template takes 10 to 50 kB, and the largest 32 MB (src/admission/review-body.ts, VALUES_LIMIT).
 */
const MOST_BYTES = 48 * 1024 * 1024;
const AT_A_TIME = 16;
/** Clients ask again within 30 s. */
const REFUSAL_MS = 60_000;
const REMEMBERED_REFUSALS = 1000;

interface Running {
  readonly namespace: string;
  readonly bytes: number;
  readonly made: Promise<CreateResult>;
}

export function createBackgroundMaking({
  clock,
  log,
  limitLog,
}: {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limitLog: LogLimit;
}): BackgroundMaking {
  const limiter = createLimiter(AT_A_TIME, clock);
  const running = new Map<string, Running>();
  const refusals = new LRUCache<string, { readonly made: CreateResult; readonly until: number }>({
    max: REMEMBERED_REFUSALS,
  });

  /** A namespace may have no more bytes than are free without them, so one alone has half, and the next finds room. */
  function hasRoom(namespace: string, bytes: number): boolean {
    const all = [...running.values()];
    const own = all.filter((one) => one.namespace === namespace);
    if (all.length >= MOST || own.length >= MOST_OF_NAMESPACE) return false;
    return bytesOf(own) + bytes <= MOST_BYTES - bytesOf(all);
  }

  function takeRefusal(key: string): CreateResult | undefined {
    const late = refusals.get(key);
    refusals.delete(key);
    return late !== undefined && clock.monotonic() < late.until ? late.made : undefined;
  }

  function rememberLate(key: string, namespace: string, made: Promise<CreateResult>): void {
    made.then(
      (found) => {
        if (found.kind === 'Refused')
          refusals.set(key, { made: found, until: clock.monotonic() + REFUSAL_MS });
      },
      (err: unknown) =>
        limitLog(`making ${namespace}`, (fields) =>
          log.warn(
            { ...fields, preload: key, err },
            'could not create a preload; the next request tries again',
          ),
        ),
    );
  }

  return {
    async make({ namespace, name, keeps }, waitMs, make) {
      const key = `${namespace}/${name}`;
      const refusal = takeRefusal(key);
      if (refusal !== undefined) return refusal;
      const underWay = running.get(key)?.made;
      const bytes = underWay === undefined ? weightUpTo(MOST_BYTES, keeps) : 0;
      if (underWay === undefined && !hasRoom(namespace, bytes)) return { kind: 'Crowded' };
      const made = underWay ?? limiter(namespace, make).finally(() => running.delete(key));
      if (underWay === undefined) running.set(key, { namespace, bytes, made });

      const late = Promise.withResolvers<undefined>();
      const cancel = clock.setTimer(waitMs, () => late.resolve(undefined));
      const result = await Promise.race([made, late.promise]).finally(cancel);
      if (result === undefined && underWay === undefined) rememberLate(key, namespace, made);
      return result;
    },
  };
}

function bytesOf(makings: readonly Running[]): number {
  return makings.reduce((sum, { bytes }) => sum + bytes, 0);
}
