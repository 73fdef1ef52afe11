import type { Dispatcher } from 'undici';
import { type Clock, wait } from '../clock.ts';
import { GateError } from '../errors.ts';
import { MAX_DEPTH } from '../json.ts';
import { createLimiter } from '../limiter.ts';
import { createAnswerTexts } from './answer-texts.ts';
import {
  type Call,
  connectionsTo,
  encoded,
  isTlsError,
  isTransient,
  jsonText,
  messageOf,
  nameOf,
  namespaceOf,
  parseOr,
  type Query,
  queryString,
  retryAfterMs,
  retryAfterOf,
  shareOf,
  untilAborted,
  type Verb,
  verbOf,
} from './api-call.ts';
import { ApiError } from './api-error.ts';
import { backoffMs } from './backoff.ts';
import type { Cluster } from './credentials.ts';
import { jsonLines, type LongLine } from './json-lines.ts';
import { bounded } from './nesting.ts';
import { MAX_OBJECT_BYTES } from './object-size.ts';

/** One attempt at a call. `code`: the HTTP status, or `error` where there was no answer. */
export type OnAttempt = (verb: Verb, code: number | 'error') => void;

export interface ApiClientOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onAttempt?: OnAttempt | undefined;
}

export interface CallOptions {
  /** Bound of the whole call: getting a token, every attempt, every wait between two. Default 15,000. */
  readonly deadlineMs?: number;
  /** Whether 429, 5xx and connection errors are tried again within the deadline. Default true, for writes too. */
  readonly retry?: boolean;
  readonly signal?: AbortSignal;
  /** Whether it is enough to know that it went well: then nothing is read of the answer, nor returned. */
  readonly ignoreAnswer?: boolean;
  /** Reading stops after so many bytes, with PG_API_ANSWER_SIZE. Default `MAX_OBJECT_BYTES`: any one object is read. */
  readonly maxBytes?: number;
  /** Called with the length of the answer's text. */
  readonly onBytes?: (bytes: number) => void;
  /** The media type to ask for, default JSON. */
  readonly accept?: string;
}

/**
 * Calls to one API server, in plain JSON. Writes are retried like reads, although the first attempt may have been
 * carried out: names and JSON patch tests must make them idempotent.
 *
 * Every call may throw ApiError (the server's refusal) or GateError PG_API_UNREACHABLE, PG_API_TLS, PG_API_TIMEOUT,
 * PG_API_ANSWER, PG_API_ANSWER_SIZE, PG_API_ANSWER_DEPTH, PG_TOKEN; the reason of its signal if that was aborted.
 */
export interface ApiClient {
  /** The cluster's name, for people. */
  readonly cluster: string;
  get(path: string, query?: Query, options?: CallOptions): Promise<unknown>;
  create(path: string, body: unknown, query?: Query, options?: CallOptions): Promise<unknown>;
  /** `operations`: RFC 6902. A `test` that fails is a 422, see `isInvalid`. */
  jsonPatch(
    path: string,
    operations: readonly unknown[],
    query?: Query,
    options?: CallOptions,
  ): Promise<unknown>;
  mergePatch(path: string, body: unknown, query?: Query, options?: CallOptions): Promise<unknown>;
  /** Lists of the built-in kinds are merged by their key, such as conditions by `type`. */
  strategicPatch(path: string, body: unknown, query?: Query, options?: CallOptions): Promise<unknown>;
  /**
   * Server-side apply, forced: creates the object or takes over exactly the fields of `body`, and removes those that an
   * earlier apply set and this one does not. Unknown fields are refused, not dropped.
   */
  apply(path: string, body: unknown, options?: CallOptions): Promise<unknown>;
  /** `body`: DeleteOptions. */
  delete(path: string, body?: unknown, options?: CallOptions): Promise<unknown>;
  /**
   * The raw events of a watch, until the server ends it. No retry: what to do after an error depends on it. Leaving
   * the loop, or aborting, closes its connection.
   */
  watch(path: string, query: Query, signal: AbortSignal, hooks?: WatchHooks): AsyncIterable<unknown>;
  /** Breaks off what is still running, watches too. */
  close(): Promise<void>;
}

export interface WatchHooks {
  /** Called when the server has accepted the watch. */
  onOpen?(): void;
  /** Called for an event of more than `MAX_OBJECT_BYTES`, which is skipped. */
  onLargeEvent?(event: LongLine): void;
}

