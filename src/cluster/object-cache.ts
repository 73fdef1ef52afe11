import { asString, at, MAX_DEPTH } from '../json.ts';
import { TooDeepObject } from './nesting.ts';
import { isSameData } from './same-data.ts';

/** Says which namespaces of a collection are followed. */
export interface Scope<T> {
  /** Returns whether the cache keeps every object of the namespace whole. */
  isFollowed(namespace: string): boolean;
  /** Returns what the cache keeps of an object in any other namespace: all of it, less of it, or nothing. */
  keepElsewhere(object: T): T | undefined;
  /** Returns false for an object of which `keepElsewhere` keeps nothing, where that is cheaper to tell than by `parse`. */
  mayKeep?(raw: unknown): boolean;
}

/** Keeps less of some objects of the namespaces that are followed. */
export interface Trim<T> {
  /** Returns whether the cache keeps the object whole. */
  isWhole(object: T): boolean;
  /** Returns what the cache keeps of any other object. */
  less(object: T): T;
}

export interface ObjectCacheOptions<T> {
  parse(raw: unknown): T;
  readonly scope?: Scope<T> | undefined;
  readonly trim?: Trim<T> | undefined;
  onChange(key: string, now: T | undefined, before: T | undefined): void;
  /** Called if `parse` has thrown, and the object is left out, or if `onChange` has. */
  onTrouble(what: 'parse' | 'onChange', key: string, error: unknown): void;
}

/** An object as `read` returns it. */
export interface Item<T> {
  /** `namespace/name`, or the name alone. */
  readonly key: string;
  readonly namespace: string;
  readonly uid: string | undefined;
  /** The resourceVersion. NaN if it is not a number, and then it is not compared; with etcd it is one. */
  readonly version: number;
  /** Undefined if `parse` has thrown, or if nothing of the object is kept. */
  readonly object: T | undefined;
  /** Whether the scope keeps less than the whole object. */
  readonly isPartial: boolean;
}

/** A list of one namespace that runs beside the watch. */
export interface Merge<T> {
  /** Takes over an object of the list, unless the watch has reported a newer change of it. */
  add(item: Item<T>): void;
  end(): void;
}

/** What is kept of a collection, to read. */
export interface Store<T> {
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  inNamespace(namespace: string): IterableIterator<T>;
}

/** The objects of a collection that are kept. No object can make a method throw, because all others depend on it. */
export interface ObjectCache<T> extends Store<T> {
  readonly size: number;
  read(raw: unknown): Item<T>;
  /** Takes over an object that the watch reports as it is now. */
  put(item: Item<T>): void;
  /** Forgets an object that the watch reports as deleted. */
  remove(item: Item<T>): void;
  /** Takes over an object that was read beside the watch, unless the watch has reported that it is gone, or a newer change of it. */
  refresh(item: Item<T>): void;
  /** Keeps no more of the object than `trim` says. That is not reported. */
  trim(key: string): void;
  /** Returns the item of a list with what `trim` keeps of it. */
  trimmed(item: Item<T>): Item<T>;
  /** Takes over a list of the whole collection, by key. Stops after each object, so that a long list need not block the event loop. */
  replace(found: ReadonlyMap<string, Item<T>>): Iterable<void>;
  /** Begins a list of one namespace. A namespace has one at a time. */
  merge(namespace: string): Merge<T>;
  /**
   * Applies the scope anew. In a namespace that is no longer followed, the cache keeps less. In one that is followed now, the cache
   * drops what is partial, and a list has to bring the whole.
   */
  namespaceChanged(namespace: string): void;
}

