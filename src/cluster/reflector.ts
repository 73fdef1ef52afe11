import { isDeepStrictEqual } from 'node:util';
import { type Clock, wait } from '../clock.ts';
import { GateError } from '../errors.ts';
import { asArray, asString, at } from '../json.ts';
import type { Logger } from '../log.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError, apiErrorOfStatus, isForbidden, isNotFound } from './api-error.ts';
import { backoffMs } from './backoff.ts';

export interface ReflectorOptions<T> {
  readonly client: ApiClient;
  /** The collection, such as `/apis/apps/v1/deployments`. */
  readonly path: string;
  readonly query?: { readonly labelSelector?: string; readonly fieldSelector?: string };
  /**
   * What is kept of an object. Plain data, as small as may be: it is all that the cache holds, and a change that it
   * does not show is not reported. The items of a list have no `apiVersion` and `kind`.
   */
  parse(raw: unknown): T;
  /** Unique in the collection, such as `namespace/name`. */
  keyOf(object: T): string;
  /**
   * Each change, in order, also once for each object of the first list. `now` is undefined for a removed object,
   * `before` for a new one; an object that was deleted and made again is a removal and an addition. The cache shows
   * the change already. What it throws is logged.
   */
  onChange(key: string, now: T | undefined, before: T | undefined): void;
  readonly log: Logger;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** A copy of a collection in the API server, kept up to date. */
export interface Reflector<T> {
  start(): void;
  /** Resolves when nothing is running any more; no change is reported after the call. */
  stop(): Promise<void>;
  /** Resolves when the first list has been reported; rejects if stopped before. */
  readonly synced: Promise<void>;
  hasSynced(): boolean;
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  readonly size: number;
  /** Milliseconds since the last list page, event, bookmark or watch that was opened; infinite before the first. */
  lastContactAge(): number;
  /**
   * Whether it has been silent for longer than any working one can be. Not if the API server refuses it, in words: then it was
   * heard.
   */
  isSilent(): boolean;
  /** Why it is failing: the last error, until the next contact. */
  readonly lastError: Error | undefined;
}

// A fifth of what client-go and kubectl ask for: a page is held as bytes, text and objects at once, and pages of 500 Deployments
// and nodes of 10 KB made a gate that starts 60 to 130 MB larger.
const PAGE_SIZE = 100;
const PAGE_DEADLINE_MS = 30_000;
// The server ends a watch by then. Spread, so that not all of them come back at once.
const WATCH_SECONDS = { from: 240, to: 300 };
// The server has not ended it: the connection is dead. Covers silence of any length, and needs no count of bytes.
const WATCH_GRACE_MS = 30_000;
// A watch that lived that long was none of a row of failures.
const STEADY_MS = 5000;
const BACKOFF = { baseMs: 400, maxMs: 10_000 };
// A watch that died in silence, the longest rest, and the first page of a new list: what takes longer than all of these
// together has been lost by us.
const SILENT_MS = WATCH_SECONDS.to * 1000 + WATCH_GRACE_MS + BACKOFF.maxMs + PAGE_DEADLINE_MS;
// Single failures are part of the routine: an API server restarts, a load balancer cuts.
const WARN_AFTER_FAILURES = 3;

interface Entry<T> {
  readonly uid: string | undefined;
  readonly object: T;
}

/**
 * Lists a collection page by page and watches from there. A watch that ends or breaks is taken up from the last
 * resourceVersion seen (bookmarks keep it young); where that is impossible (410, or any refusal that repeating could
 * not mend) the collection is listed again and compared. Never gives up.
 */
export function createReflector<T>(options: ReflectorOptions<T>): Reflector<T> {
  const { client, path, query, parse, keyOf, onChange, clock, random } = options;
  const log = options.log.child({ path });
  const cache = new Map<string, Entry<T>>();
  const stopping = new AbortController();
  const { promise: synced, resolve: reportSynced, reject: reportStopped } = Promise.withResolvers<void>();
  synced.catch(() => undefined); // nobody has to wait for it
  /** Where to watch from; undefined: list first. */
  let resourceVersion: string | undefined;
  let isSynced = false;
  let running: Promise<void> | undefined;
  let startedAt = Number.POSITIVE_INFINITY;
  let contactAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let lastError: Error | undefined;
  let logged: string | undefined;

  function read(raw: unknown): { key: string; entry: Entry<T> } | undefined {
    try {
      const object = parse(raw);
      return { key: keyOf(object), entry: { uid: asString(at(raw, 'metadata', 'uid')), object } };
    } catch (err) {
      log.error({ err, name: at(raw, 'metadata', 'name') }, 'an object cannot be read and is left out');
      return undefined;
    }
  }

  function put(key: string, entry: Entry<T>): void {
    const known = cache.get(key);
    if (known !== undefined && known.uid !== entry.uid) remove(key);
    const before = cache.get(key)?.object;
    if (before !== undefined && isDeepStrictEqual(before, entry.object)) return;
    cache.set(key, entry);
    report(key, entry.object, before);
  }

  function remove(key: string): void {
    const before = cache.get(key);
    if (before === undefined) return;
    cache.delete(key);
    report(key, undefined, before.object);
  }

  function report(key: string, now: T | undefined, before: T | undefined): void {
    if (stopping.signal.aborted) return;
    try {
      onChange(key, now, before);
    } catch (err) {
      log.error({ err, key }, 'a change could not be handled');
    }
  }

  function heard(): void {
    contactAt = clock.monotonic();
    lastError = undefined;
  }

  function contact(): void {
    heard();
    logged = undefined;
  }

  /**
   * Without a resourceVersion: the newest state, and pages of one snapshot. A `0` would be served from the cache of an
   * API server that may lag behind what has been seen already, and in one piece.
   */
  async function list(): Promise<void> {
    const found = new Map<string, Entry<T>>();
    let version: string | undefined;
    let next: string | undefined;
    do {
      const page = await client.get(
        path,
        { ...query, limit: PAGE_SIZE, continue: next },
        { signal: stopping.signal, deadlineMs: PAGE_DEADLINE_MS },
      );
      contact();
      for (const raw of asArray(at(page, 'items'))) {
        const item = read(raw);
        if (item !== undefined) found.set(item.key, item.entry);
      }
      version = asString(at(page, 'metadata', 'resourceVersion'));
      next = asString(at(page, 'metadata', 'continue')) || undefined;
    } while (next !== undefined);
    if (version === undefined) {
      const detail = 'a list without a resourceVersion';
      throw new GateError('PG_API_ANSWER', { server: client.cluster, call: `GET ${path}`, detail });
    }

    for (const key of cache.keys()) {
      if (!found.has(key)) remove(key);
    }
    for (const [key, entry] of found) put(key, entry);
    resourceVersion = version;
    isSynced = true;
    reportSynced();
  }

  async function watch(): Promise<void> {
    const { from, to } = WATCH_SECONDS;
    const timeoutSeconds = from + Math.floor(random() * (to - from + 1));
    const dead = new AbortController();
    const cancel = clock.setTimer(timeoutSeconds * 1000 + WATCH_GRACE_MS, () => {
      dead.abort(
        new Error(`the watch of ${path} is dead: the server did not end it after ${timeoutSeconds} s`),
      );
    });
    const openedAt = clock.monotonic();
    try {
      const events = client.watch(
        path,
        { ...query, allowWatchBookmarks: true, resourceVersion, timeoutSeconds },
        AbortSignal.any([stopping.signal, dead.signal]),
        // Not yet `contact`: one that is cut as often as it is opened is told once.
        heard,
      );
      for await (const event of events) apply(event);
    } catch (error) {
      if (error instanceof ApiError && !isWorthRepeating(error)) resourceVersion = undefined;
      throw error;
    } finally {
      cancel();
      failures = clock.monotonic() - openedAt >= STEADY_MS ? 0 : failures + 1;
    }
  }

  function apply(event: unknown): void {
    const type = at(event, 'type');
    const raw = at(event, 'object');
    if (type === 'ERROR') {
      resourceVersion = undefined;
      throw apiErrorOfStatus(raw);
    }
    contact();
    if (type !== 'BOOKMARK') {
      const item = read(raw);
      if (item !== undefined && type === 'DELETED') remove(item.key);
      else if (item !== undefined) put(item.key, item.entry);
    }
    resourceVersion = asString(at(raw, 'metadata', 'resourceVersion')) ?? resourceVersion;
  }

  function note(error: unknown): void {
    const known = namedError(error, path);
    lastError = known;
    const text = known.message;
    if (text === logged) return;
    if (known instanceof GateError && (known.code === 'PG_CRD_MISSING' || known.code === 'PG_RBAC')) {
      log.error({ code: known.code }, text);
    } else if (failures >= WARN_AFTER_FAILURES) {
      log.warn({ failures }, `the collection cannot be followed: ${text}`);
    } else {
      log.debug({ err: known }, 'the watch broke');
      return;
    }
    logged = text;
  }

  async function listAndWatch(): Promise<void> {
    if (resourceVersion === undefined) {
      try {
        await list();
      } catch (error) {
        failures += 1;
        throw error;
      }
    }
    await watch();
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let retryAfterMs = 0;
      try {
        await listAndWatch();
      } catch (error) {
        if (stopping.signal.aborted) return;
        note(error);
        if (error instanceof ApiError) retryAfterMs = error.retryAfterMs ?? 0;
      }
      if (failures === 0) continue;
      const delay = retryAfterMs + backoffMs(failures - 1, BACKOFF, random());
      await wait(clock, delay, stopping.signal).catch(() => undefined);
    }
  }

