import { isDeepStrictEqual } from 'node:util';
import jsonPatch, { type Operation } from 'fast-json-patch';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../../../src/json.ts';

export const SECRET = '/api/v1/namespaces/pullgate/secrets/pullgate-certificates';
export const CONFIGURATION = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pullgate';

export type CertificateClient = Pick<ApiClient, 'cluster' | 'get' | 'create' | 'mergePatch' | 'jsonPatch'>;

const refusal = (status: number, reason: string) => new ApiError(status, { reason, message: reason });

/**
 * The two objects as an API server keeps them: a resourceVersion for each change, a generation for each change of the
 * webhooks, patches refused if they name another resourceVersion or uid than the stored one.
 */
export function certificateCluster() {
  const objects = new Map<string, JsonObject>();
  const calls: string[] = [];
  let version = 0;

  function store(path: string, object: JsonObject): JsonObject {
    const before = objects.get(path);
    if (before !== undefined && isDeepStrictEqual(before, object)) return before;
    version += 1;
    const generation = Number(at(before, 'metadata', 'generation') ?? 0);
    const changed = !isDeepStrictEqual(before?.['webhooks'], object['webhooks']);
    const metadata = {
      ...asObject(object['metadata']),
      resourceVersion: String(version),
      uid: at(before, 'metadata', 'uid') ?? `uid-${version}`,
      generation: changed ? generation + 1 : generation,
    };
    const stored = { ...object, metadata };
    objects.set(path, stored);
    return stored;
  }

  function stored(path: string): JsonObject {
    const object = objects.get(path);
    if (object === undefined) throw refusal(404, 'NotFound');
    return object;
  }

  const client: CertificateClient = {
    cluster: 'memory',
    async get(path) {
      calls.push(`get ${path}`);
      return stored(path);
    },
    async create(path, body) {
      calls.push(`create ${path}`);
      const key = `${path}/${asString(at(body, 'metadata', 'name'))}`;
      if (objects.has(key)) throw refusal(409, 'AlreadyExists');
      return store(key, asObject(body));
    },
    async mergePatch(path, body) {
      calls.push(`patch ${path}`);
      const before = stored(path);
      for (const precondition of ['resourceVersion', 'uid']) {
        const wanted = at(body, 'metadata', precondition);
        if (wanted !== undefined && wanted !== at(before, 'metadata', precondition)) {
          throw refusal(409, 'Conflict');
        }
      }
      return store(path, asObject(merge(before, body)));
    },
    async jsonPatch(path, operations) {
      calls.push(`patch ${path}`);
      const before = structuredClone(stored(path));
      try {
        return store(path, jsonPatch.applyPatch(before, [...operations] as Operation[], true).newDocument);
      } catch (error) {
        throw error instanceof ApiError ? error : refusal(422, 'Invalid');
      }
    },
  };

  return {
    client,
    calls,
    get: (path: string) => objects.get(path),
    remove: (path: string) => objects.delete(path),
    /** The webhook configuration as its manifest has it. */
    register: () =>
      store(CONFIGURATION, {
        metadata: { name: 'pullgate' },
        webhooks: ['pause', 'reject'].map((mode) => ({
          name: `${mode}.pullgate.io`,
          clientConfig: { service: { name: 'pullgate', path: `/admit/${mode}` } },
        })),
      }),
    /** What each webhook trusts, PEM. */
    bundles: () =>
      asArray(at(objects.get(CONFIGURATION), 'webhooks')).map((webhook) =>
        decode(asString(at(webhook, 'clientConfig', 'caBundle')) ?? ''),
      ),
    overwriteBundles: (pem: string) =>
      store(CONFIGURATION, {
        ...stored(CONFIGURATION),
        webhooks: asArray(stored(CONFIGURATION)['webhooks']).map((webhook) => ({
          ...asObject(webhook),
          clientConfig: { ...asObject(at(webhook, 'clientConfig')), caBundle: encode(pem) },
        })),
      }),
    /** The Secret, decoded. */
    secret: (): Readonly<Record<string, string>> =>
      Object.fromEntries(
        Object.entries(asStringMap(at(objects.get(SECRET), 'data'))).map(([key, text]) => [
          key,
          decode(text),
        ]),
      ),
    /** As somebody with kubectl writes it, all of it. */
    writeSecret: (data: Readonly<Record<string, string>>) =>
      store(SECRET, {
        metadata: { name: 'pullgate-certificates', namespace: 'pullgate' },
        data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, encode(text)])),
      }),
    annotateSecret: (annotations: Readonly<Record<string, string>>) =>
      store(SECRET, asObject(merge(stored(SECRET), { metadata: { annotations } }))),
  };
}

/** RFC 7396. */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const merged: Record<string, unknown> = { ...asObject(target) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key], value);
  }
  return merged;
}

const encode = (text: string) => Buffer.from(text).toString('base64');
const decode = (text: string) => Buffer.from(text, 'base64').toString();