interface Deadline {
  /** Aborted when the call has to end. */
  readonly signal: AbortSignal;
  /** Of `clock.monotonic`. */
  readonly endsAt: number;
  /** Throws if the call has to end. */
  check(): void;
}

const DEADLINE_MS = 15_000;
/** A Status is short, unless a webhook that refuses has filled it. A longer answer counts by its HTTP status alone. */
const MAX_REFUSAL_BYTES = 1024 * 1024;
const FIELD_MANAGER = 'pullgate';
// The cap keeps the outage of an API server that restarts short for us: seconds matter while a rollout is held.
const BACKOFF = { baseMs: 200, maxMs: 2000 };
/**
 * Calls about a namespace at a time; more wait for their turn, within their deadline. Puller pods, which come and go by the
 * thousand, take 48 of these at most (src/preloads), so that releases and status find places of their own.
 */
const NAMESPACE_CALLS = 64;
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the calls share one connection pool and one limiter
export function createApiClient(cluster: Cluster, { clock, random, onAttempt }: ApiClientOptions): ApiClient {
  const { origin, pathname } = new URL(cluster.server);
  const prefix = pathname.replace(/\/$/, '');
  let closed = false;
  const byShare = createLimiter(NAMESPACE_CALLS, clock);
  const texts = createAnswerTexts(clock);
  const agent = connectionsTo(cluster);

  /** One attempt; a refused token is replaced once. Returns on 2xx only. */
  async function send(call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    for (let renewed = false; ; renewed = true) {
      const token = await bearer(signal);
      const response = await request(call, token, signal);
      if (response.statusCode < 300) return response;
      const reading = { maxBytes: MAX_REFUSAL_BYTES, namespace: namespaceOf(call), signal };
      const text = (await texts.read(response.body, reading).catch(() => '')) ?? '';
      signal.throwIfAborted();
      if (response.statusCode !== 401 || renewed || cluster.invalidateToken === undefined) {
        throw new ApiError(response.statusCode, parseOr(text), retryAfterMs(response.headers['retry-after']));
      }
      cluster.invalidateToken(token);
    }
  }

  async function bearer(signal: AbortSignal): Promise<string | undefined> {
    try {
      return await untilAborted(cluster.token(), signal);
    } catch (error) {
      signal.throwIfAborted();
      // Never as it is: a missing ServiceAccount's 404 would be taken for one of the object that was asked for.
      throw new GateError('PG_TOKEN', { cluster: cluster.name, detail: messageOf(error) }, error);
    }
  }

  async function request(
    call: Call,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    try {
      const response = await agent.request({
        origin,
        path: prefix + encoded(call.path) + queryString(call.query),
        method: call.method,
        headers: {
          accept: call.accept ?? 'application/json',
          'user-agent': 'pullgate',
          ...cluster.headers,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }),
        },
        body: call.body === undefined ? null : jsonText(call.body),
        // undici closes the connection after a DELETE with a body, as some servers do not read that; API servers do.
        reset: false,
        signal,
      });
      onAttempt?.(verbOf(call), response.statusCode);
      return response;
    } catch (error) {
      onAttempt?.(verbOf(call), 'error');
      throw connectionError(error, signal);
    }
  }

  function connectionError(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    const code = isTlsError(error) ? 'PG_API_TLS' : 'PG_API_UNREACHABLE';
    return new GateError(code, { server: cluster.server, detail: messageOf(error) }, error);
  }

  /** Holds its place for one attempt, not for the wait before the next one. */
  async function attempt(call: Call, options: CallOptions, { signal, check }: Deadline): Promise<unknown> {
    const share = shareOf(call);
    const make = async () => {
      check();
      return await answerOf(call, options, signal);
    };
    return await (share === undefined ? make() : byShare(share, make, signal));
  }

  async function answerOf(
    call: Call,
    { ignoreAnswer = false, maxBytes = MAX_OBJECT_BYTES, onBytes }: CallOptions,
    signal: AbortSignal,
  ): Promise<unknown> {
    const response = await send(call, signal);
    let text: string | undefined;
    try {
      if (ignoreAnswer) return await response.body.dump();
      text = await texts.read(response.body, { maxBytes, onBytes, namespace: namespaceOf(call), signal });
    } catch (error) {
      throw connectionError(error, signal);
    }
    const values = { server: cluster.server, call: nameOf(call) };
    if (text === undefined) throw new GateError('PG_API_ANSWER_SIZE', { ...values, limit: maxBytes });
    const value = bounded(text, parseOr(text));
    if (typeof value === 'object') return value;
    if (value === undefined) throw new GateError('PG_API_ANSWER_DEPTH', { ...values, limit: MAX_DEPTH });
    throw new GateError('PG_API_ANSWER', { ...values, detail: `not JSON: ${text.slice(0, 100)}` });
  }

  async function attempts(
    call: Call,
    options: CallOptions,
    deadline: Deadline,
    onFailure: (error: unknown) => void,
  ): Promise<unknown> {
    for (let failure = 0; ; failure++) {
      try {
        return await attempt(call, options, deadline);
      } catch (error) {
        onFailure(error);
        if (options.retry === false || closed || deadline.signal.aborted || !isTransient(error)) throw error;
        // Jitter on top of Retry-After: everyone who was refused got the same number.
        const delay = backoffMs(failure, BACKOFF, random()) + retryAfterOf(error);
        if (clock.monotonic() + delay >= deadline.endsAt) throw error;
        await wait(clock, delay, deadline.signal);
      }
    }
  }

  async function run(call: Call, options: CallOptions = {}): Promise<unknown> {
    const { deadlineMs = DEADLINE_MS, signal } = options;
    const endsAt = clock.monotonic() + deadlineMs;
    const deadline = new AbortController();
    const cancel = clock.setTimer(deadlineMs, () => deadline.abort());
    const either = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
    // In a process that was stopped for a while, an attempt can get its turn before the timer fires. It may not begin: a leader
    // may have lost its lease meanwhile.
    const check = () => {
      if (clock.monotonic() >= endsAt) deadline.abort();
      either.throwIfAborted();
    };
    let last: unknown;
    try {
      return await attempts(call, options, { signal: either, endsAt, check }, (error) => {
        if (!either.aborted) last = error;
      });
    } catch (error) {
      if (!deadline.signal.aborted || signal?.aborted === true) throw error;
      const values = { server: cluster.server, call: nameOf(call), deadline: deadlineMs };
      const detail = last === undefined ? 'none' : messageOf(last);
      throw new GateError('PG_API_TIMEOUT', { ...values, detail }, last);
    } finally {
      cancel();
    }
  }

  async function* watch(
    path: string,
    query: Query,
    signal: AbortSignal,
    { onOpen, onLargeEvent }: WatchHooks = {},
  ): AsyncGenerator<unknown, void, undefined> {
    const call: Call = { method: 'GET', isWatch: true, path, query: { ...query, watch: true } };
    const response = await openWatch(call, signal);
    onOpen?.();
    try {
      yield* jsonLines(response.body, MAX_OBJECT_BYTES, (line) => onLargeEvent?.(line));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw connectionError(error, signal);
      throw new GateError('PG_API_ANSWER', {
        server: cluster.server,
        call: nameOf(call),
        detail: error.message,
      });
    } finally {
      response.body.destroy();
    }
  }

  /** An API server sends the headers of a watch at once, so that they have the deadline of any other call. */
  async function openWatch(call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const deadline = new AbortController();
    const cancel = clock.setTimer(DEADLINE_MS, () => {
      const values = { server: cluster.server, call: nameOf(call), deadline: DEADLINE_MS, detail: 'none' };
      deadline.abort(new GateError('PG_API_TIMEOUT', values));
    });
    try {
      return await send(call, AbortSignal.any([signal, deadline.signal]));
    } finally {
      cancel();
    }
  }

  return {
    cluster: cluster.name,
    get: (path, query, options) => run({ method: 'GET', path, query, accept: options?.accept }, options),
    create: (path, body, query, options) => run({ method: 'POST', path, query, body }, options),
    jsonPatch: (path, operations, query, options) =>
      run(
        { method: 'PATCH', path, query, body: operations, contentType: 'application/json-patch+json' },
        options,
      ),
    strategicPatch: (path, body, query, options) =>
      run(
        { method: 'PATCH', path, query, body, contentType: 'application/strategic-merge-patch+json' },
        options,
      ),
    mergePatch: (path, body, query, options) =>
      run({ method: 'PATCH', path, query, body, contentType: 'application/merge-patch+json' }, options),
    apply: (path, body, options) =>
      run(
        {
          method: 'PATCH',
          path,
          query: { fieldManager: FIELD_MANAGER, force: true },
          body,
          contentType: 'application/apply-patch+yaml',
        },
        options,
      ),
    delete: (path, body, options) => run({ method: 'DELETE', path, body }, options),
    watch,
    async close() {
      closed = true;
      await agent.destroy();
    },
  };
}