  return {
    start() {
      if (running !== undefined) return;
      startedAt = clock.monotonic();
      running = run();
    },
    async stop() {
      stopping.abort();
      reportStopped(new Error(`the reflector of ${path} was stopped`));
      await running;
    },
    synced,
    hasSynced: () => isSynced,
    get: (key) => cache.get(key)?.object,
    *values() {
      for (const { object } of cache.values()) yield object;
    },
    get size() {
      return cache.size;
    },
    lastContactAge: () => clock.monotonic() - contactAt,
    isSilent: () => clock.monotonic() - Math.max(startedAt, contactAt) > SILENT_MS && !isRefusal(lastError),
    get lastError() {
      return lastError;
    },
  };
}

/** `namedError` of an answer of the API server. */
function isRefusal(error: Error | undefined): boolean {
  if (error instanceof GateError) return error.code === 'PG_CRD_MISSING' || error.code === 'PG_RBAC';
  return error instanceof ApiError;
}

/** A refusal to open the watch that has nothing to do with where it was to begin. */
function isWorthRepeating({ status }: ApiError): boolean {
  return status === 401 || status === 403 || status === 429 || status >= 500;
}

function namedError(error: unknown, path: string): Error {
  if (isNotFound(error)) return new GateError('PG_CRD_MISSING', { path }, error);
  if (isForbidden(error)) {
    return new GateError('PG_RBAC', { what: `read ${path}`, detail: error.apiMessage }, error);
  }
  return error instanceof Error ? error : new Error(String(error));
}
