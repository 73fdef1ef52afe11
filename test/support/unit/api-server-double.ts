import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Cluster } from '../../../src/cluster/credentials.ts';

export interface Thing {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly spec: unknown;
  readonly status: unknown;
}

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
  /** The body as it came. */
  readonly text: string;
  /** Milliseconds, monotonic. */
  readonly at: number;
}

export type Handler = (seen: Seen, response: ServerResponse) => void;

interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly object: Thing;
}

export const THINGS = '/apis/test.pullgate.io/v1/things';

/** An API server that serves one collection, over TLS, and fails on demand. */
export type ApiServerDouble = Awaited<ReturnType<typeof startApiServerDouble>>;

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one server with its state
export async function startApiServerDouble() {
  const { certificate, key } = await serverCertificate();
  const things = new Map<string, Thing>();
  const changes: Change[] = [];
  const snapshots = new Map<string, { readonly version: number; readonly items: Thing[] }>();
  const watches = new Set<ServerResponse>();
  const requests: Seen[] = [];
  const routes = new Map<string, Handler>();
  const once: { readonly when: (seen: Seen) => boolean; readonly handler: Handler }[] = [];
  let version = 100;
  let compacted = 0;
  let uids = 0;
  let connections = 0;
  let goneAs: 'status' | 'event' = 'status';

  const server = createServer({ cert: certificate, key }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'https://double');
      const text = Buffer.concat(chunks).toString();
      const seen: Seen = {
        method: request.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: text === '' ? undefined : JSON.parse(text),
        text,
        at: performance.now(),
      };
      requests.push(seen);
      const special = once.findIndex(({ when }) => when(seen));
      const handler =
        special === -1
          ? (routes.get(`${seen.method} ${seen.path}`) ?? serve)
          : once.splice(special, 1)[0]?.handler;
      handler?.(seen, response);
    });
  });
  server.on('secureConnection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  function serve(seen: Seen, response: ServerResponse): void {
    if (seen.path !== THINGS) answer(404, status(404, 'NotFound'))(seen, response);
    else if (seen.query.has('watch')) watch(seen, response);
    else list(seen, response);
  }

  function list(seen: Seen, response: ServerResponse): void {
    const [id = `${version}-${snapshots.size}`, from = '0'] = (seen.query.get('continue') ?? '')
      .split('/')
      .filter(Boolean);
    const snapshot = snapshots.get(id) ?? { version, items: [...things.values()] };
    if (snapshot.version < compacted) {
      answer(410, status(410, 'Expired'))(seen, response);
      return;
    }
    snapshots.set(id, snapshot);
    const end = Number(from) + Number(seen.query.get('limit') ?? snapshot.items.length);
    const metadata = {
      resourceVersion: String(snapshot.version),
      ...(end < snapshot.items.length ? { continue: `${id}/${end}` } : {}),
    };
    const items = snapshot.items.slice(Number(from), end);
    const isMetadataOnly =
      seen.headers.accept?.includes('as=PartialObjectMetadataList;g=meta.k8s.io;v=v1') === true;
    const shown = isMetadataOnly ? items.map(({ metadata }) => ({ metadata })) : items;
    answer(200, { kind: 'ThingList', metadata, items: shown })(seen, response);
  }

  function watch(seen: Seen, response: ServerResponse): void {
    const from = Number(seen.query.get('resourceVersion'));
    const gone = from < compacted;
    if (gone && goneAs === 'status') {
      answer(410, status(410, 'Expired'))(seen, response);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (gone) {
      response.end(line({ type: 'ERROR', object: status(410, 'Expired') }));
      return;
    }
    for (const change of changes) if (change.version > from) send(response, change);
    watches.add(response);
    response.on('close', () => watches.delete(response));
  }

  function publish(type: Change['type'], key: string, object: Thing): void {
    const change = { type, version, object };
    changes.push(change);
    if (type === 'DELETED') things.delete(key);
    else things.set(key, object);
    for (const response of watches) send(response, change);
  }

  return {
    things,
    requests,
    /** As it answers without a route. */
    serve,
    cluster: (overrides: Partial<Cluster> = {}): Cluster => ({
      name: 'double',
      server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      ca: certificate,
      token: async () => undefined,
      ...overrides,
    }),
    get connections() {
      return connections;
    },
    get openWatches() {
      return watches.size;
    },
    /** Requests for the collection since the start. */
    lists: () => requests.filter((seen) => seen.path === THINGS && !seen.query.has('watch')),
    watchRequests: () => requests.filter((seen) => seen.path === THINGS && seen.query.has('watch')),

    put(name: string, spec: unknown = {}, statusPart: unknown = {}): void {
      const key = `default/${name}`;
      const before = things.get(key);
      version += 1;
      uids += before === undefined ? 1 : 0;
      const uid = before?.metadata.uid ?? `uid-${uids}`;
      const metadata = { namespace: 'default', name, uid, resourceVersion: String(version) };
      const object = { apiVersion: 'test.pullgate.io/v1', kind: 'Thing', metadata, spec, status: statusPart };
      publish(before === undefined ? 'ADDED' : 'MODIFIED', key, object);
    },
    remove(name: string): void {
      const key = `default/${name}`;
      const before = things.get(key);
      if (before === undefined) return;
      version += 1;
      publish('DELETED', key, {
        ...before,
        metadata: { ...before.metadata, resourceVersion: String(version) },
      });
    },
    /** Time passes for other collections, and the watches are told. */
    bookmark(claimed?: number): void {
      version += 1;
      const object = { kind: 'Thing', metadata: { resourceVersion: String(claimed ?? version) } };
      for (const response of watches) response.write(line({ type: 'BOOKMARK', object }));
    },
    /** Forgets the past: watches from before it, and lists begun before it, are gone. */
    compact(as: 'status' | 'event' = 'status'): void {
      version += 1;
      compacted = version;
      goneAs = as;
    },
    endWatches(): void {
      for (const response of watches) response.end();
      watches.clear();
    },
    cutWatches(): void {
      for (const response of watches) {
        response.write('{"type":"MODIFIED","object":{"metadata":{"na', () => response.socket?.destroy());
      }
      watches.clear();
    },
    /** Raw bytes into every watch. */
    write(bytes: Uint8Array): void {
      for (const response of watches) response.write(bytes);
    },
    route(method: string, path: string, handler: Handler): void {
      routes.set(`${method} ${path}`, handler);
    },
    /** The next request, or the next of that sort, gets this; several wait in a row. */
    next(handler: Handler, when: (seen: Seen) => boolean = () => true): void {
      once.push({ when, handler });
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function answer(code: number, body: unknown, headers: Record<string, string> = {}): Handler {
  return (_seen, response) => {
    response.writeHead(code, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
}

/** Says nothing, for ever. */
export const hang: Handler = () => undefined;

export const reset: Handler = (_seen, response) => {
  response.socket?.destroy();
};

export function status(code: number, reason: string, message: string = reason): unknown {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message };
}

function send(response: ServerResponse, { type, object }: Change): void {
  response.write(line({ type, object }));
}

function line(event: unknown): string {
  return `${JSON.stringify(event)}\n`;
}

async function serverCertificate(): Promise<{ certificate: string; key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const generated = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=double',
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + 3_600_000),
    extensions: [
      new BasicConstraintsExtension(true),
      new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    certificate: generated.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  };
}
