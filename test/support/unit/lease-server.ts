import type { ApiClient, CallOptions } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import { asObject, asString, at, type JsonObject } from '../../../src/json.ts';

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/pullgate/leases';
export const LEASE = `${LEASES}/pullgate`;

export interface LeaseServer {
  readonly lease: JsonObject | undefined;
  get(path: string): JsonObject;
  create(path: string, body: unknown): JsonObject;
  mergePatch(path: string, body: unknown): JsonObject;
  /** By hand. */
  remove(): void;
}

/** The part of an API server that keeps one Lease: it answers at once, and refuses what is outdated. */
export function leaseServer(): LeaseServer {
  let lease: JsonObject | undefined;
  let version = 100;

  function store(spec: JsonObject): JsonObject {
    for (const time of [spec['acquireTime'], spec['renewTime']]) {
      if (!/T\d\d:\d\d:\d\d\.\d{6}Z$/.test(String(time))) throw refusal(400, 'BadRequest');
    }
    version += 1;
    lease = { metadata: { name: 'pullgate', resourceVersion: String(version) }, spec };
    return lease;
  }
  function there(path: string): JsonObject {
    if (path !== LEASE || lease === undefined) throw refusal(404, 'NotFound');
    return lease;
  }

  return {
    get lease() {
      return lease;
    },
    get: there,
    create(path, body) {
      if (path !== LEASES) throw refusal(404, 'NotFound');
      if (lease !== undefined) throw refusal(409, 'AlreadyExists');
      return store(asObject(at(body, 'spec')));
    },
    mergePatch(path, body) {
      const before = there(path);
      const expected = asString(at(body, 'metadata', 'resourceVersion'));
      if (expected !== undefined && expected !== at(before, 'metadata', 'resourceVersion')) {
        throw refusal(409, 'Conflict');
      }
      return store({ ...asObject(before['spec']), ...asObject(at(body, 'spec')) });
    },
    remove() {
      lease = undefined;
    },
  };
}

function refusal(status: number, reason: string): ApiError {
  return new ApiError(status, { reason });
}

/** Carries one call to the server, and its answer back. */
type Carry = <T>(serve: () => T, options: CallOptions | undefined) => Promise<T>;

/** A client whose network is `carry`. Creating anything but a Lease is a write that always succeeds. */
export function leaseClient(server: LeaseServer, carry: Carry): ApiClient {
  const unused = () => {
    throw new Error('not part of this double');
  };
  return {
    cluster: 'memory',
    get: (path, _query, options) => carry(() => server.get(path), options),
    create: (path, body, _query, options) =>
      carry(() => (path === LEASES ? server.create(path, body) : {}), options),
    mergePatch: (path, body, _query, options) => carry(() => server.mergePatch(path, body), options),
    jsonPatch: unused,
    strategicPatch: unused,
    apply: unused,
    delete: unused,
    watch: unused,
    close: async () => undefined,
  };
}
