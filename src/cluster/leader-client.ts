import type { ApiClient, CallOptions } from './api-client.ts';

interface Leadership {
  isLeader(): boolean;
  /** How long it will be so without another renewal. */
  remainingMs(): number;
  /** Aborted, with the reason, when it is over without having been given back. */
  readonly lost: AbortSignal;
}

/**
 * The client of a leader. It begins and retries no write once another replica may be leading. A process that was paused for a while
 * notices it here, before its timers fire. Reads continue, because they do no harm.
 *
 * A write in flight is aborted when the Lease has expired by this replica's own clock, `LEASE_MS - RENEW_DEADLINE_MS` before
 * another replica can take it. API servers drop a request whose connection is closed. A write that arrives nevertheless has to be
 * fenced by its preconditions.
 */
export function whileLeading(client: ApiClient, { isLeader, remainingMs, lost }: Leadership): ApiClient {
  async function write(
    send: (options: CallOptions) => Promise<unknown>,
    options: CallOptions = {},
  ): Promise<unknown> {
    lost.throwIfAborted();
    if (!isLeader()) throw new Error('not the leader any more: nothing is written');
    const { signal, deadlineMs = Number.POSITIVE_INFINITY } = options;
    return await send({
      ...options,
      deadlineMs: Math.min(deadlineMs, remainingMs()),
      signal: signal === undefined ? lost : AbortSignal.any([signal, lost]),
    });
  }

  return {
    ...client,
    create: (path, body, query, options) => write((own) => client.create(path, body, query, own), options),
    jsonPatch: (path, operations, query, options) =>
      write((own) => client.jsonPatch(path, operations, query, own), options),
    mergePatch: (path, body, query, options) =>
      write((own) => client.mergePatch(path, body, query, own), options),
    strategicPatch: (path, body, query, options) =>
      write((own) => client.strategicPatch(path, body, query, own), options),
    apply: (path, body, options) => write((own) => client.apply(path, body, own), options),
    delete: (path, body, options) => write((own) => client.delete(path, body, own), options),
  };
}

/** The client with which a term ends: when the signal is aborted, every call of it is broken off, with the signal's reason. */
export function untilAborted(client: ApiClient, signal: AbortSignal): ApiClient {
  const bounded = (options: CallOptions = {}): CallOptions => ({
    ...options,
    signal: options.signal === undefined ? signal : AbortSignal.any([options.signal, signal]),
  });
  return {
    ...client,
    get: (path, query, options) => client.get(path, query, bounded(options)),
    create: (path, body, query, options) => client.create(path, body, query, bounded(options)),
    jsonPatch: (path, operations, query, options) =>
      client.jsonPatch(path, operations, query, bounded(options)),
    mergePatch: (path, body, query, options) => client.mergePatch(path, body, query, bounded(options)),
    strategicPatch: (path, body, query, options) =>
      client.strategicPatch(path, body, query, bounded(options)),
    apply: (path, body, options) => client.apply(path, body, bounded(options)),
    delete: (path, body, options) => client.delete(path, body, bounded(options)),
  };
}
