import pino from 'pino';
import { API_GROUP_PATH } from '../../../src/api/names.ts';
import { systemClock } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { createReflector } from '../../../src/cluster/reflector.ts';
import { asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import { GROUP_LABEL } from '../../cluster/simulated/node-object.ts';
import type { Kind, Moment } from './history.ts';

/** Everything that is told of a namespace and of its nodes; goes on where an API server restarts. */
export interface Observer {
  readonly moments: readonly Moment[];
  /** What is there now, by the watch. */
  now(kind: Kind): JsonObject[];
  stop(): Promise<void>;
}

export async function observe(api: ApiClient, namespace: string, group: string): Promise<Observer> {
  const moments: Moment[] = [];
  const follow = (
    kind: Kind,
    path: string,
    query: { readonly labelSelector?: string; readonly fieldSelector?: string } = {},
  ) => {
    const reflector = createReflector<JsonObject>({
      client: api,
      path,
      query,
      parse: asObject,
      log: pino({ level: 'fatal' }),
      clock: systemClock,
      random: Math.random,
    });
    reflector.start({
      onChange(_key, now, before) {
        const metadata = at(now ?? before, 'metadata');
        const name = asString(at(metadata, 'name')) ?? '';
        const uid = asString(at(metadata, 'uid')) ?? '';
        moments.push({ at: performance.now(), kind, name, uid, object: now });
      },
    });
    return [kind, reflector] as const;
  };
  const apps = `/apis/apps/v1/namespaces/${namespace}`;
  const reflectors = new Map([
    follow('Deployment', `${apps}/deployments`),
    follow('ReplicaSet', `${apps}/replicasets`),
    follow('Pod', `/api/v1/namespaces/${namespace}/pods`),
    follow('ImagePreload', `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads`),
    follow('Node', '/api/v1/nodes', { labelSelector: `${GROUP_LABEL}=${group}` }),
    follow('UngatedEvent', `/api/v1/namespaces/${namespace}/events`, {
      fieldSelector: 'reason=UngatedRollout',
    }),
  ]);
  await Promise.all([...reflectors.values()].map(({ synced }) => synced));
  return {
    moments,
    now: (kind) => [...(reflectors.get(kind)?.values() ?? [])],
    async stop() {
      await Promise.all([...reflectors.values()].map((reflector) => reflector.stop()));
    },
  };
}
