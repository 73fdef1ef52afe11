import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Clock, wait } from '../clock.ts';
import { GateError } from '../errors.ts';
import { asString, at } from '../json.ts';
import type { Logger } from '../log.ts';
import { createLogLimit } from '../log-limit.ts';
import { elide } from '../text.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError, apiErrorOfStatus, isNotFound } from './api-error.ts';
import { backoffMs } from './backoff.ts';
import {
  createFailureLog,
  isRefusal,
  isWorthRepeating,
  namedError,
  namespaceOf,
  pathIn,
} from './collection.ts';
import type { LongLine } from './json-lines.ts';
import { listPages } from './list-pages.ts';
import { createNamespaceLists } from './namespace-lists.ts';
import { createObjectCache, type Item, type Scope, type Store, type Trim } from './object-cache.ts';
import { MAX_OBJECT_BYTES } from './object-size.ts';

export interface ReflectorOptions<T> {
  readonly client: ApiClient;
  /** The collection, such as `/apis/apps/v1/deployments`. */
  readonly path: string;
  readonly query?: { readonly labelSelector?: string; readonly fieldSelector?: string };
  /**
   * What is kept of an object. Plain data, as small as may be: it is all that the cache holds, and a change that it
   * does not show is not reported. The items of a list have no `apiVersion` and `kind`. An object for which it throws is left
   * out, with a line in the log.
   */
  parse(raw: unknown): T;
  /** Restricts the cache to some namespaces. Call `namespaceChanged` when the answer of `isFollowed` changes. */
  readonly scope?: Scope<T>;
  readonly log: Logger;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** The user of a reflector. The cache can be read before it is filled, so followers can be created from it. */
export interface Follower<T> {
  /**
   * Restricts what the cache keeps of objects. A list brings no more than that. The watch brings whole objects: call `trim` for
   * each of which less is to be kept, and `refresh` for one that is to be kept whole from now on.
   */
  readonly trim?: Trim<T>;
  /**
   * Each change, in order, also once for each object of the first list. The key is `namespace/name`, or the name alone. `now` is
   * undefined for a removed object, `before` for a new one; an object that was deleted and made again is a removal and an
   * addition. The cache shows the change already. What it throws is logged.
   */
  onChange(key: string, now: T | undefined, before: T | undefined): void;
}

/** A copy of a collection in the API server, kept up to date. */
export interface Reflector<T> extends Store<T> {
  /** Begins to read. Nothing is reported before. */
  start(follower: Follower<T>): void;
  /** Resolves when nothing is running any more; no change is reported after the call. */
  stop(): Promise<void>;
  /** Resolves when the first list has been reported; rejects if stopped before. */
  readonly synced: Promise<void>;
  hasSynced(): boolean;
  readonly size: number;
  /**
   * Tells that `scope` follows the namespace from now on, or no longer does. What the scope no longer keeps goes at once. What it keeps
   * now comes with a list of the namespace, which is merged with the watch so that no change is missed.
   */
  namespaceChanged(namespace: string): void;
  /** Keeps no more of the object than the `trim` of the follower says. That is no change to report. */
  trim(key: string): void;
  /** Reads the object anew. The change is reported as if the watch had brought it. */
  refresh(key: string): Promise<void>;
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
// Taking over a list notifies the controllers of each object, which may take seconds for thousands of large ones. Between the
// turns, the Lease is renewed and admission answers.
const TURN_MS = 10;
// A namespace has 63 characters at most, and a name 253.
const KEY_CHARACTERS = 63 + 1 + 253;

/**
 * Lists a collection page by page and watches from there. A watch that ends or breaks is taken up from the last
 * resourceVersion seen (bookmarks keep it young); where that is impossible (410, or any refusal that repeating could
 * not fix) the collection is listed again and compared. Never gives up, whatever an object does.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one loop with its state: list, watch, list again
export function createReflector<T>(options: ReflectorOptions<T>): Reflector<T> {
  const { client, path, query, parse, scope, clock, random } = options;
  const log = options.log.child({ path });
  const limitLog = createLogLimit(clock);
  const stopping = new AbortController();
  const { promise: synced, resolve: reportSynced, reject: reportStopped } = Promise.withResolvers<void>();
  synced.catch(() => undefined); // nobody has to wait for it
  /** Where to watch from; undefined: list first. */
  let resourceVersion: string | undefined;
  let isSynced = false;
  let follower: Follower<T> | undefined;
  let running: Promise<void> | undefined;
  let startedAt = Number.POSITIVE_INFINITY;
  let contactAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let lastError: Error | undefined;
  const failureLog = createFailureLog(log);

  const cache = createObjectCache<T>({
    parse,
    scope,
    trim: {
      isWhole: (object) => follower?.trim?.isWhole(object) ?? true,
      less: (object) => follower?.trim?.less(object) ?? object,
    },
    onChange(key, now, before) {
      if (!stopping.signal.aborted) follower?.onChange(key, now, before);
    },
    onTrouble(what, key, err) {
      const detail = err instanceof Error ? err.message : String(err);
      const error =
        what === 'parse'
          ? new GateError('PG_OBJECT_UNREADABLE', { object: key, path, detail })
          : new GateError('PG_INTERNAL', { detail });
      limitLog(`${error.code} ${namespaceOf(key)}`, (fields) =>
        log.error({ ...fields, code: error.code, key: elide(key, KEY_CHARACTERS), err }, error.message),
      );
    },
  });
  const lists = createNamespaceLists({
    list: listNamespace,
    onFailure: (namespace, err) =>
      limitLog(`list ${namespace}`, (fields) =>
        log.warn({ ...fields, namespace, err }, 'the namespace cannot be listed'),
      ),
    clock,
    random,
  });

