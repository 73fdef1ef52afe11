import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient, CallOptions } from '../../../src/cluster/api-client.ts';
import { ApiError, isConflict, isNotFound } from '../../../src/cluster/api-error.ts';
import { GateError } from '../../../src/errors.ts';
import { asString, at, type JsonObject } from '../../../src/json.ts';
import { until } from '../../support/e2e/until.ts';
import type { Update } from './workload.ts';

/** One attempt: a refusal by the gate has the same status as that of an overloaded API server. */
const ONCE: CallOptions = { retry: false };
const PATIENCE_MS = 90_000;
const PAUSE_MS = 200;

/** A user's calls about the Deployments of a namespace. Where the API server is away they are made again. */
export interface Caller {
  /** @returns what is stored; undefined if the gate has refused it */
  update(name: string, update: Update): Promise<JsonObject | undefined>;
  read(name: string): Promise<JsonObject>;
  create(object: JsonObject): Promise<void>;
  /** Until it is gone. */
  remove(name: string): Promise<void>;
}

export function createCaller(api: ApiClient, namespace: string): Caller {
  const collection = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  const read = async (name: string) =>
    (await patiently(() => api.get(`${collection}/${name}`, {}, ONCE))) as JsonObject;
  return {
    read,
    async update(name, { verb, body }) {
      const path = `${collection}/${name}`;
      const call =
        verb === 'merge' || verb === 'revert'
          ? () => api.mergePatch(path, body, {}, ONCE)
          : () => api.jsonPatch(path, replacing(body), {}, ONCE);
      try {
        return (await patiently(call)) as JsonObject;
      } catch (error) {
        if (isRefusal(error)) return undefined;
        throw error;
      }
    },
    async create(object) {
      await patiently(() => api.create(collection, object, {}, ONCE));
    },
    async remove(name) {
      await patiently(() => api.delete(`${collection}/${name}`, { propagationPolicy: 'Background' }, ONCE));
      await until(
        `${name} is gone`,
        30,
        () => read(name).then(() => false, isNotFound),
        (gone) => gone,
      );
    },
  };
}

/** As a PUT of the whole object: what it does not have is gone. */
function replacing(body: JsonObject): readonly JsonObject[] {
  return [
    { op: 'add', path: '/metadata/labels', value: at(body, 'metadata', 'labels') },
    { op: 'add', path: '/metadata/annotations', value: at(body, 'metadata', 'annotations') },
    { op: 'replace', path: '/spec', value: body['spec'] },
  ];
}

async function patiently(call: () => Promise<unknown>): Promise<unknown> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (performance.now() > end || isRefusal(error) || !isAway(error)) throw error;
    }
    await wait(systemClock, PAUSE_MS, new AbortController().signal);
  }
}

/** Whether nobody has seen the request, or only somebody who was about to go or to come. */
function isAway(error: unknown): boolean {
  if (error instanceof GateError)
    return error.code === 'PG_API_UNREACHABLE' || error.code === 'PG_API_TIMEOUT';
  if (!(error instanceof ApiError)) return false;
  const { status, apiMessage } = error;
  const starting = status === 403 && apiMessage.includes('not yet ready to handle request');
  return starting || status >= 500 || status === 429 || isConflict(error);
}

function isRefusal(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.status === 429 || error.status === 403) &&
    error.apiMessage.includes('pullgate: ')
  );
}

export function nameOf(object: JsonObject): string {
  return asString(at(object, 'metadata', 'name')) ?? '';
}
