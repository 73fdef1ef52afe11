import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import { createLimiter } from '../limiter.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import type { CreateResult } from './create-preload.ts';

/** Makes ImagePreloads for updates that have been answered already. */
export interface BackgroundMaking {
  /**
   * Begins `make`, unless it is under way for this name or too many are. Returns its result if it comes within `waitMs`. A refusal that
   * comes later is the result of the next call; any other error that comes later is logged.
   */
  make(
    preload: { readonly namespace: string; readonly name: string },
    waitMs: number,
    make: () => Promise<CreateResult>,
  ): Promise<CreateResult | undefined>;
}

/** Of all namespaces. Each has a Deployment of up to 1.5 MiB in memory. */
const MOST = 64;
/** Of one namespace: its webhooks may take 5 s for each. */
const MOST_OF_NAMESPACE = 8;
const AT_A_TIME = 16;
/** Clients ask again within 30 s. */
const REFUSAL_MS = 60_000;
const REMEMBERED_REFUSALS = 1000;

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
  const running = new Map<string, { readonly namespace: string; readonly made: Promise<CreateResult> }>();
  const refusals = new LRUCache<string, { readonly made: CreateResult; readonly until: number }>({
    max: REMEMBERED_REFUSALS,
  });

  function hasRoom(namespace: string): boolean {
    const ofNamespace = [...running.values()].filter((one) => one.namespace === namespace).length;
    return running.size < MOST && ofNamespace < MOST_OF_NAMESPACE;
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
          log.warn({ ...fields, preload: key, err }, 'could not make a preload; the next retry tries again'),
        ),
    );
  }

  return {
    async make({ namespace, name }, waitMs, make) {
      const key = `${namespace}/${name}`;
      const refusal = takeRefusal(key);
      if (refusal !== undefined) return refusal;
      const underWay = running.get(key)?.made;
      if (underWay === undefined && !hasRoom(namespace)) return undefined;
      const made = underWay ?? limiter(namespace, make).finally(() => running.delete(key));
      if (underWay === undefined) running.set(key, { namespace, made });

      const late = Promise.withResolvers<undefined>();
      const cancel = clock.setTimer(waitMs, () => late.resolve(undefined));
      const result = await Promise.race([made, late.promise]).finally(cancel);
      if (result === undefined && underWay === undefined) rememberLate(key, namespace, made);
      return result;
    },
  };
}