  function reportLargeObject(object: string, namespace = namespaceOf(object)): void {
    const { code, message } = new GateError('PG_OBJECT_TOO_LARGE', { object, path, limit: MAX_OBJECT_BYTES });
    limitLog(`${code} ${namespace}`, (fields) => log.error({ ...fields, code }, message));
  }

  function heard(): void {
    contactAt = clock.monotonic();
    lastError = undefined;
  }

  function contact(): void {
    heard();
    failureLog.reset();
  }

  async function list(): Promise<void> {
    const found = new Map<string, Item<T>>();
    const version = await listItems(path, stopping.signal, contact, (item) => {
      // An object that is not kept costs nothing here: there may be a hundred thousand of them.
      if (item.object !== undefined) found.set(item.key, item);
    });
    if (version === undefined) {
      const detail = 'a list without a resourceVersion';
      throw new GateError('PG_API_ANSWER', { server: client.cluster, call: `GET ${path}`, detail });
    }
    let turnBeganAt = clock.monotonic();
    for (const _ of cache.replace(found)) {
      if (clock.monotonic() - turnBeganAt < TURN_MS) continue;
      await nextTurn();
      stopping.signal.throwIfAborted();
      turnBeganAt = clock.monotonic();
    }
    resourceVersion = version;
    isSynced = true;
    reportSynced();
  }

  async function listNamespace(namespace: string, signal: AbortSignal): Promise<void> {
    const merge = cache.merge(namespace);
    try {
      await listItems(pathIn(path, namespace), signal, () => undefined, merge.add);
    } finally {
      merge.end();
    }
  }

  async function refresh(key: string): Promise<void> {
    const namespace = namespaceOf(key);
    const name = encodeURIComponent(key.slice(key.indexOf('/') + 1));
    try {
      const raw = await client.get(`${pathIn(path, namespace)}/${name}`, {}, { signal: stopping.signal });
      if (!stopping.signal.aborted) cache.refresh(cache.read(raw));
    } catch (error) {
      // The watch tells that it is gone.
      if (!isNotFound(error)) throw error;
    }
  }

  async function listItems(
    of: string,
    signal: AbortSignal,
    onPage: () => void,
    onItem: (item: Item<T>) => void,
  ): Promise<string | undefined> {
    return await listPages(client, of, {
      query,
      signal,
      deadlineMs: PAGE_DEADLINE_MS,
      onPage(items) {
        onPage();
        for (const raw of items) onItem(cache.trimmed(cache.read(raw)));
      },
      onLargeObject(raw) {
        const item = cache.read(raw);
        reportLargeObject(item.key);
        onItem({ ...item, object: undefined });
      },
    });
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
        {
          // Not yet `contact`: a watch that is cut each time that it opens is reported once.
          onOpen: heard,
          onLargeEvent,
        },
      );
      for await (const event of events) apply(event);
    } catch (error) {
      if (error instanceof ApiError && !isWorthRepeating(error, failures)) resourceVersion = undefined;
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
    // Before anything is done with the object: the watch continues behind it in any case.
    resourceVersion = asString(at(raw, 'metadata', 'resourceVersion')) ?? resourceVersion;
    if (type === 'BOOKMARK') return;
    const item = cache.read(raw);
    if (type === 'DELETED') cache.remove(item);
    else cache.put(item);
  }

  /** The next event or bookmark moves the resourceVersion on. The cache keeps the object as it was before. */
  function onLargeEvent({ bytes, beginning }: LongLine): void {
    contact();
    reportLargeObject(`an event of ${bytes} bytes, ${beginning}`, '');
  }

  function note(error: unknown): void {
    lastError = namedError(error, path);
    failureLog.note(lastError, failures);
  }

  async function listAndWatch(): Promise<void> {
    if (resourceVersion === undefined) {
      // The list of the whole has all that was asked for until now.
      lists.pause();
      try {
        await list();
      } catch (error) {
        failures += 1;
        throw error;
      }
      lists.resume();
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
    start(given) {
      if (running !== undefined) return;
      follower = given;
      startedAt = clock.monotonic();
      running = run();
    },
    async stop() {
      stopping.abort();
      reportStopped(new Error(`the reflector of ${path} was stopped`));
      await Promise.all([running, lists.stop()]);
    },
    synced,
    hasSynced: () => isSynced,
    get: cache.get,
    values: cache.values,
    inNamespace: cache.inNamespace,
    get size() {
      return cache.size;
    },
    namespaceChanged(namespace) {
      cache.namespaceChanged(namespace);
      // A list under way goes on where the namespace is no longer followed: it brings back what was partial before.
      if (scope?.isFollowed(namespace) === true) lists.add(namespace);
    },
    trim: cache.trim,
    refresh,
    lastContactAge: () => clock.monotonic() - contactAt,
    isSilent: () => clock.monotonic() - Math.max(startedAt, contactAt) > SILENT_MS && !isRefusal(lastError),
    get lastError() {
      return lastError;
    },
  };
}
