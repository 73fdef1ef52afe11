import type { Query } from '../../../src/cluster/api-call.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import type { JsonObject } from '../../../src/json.ts';

export const DEPLOYMENTS = '/apis/apps/v1/deployments';

interface Change {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: JsonObject;
}

interface Request {
  readonly namespace: string | undefined;
  /** Reads what is stored when it is called. */
  answer(): void;
  refuse(error: Error): void;
}

/** Pages have two objects, whatever is asked for, so that much happens between them. */
const PAGE = 2;

/**
 * An API server in memory with one collection. Nothing is answered and no event arrives before a test says so, and an aborted
 * request is answered like any other.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one server with its state
export function laggingServer() {
  const objects = new Map<string, JsonObject>();
  const changes: Change[] = [];
  const requests: Request[] = [];
  const snapshots = new Map<string, { readonly version: number; readonly items: readonly JsonObject[] }>();
  let version = 1;
  let compacted = 0;
  /** Where the watch is; undefined while there is none. */
  let watching: { at: number; wake: () => void; isCut: boolean } | undefined;

  function publish(type: Change['type'], key: string, object: JsonObject): void {
    changes.push({ version, type, object });
    if (type === 'DELETED') objects.delete(key);
    else objects.set(key, object);
  }

  function page(namespace: string | undefined, query: Query | undefined): JsonObject {
    const [id = `${version}-${namespace}-${snapshots.size}`, from = '0'] = String(query?.['continue'] ?? '')
      .split('/')
      .filter((part) => part !== '');
    const known = snapshots.get(id);
    if (known !== undefined && known.version < compacted)
      throw new ApiError(410, { reason: 'Expired', message: 'the continuation has expired' });
    const items = [...objects]
      .filter(([key]) => namespace === undefined || key.startsWith(`${namespace}/`))
      .map(([, object]) => object);
    const snapshot = known ?? { version, items };
    snapshots.set(id, snapshot);
    const end = Number(from) + PAGE;
    return {
      metadata: {
        resourceVersion: String(snapshot.version),
        ...(end < snapshot.items.length && { continue: `${id}/${end}` }),
      },
      items: snapshot.items.slice(Number(from), end),
    };
  }

  async function* watch(query: Query, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const own: NonNullable<typeof watching> = {
      at: Number(query['resourceVersion']),
      wake: () => undefined,
      isCut: false,
    };
    if (own.at < compacted) throw new ApiError(410, { reason: 'Expired', message: 'too old' });
    watching = own;
    let sent = own.at;
    const onAbort = () => own.wake();
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        signal.throwIfAborted();
        const next = changes.find((change) => change.version > sent && change.version <= own.at);
        if (next !== undefined) {
          sent = next.version;
          yield { type: next.type, object: next.object };
        } else if (own.isCut) return;
        else
          await new Promise<void>((resolve) => {
            own.wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (watching === own) watching = undefined;
    }
  }

  const client: Pick<ApiClient, 'cluster' | 'get' | 'watch'> = {
    cluster: 'lagging',
    get: (path, query) =>
      new Promise((resolve, reject) => {
        const namespace = /\/namespaces\/([^/]+)\//.exec(path)?.[1];
        requests.push({
          namespace,
          refuse: reject,
          answer() {
            try {
              resolve(page(namespace, query));
            } catch (error) {
              reject(error);
            }
          },
        });
      }),
    watch: (_path, query, signal) => watch(query, signal),
  };

  return {
    client: client as ApiClient,
    objects,
    /** Those that wait for an answer. */
    requests,
    get version() {
      return version;
    },
    put(namespace: string, name: string, fields: JsonObject = {}): void {
      const key = `${namespace}/${name}`;
      const before = objects.get(key) as { metadata: { uid: string } } | undefined;
      version += 1;
      const uid = before?.metadata.uid ?? `uid-${version}`;
      const metadata = { namespace, name, uid, resourceVersion: String(version) };
      publish(before === undefined ? 'ADDED' : 'MODIFIED', key, { metadata, ...fields });
    },
    remove(namespace: string, name: string): void {
      const key = `${namespace}/${name}`;
      const before = objects.get(key) as { metadata: JsonObject } | undefined;
      if (before === undefined) return;
      version += 1;
      publish('DELETED', key, {
        ...before,
        metadata: { ...before.metadata, resourceVersion: String(version) },
      });
    },
    /** So many more changes arrive. Without a number, all of them. */
    deliver(count = Number.POSITIVE_INFINITY): void {
      if (watching === undefined) return;
      const { at } = watching;
      const due = changes.filter((change) => change.version > at).slice(0, count);
      watching.at = due.at(-1)?.version ?? at;
      watching.wake();
    },
    /** Answers one of the requests, counted from the oldest. */
    answer(index = 0): void {
      requests.splice(index % Math.max(1, requests.length), 1)[0]?.answer();
    },
    refuse(error: Error): void {
      requests.shift()?.refuse(error);
    },
    cut(): void {
      if (watching === undefined) return;
      watching.isCut = true;
      watching.wake();
    },
    /** Forgets what has happened so far. */
    compact(): void {
      version += 1;
      compacted = version;
      this.cut();
    },
  };
}
