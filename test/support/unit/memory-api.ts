import { isDeepStrictEqual } from 'node:util';
import type { Operation } from 'fast-json-patch';
import type { Clock } from '../../../src/clock.ts';
import type { Query } from '../../../src/cluster/api-call.ts';
import type { ApiClient, CallOptions } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import { createObjectCache, type Scope, type Trim } from '../../../src/cluster/object-cache.ts';
import { GateError } from '../../../src/errors.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import { applyJsonPatch } from './json-patch.ts';

export interface Call {
  readonly method: 'get' | 'create' | 'dryRun' | 'jsonPatch' | 'strategicPatch' | 'delete';
  readonly path: string;
  readonly body: unknown;
  /** Of the clock. */
  readonly at: number;
}

/** Of a collection: `pods`, `deployments`, `imagepreloads`, `nodes`. */
type Listener = (now: JsonObject | undefined, before: JsonObject | undefined) => void;

export const refusal = (status: number, reason: string, message = reason) =>
  new ApiError(status, { reason, message });

/** `name` or `name=value`, separated by commas. */
function selectedBy(selector: unknown): (object: JsonObject) => boolean {
  const wanted = (asString(selector) ?? '').split(',').filter((label) => label !== '');
  return (object) =>
    wanted.every((label) => {
      const [name = '', value] = label.split('=');
      const found = at(object, 'metadata', 'labels', name);
      return found !== undefined && (value === undefined || found === value);
    });
}

/** One page of a list. The token of the next one is its position. */
function page(all: readonly JsonObject[], query: Query = {}, { maxBytes, onBytes }: CallOptions = {}) {
  const from = Number(query['continue'] ?? 0);
  const to = from + Number(query['limit'] ?? all.length);
  const answer = { items: all.slice(from, to), metadata: to < all.length ? { continue: `${to}` } : {} };
  if (maxBytes === undefined && onBytes === undefined) return answer;
  const bytes = JSON.stringify(answer).length;
  if (bytes > (maxBytes ?? Number.POSITIVE_INFINITY)) throw new GateError('PG_API_ANSWER_SIZE');
  onBytes?.(bytes);
  return answer;
}