interface Entry<T> {
  readonly namespace: string;
  readonly uid: string | undefined;
  readonly version: number;
  readonly object: T;
  readonly isPartial: boolean;
  /** Whether a list of the namespace has brought it, which may be ahead of the watch. */
  readonly isMerged: boolean;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the operations of one cache over one state
export function createObjectCache<T>(options: ObjectCacheOptions<T>): ObjectCache<T> {
  const { parse, scope, onChange, onTrouble } = options;
  const entries = new Map<string, Entry<T>>();
  const byNamespace = new Map<string, Set<string>>();
  /** For each list of a namespace, the version at which each object was last seen to be gone, or not to be kept. */
  const forgotten = new Map<string, Map<string, number>>();

  function report(key: string, now: T | undefined, before: T | undefined): void {
    try {
      onChange(key, now, before);
    } catch (error) {
      onTrouble('onChange', key, error);
    }
  }

  function set(key: string, entry: Entry<T>): void {
    entries.set(key, entry);
    if (entry.namespace === '') return;
    const keys = byNamespace.get(entry.namespace);
    if (keys === undefined) byNamespace.set(entry.namespace, new Set([key]));
    else keys.add(key);
  }

  function drop(key: string): void {
    const before = entries.get(key);
    if (before === undefined) return;
    entries.delete(key);
    const keys = byNamespace.get(before.namespace);
    keys?.delete(key);
    if (keys?.size === 0) byNamespace.delete(before.namespace);
    report(key, undefined, before.object);
  }

  function store(item: Item<T>, isMerged = false): void {
    const { key, namespace, uid, version } = item;
    const { object, isPartial } = kept(item);
    if (object === undefined) forgotten.get(namespace)?.set(key, version);
    const known = entries.get(key);
    if (known !== undefined && (object === undefined || known.uid !== uid)) drop(key);
    if (object === undefined) return;
    const before = entries.get(key)?.object;
    const isUnchanged = before !== undefined && isSame(before, object);
    set(key, { namespace, uid, version, object: isUnchanged ? before : object, isPartial, isMerged });
    if (!isUnchanged) report(key, object, before);
  }

  /** Returns the item with what the scope keeps of it now. */
  function kept<I extends Item<T>>(item: I): I {
    const { object, namespace, key } = item;
    if (scope === undefined || object === undefined) return item;
    if (scope.isFollowed(namespace)) return item.isPartial ? { ...item, object: undefined } : item;
    try {
      const less = scope.keepElsewhere(object);
      return { ...item, object: less, isPartial: item.isPartial || less !== object };
    } catch (error) {
      onTrouble('parse', key, error);
      return { ...item, object: undefined };
    }
  }

  function read(raw: unknown): Item<T> {
    const name = asString(at(raw, 'metadata', 'name')) ?? '';
    const namespace = asString(at(raw, 'metadata', 'namespace')) ?? '';
    const key = namespace === '' ? name : `${namespace}/${name}`;
    const uid = asString(at(raw, 'metadata', 'uid'));
    const version = versionOf(at(raw, 'metadata', 'resourceVersion'));
    const item = { key, namespace, uid, version, isPartial: false };
    try {
      if ([name, namespace, uid].some((one) => (one?.length ?? 0) > NAME_CHARACTERS))
        throw new Error(`its name or uid is longer than ${NAME_CHARACTERS} characters`);
      if (raw instanceof TooDeepObject) throw new Error(`it nests deeper than ${MAX_DEPTH} levels`);
      const isSkipped = scope?.mayKeep?.(raw) === false && !scope.isFollowed(namespace);
      return isSkipped ? { ...item, object: undefined } : kept({ ...item, object: parse(raw) });
    } catch (error) {
      onTrouble('parse', key, error);
      return { ...item, object: undefined };
    }
  }

  function put(item: Item<T>): void {
    const known = entries.get(item.key);
    // Nothing else than a list is ahead of the watch, whatever an object says about its version.
    if (known?.isMerged === true && known.version > item.version) return;
    store(item);
  }

  function less(object: T): T {
    return options.trim === undefined || options.trim.isWhole(object) ? object : options.trim.less(object);
  }

  function* inNamespace(namespace: string): Generator<T> {
    for (const key of byNamespace.get(namespace) ?? []) {
      const entry = entries.get(key);
      if (entry !== undefined) yield entry.object;
    }
  }

  return {
    get: (key) => entries.get(key)?.object,
    *values() {
      for (const { object } of entries.values()) yield object;
    },
    inNamespace,
    get size() {
      return entries.size;
    },
    read,
    put,
    remove: (item) => put({ ...item, object: undefined }),
    refresh(item) {
      const known = entries.get(item.key);
      if (known !== undefined && known.uid === item.uid && !(known.version > item.version)) store(item, true);
    },
    trim(key) {
      const known = entries.get(key);
      if (known !== undefined) entries.set(key, { ...known, object: less(known.object) });
    },
    trimmed: (item) => (item.object === undefined ? item : { ...item, object: less(item.object) }),
    *replace(found) {
      for (const key of entries.keys()) {
        if (!found.has(key)) drop(key);
        yield;
      }
      for (const item of found.values()) {
        store(item);
        yield;
      }
    },
    merge(namespace) {
      const versions = new Map<string, number>();
      forgotten.set(namespace, versions);
      return {
        add(item) {
          const version = entries.get(item.key)?.version ?? versions.get(item.key);
          if (!(version !== undefined && version > item.version)) store(item, true);
        },
        end: () => void forgotten.delete(namespace),
      };
    },
    namespaceChanged(namespace) {
      for (const key of [...(byNamespace.get(namespace) ?? [])]) {
        const entry = entries.get(key);
        if (entry !== undefined) store({ key, ...entry }, entry.isMerged);
      }
    },
  };
}

/** apimachinery, util/validation: DNS1123SubdomainMaxLength. A longer one would stand in paths, Events and the log. */
const NAME_CHARACTERS = 253;

function isSame(before: unknown, now: unknown): boolean {
  try {
    return isSameData(before, now);
  } catch {
    // A change too many costs one more look. A change too few is never seen.
    return false;
  }
}

function versionOf(resourceVersion: unknown): number {
  const text = asString(resourceVersion) ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
