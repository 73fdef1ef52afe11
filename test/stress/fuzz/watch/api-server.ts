import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { asObject, asString, at } from '../../../../src/json.ts';
import { deepJson } from './deep-json.ts';
import {
  type Change,
  KINDS,
  type Kind,
  type Objects,
  type StoredObject,
  selects,
  VERSION_MARK,
  withConditions,
} from './stored-objects.ts';

/** A request of the gate's. */
export interface Call {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  /** Such as `pods`. */
  readonly resource: string;
  /** Empty for cluster-scoped objects and for lists over all namespaces. */
  readonly namespace: string;
  /** Empty for collections. */
  readonly name: string;
  readonly query: URLSearchParams;
  /** Undefined if there is none. */
  readonly body: unknown;
}

/** `hang`: nothing is said until the caller leaves. `reset`: the connection is cut. */
export type Answer =
  | { readonly status: number; readonly text: string; readonly headers?: Readonly<Record<string, string>> }
  | 'hang'
  | 'reset';

export interface ApiServerOptions {
  readonly objects: Objects;
  /** Called for each request but the watches. Undefined: as an API server answers it. */
  readonly special: (call: Call) => Answer | undefined;
  /** ms since the epoch, by the gate's clock. */
  readonly now: () => number;
  /** What has just been created. */
  readonly onCreated: (object: StoredObject) => void;
}

interface Watch {
  readonly kind: Kind;
  readonly response: ServerResponse;
  readonly send: (change: Change) => void;
}

export type ApiServer = Awaited<ReturnType<typeof startApiServer>>;