/** An API server in memory: keeps objects, records calls, refuses on demand, and has a watch that can be late. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one server with its state
export function memoryApi(clock: Clock) {
  const objects = new Map<string, JsonObject>();
  const calls: Call[] = [];
  const listeners = new Map<string, Listener>();
  const hanging: { readonly part: string; readonly ms: number }[] = [];
  const refusals: { when: (call: Call) => boolean; error: Error; times: number; carriesOut?: true }[] = [];
  const heldBack: { kind: string | undefined; readonly changes: (() => void)[] } = {
    kind: undefined,
    changes: [],
  };
  let uids = 0;

  function publish(path: string, now: JsonObject | undefined, before: JsonObject | undefined): void {
    const kind = path.split('/').at(-2) ?? '';
    const deliver = () => listeners.get(kind)?.(now, before);
    if (heldBack.kind === kind) heldBack.changes.push(deliver);
    else deliver();
  }

  /** Stores it as whoever else writes it: kubectl, a kubelet, a controller. Undefined: it is gone. */
  function put(path: string, object: JsonObject | undefined): void {
    const before = objects.get(path);
    if (object === undefined) objects.delete(path);
    else objects.set(path, object);
    if (object !== undefined || before !== undefined) publish(path, object, before);
  }

  function update(path: string, change: (object: JsonObject) => JsonObject): JsonObject {
    const before = objects.get(path);
    if (before === undefined) throw refusal(404, 'NotFound');
    const after = change(before);
    if (isDeepStrictEqual(after, before)) return before;
    const generation = at(before, 'metadata', 'generation');
    const counted =
      typeof generation === 'number' && !isDeepStrictEqual(after['spec'], before['spec'])
        ? { ...after, metadata: { ...asObject(after['metadata']), generation: generation + 1 } }
        : after;
    put(path, counted);
    return counted;
  }

  function unanswered(ms: number): Promise<never> {
    return new Promise((_, reject) => {
      const values = { server: 'memory', call: '', deadline: ms, detail: 'none' };
      if (ms < Number.POSITIVE_INFINITY)
        clock.setTimer(ms, () => reject(new GateError('PG_API_TIMEOUT', values)));
    });
  }

  async function serve<T>(call: Omit<Call, 'at'>, answer: () => T): Promise<T> {
    const seen = { ...call, at: clock.monotonic() };
    calls.push(seen);
    await Promise.resolve();
    const hangs = hanging.find(({ part }) => call.path.includes(part));
    if (hangs !== undefined) await unanswered(hangs.ms);
    const rule = refusals.find(({ when, times }) => times > 0 && when(seen));
    if (rule !== undefined) {
      rule.times -= 1;
      if (rule.carriesOut) answer();
      throw rule.error;
    }
    return answer();
  }

  let admit = (object: JsonObject) => object;
  const unused = () => {
    throw new Error('not part of this double');
  };
  const client: ApiClient = {
    cluster: 'memory',
    get: (path, query, options) =>
      serve({ method: 'get', path, body: undefined }, () => {
        const found = objects.get(path);
        if (found !== undefined) return found;
        const [kind = '', ...rest] = path.split('/').toReversed();
        const under = rest.toReversed().join('/');
        const items = [...objects].filter(([key]) => key.startsWith(under) && key.split('/').at(-2) === kind);
        if (items.length === 0 && !/^[a-z]+s$/.test(kind)) throw refusal(404, 'NotFound');
        return page(
          items.map(([, object]) => object).filter(selectedBy(query?.['labelSelector'])),
          query,
          options,
        );
      }),
    create: (path, body, query) =>
      serve({ method: query?.['dryRun'] === 'All' ? 'dryRun' : 'create', path, body }, () => {
        if (query?.['dryRun'] === 'All') return admit(asObject(body));
        const metadata = asObject(at(body, 'metadata'));
        const key = `${path}/${asString(metadata['name'])}`;
        if (objects.has(key)) throw refusal(409, 'AlreadyExists');
        uids += 1;
        const creationTimestamp = new Date(clock.now()).toISOString().replace(/\.\d+/, '');
        const given = { uid: `uid-${uids}`, creationTimestamp, generation: 1 };
        put(key, { ...asObject(body), metadata: { ...metadata, ...given } });
        return objects.get(key);
      }),
    jsonPatch: (path, operations) =>
      serve({ method: 'jsonPatch', path, body: operations }, () =>
        update(path.replace(/\/status$/, ''), (object) => {
          try {
            return applyJsonPatch(object, operations as Operation[]);
          } catch (error) {
            throw refusal(422, 'Invalid', String(error));
          }
        }),
      ),
    strategicPatch: (path, body) =>
      serve({ method: 'strategicPatch', path, body }, () =>
        update(path.replace(/\/status$/, ''), (object) => ({
          ...object,
          status: {
            ...asObject(object['status']),
            conditions: asArray(at(body, 'status', 'conditions')),
          },
        })),
      ),
    delete: (path, body) =>
      serve({ method: 'delete', path, body }, () => {
        const there = objects.get(path);
        if (there === undefined) throw refusal(404, 'NotFound');
        const uid = at(body, 'preconditions', 'uid');
        if (uid !== undefined && uid !== at(there, 'metadata', 'uid')) throw refusal(409, 'Conflict');
        put(path, undefined);
        return {};
      }),
    mergePatch: unused,
    apply: unused,
    watch: unused,
    close: async () => undefined,
  };

  return {
    client,
    objects,
    calls,
    put,
    update,
    called: (method: Call['method'], part: string) =>
      calls.filter((call) => call.method === method && call.path.includes(part)),
    /** The next calls of that kind are refused. */
    refuse(method: Call['method'], part: string, error: Error, times = 1): void {
      refusals.push({ when: (call) => call.method === method && call.path.includes(part), error, times });
    },
    /** The next call of that kind is carried out, but its answer is lost: this error is all that the caller gets. */
    loseAnswer(method: Call['method'], part: string, error: Error): void {
      const when = (call: Call) => call.method === method && call.path.includes(part);
      refusals.push({ when, error, times: 1, carriesOut: true });
    },
    /** From now on an object that is created by dry run is answered as admission makes it. */
    admits(change: (object: JsonObject) => JsonObject): void {
      admit = change;
    },
    /** From now on calls whose path has that part are not answered, and time out after that long. */
    hang(part: string, ms = Number.POSITIVE_INFINITY): void {
      hanging.push({ part, ms });
    },
    /** From now on the watch of that collection tells nothing, until it catches up. */
    holdBackWatch(kind: string): void {
      heldBack.kind = kind;
    },
    catchUp(): void {
      heldBack.kind = undefined;
      for (const deliver of heldBack.changes.splice(0)) deliver();
    },
    /** What a reflector would keep of a collection. A namespace that is followed anew is listed at once. */
    store<T>(
      kind: string,
      parse: (raw: unknown) => T,
      onChange: (key: string, now: T | undefined, before: T | undefined) => void,
      scope?: Scope<T>,
      trim?: Trim<T>,
    ) {
      const cache = createObjectCache<T>({
        ...{ parse, onChange, scope, trim },
        onTrouble(_what, _key, error) {
          throw error;
        },
      });
      listeners.set(kind, (now, before) => {
        if (now === undefined) cache.remove(cache.read(before));
        else cache.put(cache.read(now));
      });
      return {
        ...{ get: cache.get, values: cache.values, inNamespace: cache.inNamespace, trim: cache.trim },
        async refresh(key: string): Promise<void> {
          const [namespace, name] = key.split('/');
          const [path = ''] = [...objects.keys()].filter((one) =>
            one.endsWith(`/${namespace}/${kind}/${name}`),
          );
          cache.refresh(cache.read(await client.get(path)));
        },
        namespaceChanged(namespace: string): void {
          cache.namespaceChanged(namespace);
          if (scope?.isFollowed(namespace) !== true) return;
          for (const [path, raw] of objects)
            if (path.includes(`/namespaces/${namespace}/${kind}/`)) cache.put(cache.read(raw));
        },
      };
    },
  };
}
