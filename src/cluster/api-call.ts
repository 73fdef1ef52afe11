import { Agent } from 'undici';
import { GateError } from '../errors.ts';
import { asString, at } from '../json.ts';
import { ApiError } from './api-error.ts';
import type { Cluster } from './credentials.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export type Verb = 'get' | 'watch' | 'create' | 'patch' | 'delete';

/** One request to the API server. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly isWatch?: true;
  readonly path: string;
  readonly query?: Query | undefined;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string | undefined;
}

/**
 * 16 more than calls about namespaces take: for watches, each of which holds a connection, and for calls about the whole cluster.
 * There are only as many of both as the gate follows collections, and no webhook of a namespace can delay them.
 */
const MAX_CONNECTIONS = 80;

/** Returns the connections to the API server of this cluster. */
export function connectionsTo(cluster: Cluster): Agent {
  return new Agent({
    connections: MAX_CONNECTIONS,
    // HTTP/2 would put everything, watches too, behind the flow control and the fate of one connection.
    allowH2: false,
    // Below the 90 s after which a Go server closes an idle connection, so that no call meets one just closing.
    keepAliveTimeout: 60_000,
    // The client's deadlines bound every call, and the reader of a watch bounds that watch.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      ca: cluster.ca,
      cert: cluster.cert,
      key: cluster.key,
      rejectUnauthorized: cluster.skipTlsVerify !== true,
      ...(cluster.serverName === undefined ? {} : { servername: cluster.serverName }),
      timeout: 5000,
      // As client-go: load balancers forget idle connections after 60 s.
      keepAliveInitialDelay: 30_000,
    },
  });
}

const VERBS = { GET: 'get', POST: 'create', PATCH: 'patch', DELETE: 'delete' } as const;

export function verbOf({ method, isWatch }: Call): Verb {
  return isWatch ? 'watch' : VERBS[method];
}

/** Webhooks are about one kind, and most are about pods. While they hang, the Events that say so must not wait behind them. */
const OWN_SHARES: ReadonlySet<string> = new Set(['pods', 'events']);

/** Returns what shares the places for calls: a namespace has three shares. Undefined for calls about the whole cluster. */
export function shareOf({ path }: Call): string | undefined {
  const [, namespace, kind = ''] = /\/namespaces\/([^/]+)(?:\/([^/]+))?/.exec(path) ?? [];
  return namespace && `${namespace}/${OWN_SHARES.has(kind) ? kind : ''}`;
}

export function namespaceOf(call: Call): string | undefined {
  return shareOf(call)?.replace(/\/.*/, '');
}

export function nameOf({ method, path }: Call): string {
  return `${method} ${path}`;
}

/**
 * undici refuses to send a path with other characters, and then takes the connection of such a request for busy for good (8.12). No
 * name that an API server stores has one.
 */
export function encoded(path: string): string {
  return path.toWellFormed().replace(/[^!-~]/gu, encodeURIComponent);
}

export function queryString(query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters}`;
}

/**
 * JSON as Go's encoding/json writes it. The API server compares the texts where a JSON patch tests a value (evanphx/json-patch
 * v4), and its own has these characters escaped: a test of `a && b` would never hold.
 */
export function jsonText(value: unknown): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, escaped);
}

/** The value, or the text itself where it is not JSON. */
export function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** API servers give seconds, never a date. */
export function retryAfterMs(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : undefined;
}

export function retryAfterOf(error: unknown): number {
  return error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
}

export function isTransient(error: unknown): boolean {
  if (error instanceof ApiError) return error.status === 429 || error.status >= 500;
  return error instanceof GateError && error.code === 'PG_API_UNREACHABLE';
}

/** The codes of OpenSSL's certificate checks, as Node names them (`tls`, "X509 certificate error codes"). */
const CERTIFICATE_ERROR = /CERT|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)|CRL/;

export function isTlsError(error: unknown): boolean {
  const code = asString(at(error, 'code')) ?? '';
  return (
    code.startsWith('ERR_SSL_') ||
    code.startsWith('ERR_TLS_') ||
    code === 'EPROTO' ||
    CERTIFICATE_ERROR.test(code)
  );
}

export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // An AggregateError, of a host with several addresses, has an empty message.
  return error.message || asString(at(error, 'code')) || error.name;
}

export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