/**
 * An API server over HTTP whose objects are texts that nobody has validated. Its watches and lists can be told to go wrong in
 * each way that the API has.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one server with its state
export async function startApiServer({ objects, special, now, onCreated }: ApiServerOptions) {
  const watches = new Set<Watch>();
  const unanswered = new Map<ServerResponse, string>();
  const nextLists = new Map<Kind, string[]>();
  const nextWatches = new Map<Kind, string[]>();
  let uids = 0;

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const call = parseCall(request, Buffer.concat(chunks).toString());
      if (call.query.has('watch')) return watch(call, response);
      unanswered.set(response, `${call.method} ${call.url}`);
      response.on('close', () => unanswered.delete(response));
      const answer = special(call) ?? serve(call);
      if (answer === 'reset') request.socket.destroy();
      else if (answer !== 'hang') {
        response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
        response.end(answer.text);
      }
    });
  });
  // The gate has a connection to itself as long as it lives.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const stopListening = objects.listen((kind, change) => {
    for (const one of watches) if (one.kind === kind) one.send(change);
  });

  function watch(call: Call, response: ServerResponse): void {
    const kind = KINDS.find((one) => one === call.resource);
    if (kind === undefined) return void response.writeHead(404).end(status(404, 'NotFound').text);
    const text = call.query.get('resourceVersion') ?? '';
    const from = Number(text);
    const past = Number.isInteger(from) && from > 0 ? objects.since(kind, from) : undefined;
    const planned = nextWatches.get(kind)?.shift();
    const refused =
      !/^\d{1,15}$/.test(text) || from === 0
        ? status(400, 'BadRequest')
        : from > objects.version
          ? status(504, 'Timeout', `Too large resource version: ${from}, current: ${objects.version}`)
          : undefined;
    if (refused !== undefined) return void response.writeHead(refused.status).end(refused.text);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (planned !== undefined) response.write(planned);
    if (past === undefined) return void response.end(line('ERROR', status(410, 'Expired').text));
    const matches = (object: StoredObject | undefined) =>
      object !== undefined &&
      (call.namespace === '' || object.namespace === call.namespace) &&
      selects(call.query.get('labelSelector'), object);
    const send = ({ now: after, before, version }: Change) => {
      const [is, was] = [matches(after), matches(before)];
      if (after !== undefined && is) response.write(line(was ? 'MODIFIED' : 'ADDED', after.text));
      else if (before !== undefined && was)
        response.write(line('DELETED', atVersion(after ?? before, version)));
    };
    for (const change of past) send(change);
    const one = { kind, response, send };
    watches.add(one);
    response.on('close', () => watches.delete(one));
  }

  function serve(call: Call): Answer {
    const { method, resource, namespace, name } = call;
    const kind = KINDS.find((one) => one === resource);
    if (kind === undefined) {
      // Events, ServiceAccounts and the like: there are none, and they can be made.
      if (method === 'POST') return { status: 201, text: deepJson(call.body) };
      return name === '' ? list([], objects.version) : status(404, 'NotFound');
    }
    if (name === '') return method === 'POST' ? create(call, kind) : page(call, kind);
    const found = objects.get(kind, namespace, name);
    if (found === undefined) return status(404, 'NotFound');
    if (method === 'GET') return { status: 200, text: found.text };
    return method === 'DELETE' ? remove(call, found) : change(call, found);
  }

  function remove({ body }: Call, { kind, namespace, name, value }: StoredObject): Answer {
    const uid = at(body, 'preconditions', 'uid');
    if (uid !== undefined && uid !== at(value, 'metadata', 'uid')) return status(409, 'Conflict');
    objects.remove(kind, namespace, name);
    return { status: 200, text: '{}' };
  }

  function change({ body }: Call, found: StoredObject): Answer {
    const operations = Array.isArray(body) ? body : withConditions(found, body);
    const changed = objects.patch(found, operations);
    return changed === undefined ? status(422, 'Invalid') : { status: 200, text: changed.text };
  }

  /** In pages, as asked for; `continue` says the version of the first one and how many there have been. */
  function page(call: Call, kind: Kind): Answer {
    const odd = nextLists.get(kind)?.shift();
    if (odd !== undefined) return { status: 200, text: odd };
    const [version = objects.version, from = 0] = (call.query.get('continue') ?? '')
      .split('/')
      .filter((part) => part !== '')
      .map(Number);
    const all = objects
      .list(kind, call.namespace === '' ? undefined : call.namespace)
      .filter((object) => selects(call.query.get('labelSelector'), object));
    const to = from + Number(call.query.get('limit') ?? all.length);
    return list(
      all.slice(from, to).map(({ text }) => text),
      version,
      to < all.length ? `${version}/${to}` : undefined,
    );
  }

  function create({ resource, namespace, body, query }: Call, kind: Kind): Answer {
    const metadata = asObject(at(body, 'metadata'));
    const name = asString(metadata['name']) ?? '';
    if (objects.get(kind, namespace, name) !== undefined) return status(409, 'AlreadyExists');
    uids += 1;
    const given = {
      namespace,
      uid: `${resource}-${namespace}-${uids}`,
      resourceVersion: VERSION_MARK,
      generation: 1,
      creationTimestamp: new Date(now()).toISOString().replace(/\.\d+/, ''),
    };
    const text = deepJson({ ...asObject(body), metadata: { ...metadata, ...given } });
    if (query.has('dryRun')) return { status: 201, text };
    const created = objects.put(kind, namespace, name, text);
    queueMicrotask(() => onCreated(created));
    return { status: 201, text: created.text };
  }

  const queued = (map: Map<Kind, string[]>, kind: Kind, text: string) =>
    map.set(kind, [...(map.get(kind) ?? []), text]);

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** An event into every watch of that collection. */
    say(kind: Kind, type: string, text: string): void {
      for (const one of watches) if (one.kind === kind) one.response.write(line(type, text));
    },
    /** Ends them in the middle of an event, or in order. */
    cut(kind: Kind, midLine: boolean): void {
      for (const one of watches) {
        if (one.kind !== kind) continue;
        watches.delete(one);
        const { response } = one;
        if (midLine) response.write('{"type":"MODIFIED","object":{"metadata":{"na', () => response.destroy());
        else response.end();
      }
    },
    /** Answers the next list with this text. */
    nextList: (kind: Kind, text: string) => queued(nextLists, kind, text),
    /** Begins the next watch with this line. */
    nextWatch: (kind: Kind, type: string, text: string) => queued(nextWatches, kind, line(type, text)),
    /** Calls that hang, in words. */
    unanswered: () => [...unanswered.values()],
    async close(): Promise<void> {
      stopListening();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function parseCall(request: IncomingMessage, text: string): Call {
  const url = request.url ?? '/';
  const [path = '', query = ''] = url.split('?');
  const [, ...segments] = path.split('/').map(decoded);
  const rest = segments.slice(segments[0] === 'api' ? 2 : 3);
  const [first = '', namespace = '', ...inside] = rest;
  const isNamespaced = first === 'namespaces' && inside.length > 0 && inside[0] !== 'status';
  const [resource = '', name = ''] = isNamespaced ? inside : rest;
  return {
    method: request.method ?? '',
    url,
    resource,
    namespace: isNamespaced ? namespace : '',
    name,
    query: new URLSearchParams(query),
    body: text === '' ? undefined : JSON.parse(text),
  };
}

/** Objects of names that no API server takes have paths that are none. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export function status(code: number, reason: string, message = reason) {
  return {
    status: code,
    text: JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }),
  };
}

function list(texts: readonly string[], version: number, next?: string): Answer {
  const metadata = { resourceVersion: String(version), ...(next !== undefined && { continue: next }) };
  return {
    status: 200,
    text: `{"kind":"List","metadata":${JSON.stringify(metadata)},"items":[${texts.join(',')}]}`,
  };
}

/** A deletion has a version of its own. */
function atVersion({ text, version }: StoredObject, deletedAt: number): string {
  return text.replace(`"resourceVersion":"${version}"`, `"resourceVersion":"${deletedAt}"`);
}

function line(type: string, text: string): string {
  return `{"type":${JSON.stringify(type)},"object":${text}}\n`;
}
