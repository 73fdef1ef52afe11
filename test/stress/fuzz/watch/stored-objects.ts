import {
  asArray,
  asNumber,
  asObject,
  asString,
  asStringMap,
  at,
  isObject,
  type JsonObject,
} from '../../../../src/json.ts';
import { deepJson } from './deep-json.ts';

/** The collections that the gate follows. */
export const KINDS = ['namespaces', 'nodes', 'deployments', 'imagepreloads', 'pods'] as const;
export type Kind = (typeof KINDS)[number];

/** In a text that is put: the resourceVersion that it is stored with. */
export const VERSION_MARK = '@version@';

export interface StoredObject {
  readonly kind: Kind;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  /** As it is sent. */
  readonly text: string;
  /** As JavaScript reads the text. */
  readonly value: JsonObject;
  readonly version: number;
}

export interface Change {
  readonly now: StoredObject | undefined;
  readonly before: StoredObject | undefined;
  readonly version: number;
}

export type Objects = ReturnType<typeof createObjects>;

/** Changes that a watch may begin before; more make a large object stay for long. */
const HISTORY = 100;

/** What an API server stores, as texts: what they say may be nothing that JSON.stringify would write. */
export function createObjects() {
  const stored = new Map<string, StoredObject>();
  const histories = new Map<Kind, Change[]>(KINDS.map((kind) => [kind, []]));
  const listeners = new Set<(kind: Kind, change: Change) => void>();
  let version = 1000;
  const compacted = new Map<Kind, number>();

  const keyOf = (kind: Kind, namespace: string, name: string) => `${kind}/${namespace}/${name}`;

  function publish(kind: Kind, change: Change): void {
    const history = histories.get(kind) ?? [];
    history.push(change);
    if (history.length > HISTORY) compacted.set(kind, history.shift()?.version ?? 0);
    for (const listener of listeners) listener(kind, change);
  }

  function put(kind: Kind, namespace: string, name: string, text: string): StoredObject {
    const key = keyOf(kind, namespace, name);
    const before = stored.get(key);
    version += 1;
    const sent = text.replaceAll(VERSION_MARK, String(version));
    const now = { kind, namespace, name, text: sent, value: asObject(JSON.parse(sent)), version };
    stored.set(key, now);
    publish(kind, { now, before, version });
    return now;
  }

  function remove(kind: Kind, namespace: string, name: string): boolean {
    const key = keyOf(kind, namespace, name);
    const before = stored.get(key);
    if (before === undefined) return false;
    stored.delete(key);
    version += 1;
    publish(kind, { now: undefined, before, version });
    return true;
  }

  /** RFC 6902, as far as the gate uses it. Undefined: a test failed, or a path is not there. */
  function patch(object: StoredObject, operations: readonly unknown[]): StoredObject | undefined {
    let value: JsonObject | undefined = object.value;
    for (const operation of operations) value = value && applied(value, operation);
    if (value === undefined) return undefined;
    const metadata = asObject(value['metadata']);
    const changesSpec = operations.some(
      (operation) => at(operation, 'op') !== 'test' && asString(at(operation, 'path'))?.startsWith('/spec'),
    );
    const generation = (asNumber(metadata['generation']) ?? 0) + Number(changesSpec);
    const patched = { ...value, metadata: { ...metadata, generation, resourceVersion: VERSION_MARK } };
    return put(object.kind, object.namespace, object.name, deepJson(patched));
  }

  return {
    put,
    remove,
    patch,
    get: (kind: Kind, namespace: string, name: string) => stored.get(keyOf(kind, namespace, name)),
    /** In the order of their keys. */
    list: (kind: Kind, namespace?: string): StoredObject[] =>
      [...stored.values()]
        .filter((one) => one.kind === kind && (namespace === undefined || one.namespace === namespace))
        .sort((a, b) => (keyOf(kind, a.namespace, a.name) < keyOf(kind, b.namespace, b.name) ? -1 : 1)),
    /** Undefined: it is too old to tell. */
    since(kind: Kind, from: number): readonly Change[] | undefined {
      if (from < (compacted.get(kind) ?? 0)) return undefined;
      return (histories.get(kind) ?? []).filter((change) => change.version > from);
    },
    /** Watches and lists that began before now are gone. */
    compact(kind: Kind): void {
      version += 1;
      compacted.set(kind, version);
      histories.set(kind, []);
    },
    listen(listener: (kind: Kind, change: Change) => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    get version() {
      return version;
    },
  };
}

/** Whether an object has the labels: `name`, `!name`, `name=value`, `name in (a,b)`, joined by commas. */
export function selects(selector: string | null, { value }: StoredObject): boolean {
  const labels = asStringMap(at(value, 'metadata', 'labels'));
  return (selector ?? '')
    .split(/,(?![^(]*\))/)
    .filter((part) => part !== '')
    .every((part) => {
      const [, inName = '', list] = /^(\S+) in \((.*)\)$/.exec(part) ?? [];
      if (list !== undefined) return list.split(',').includes(labels[inName] ?? '\0');
      if (part.startsWith('!')) return labels[part.slice(1)] === undefined;
      const [name = '', wanted] = part.split(/==?/);
      return wanted === undefined ? labels[name] !== undefined : labels[name] === wanted;
    });
}

function applied(root: JsonObject, operation: unknown): JsonObject | undefined {
  const steps = (asString(at(operation, 'path')) ?? '')
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  return changed(root, steps, (parent, name) => {
    const value = at(operation, 'value');
    const { [name]: there, ...others } = parent;
    switch (at(operation, 'op')) {
      case 'test':
        // As API servers do: what is not there equals null.
        return deepJson(there ?? null) === deepJson(value ?? null) ? parent : undefined;
      case 'remove':
        return there === undefined ? undefined : others;
      default:
        return { ...parent, [name]: value };
    }
  });
}

/** A copy with the object changed that the last step is in. The rest is shared: it may be large. */
function changed(
  object: JsonObject,
  [step, ...rest]: readonly string[],
  change: (parent: JsonObject, name: string) => JsonObject | undefined,
): JsonObject | undefined {
  if (step === undefined) return undefined;
  if (rest.length === 0) return change(object, step);
  const child = at(object, step);
  const next = isObject(child) ? changed(child, rest, change) : undefined;
  return next && { ...object, [step]: next };
}

/** The conditions of a strategic merge patch of a status, the only one that the gate sends. */
export function withConditions(object: StoredObject, body: unknown): readonly unknown[] {
  const status = asObject(object.value['status']);
  const conditions = asArray(at(body, 'status', 'conditions'));
  return [{ op: 'add', path: '/status', value: { ...status, conditions } }];
}
