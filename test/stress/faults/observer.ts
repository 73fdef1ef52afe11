import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import { follow } from '../../support/follow.ts';
import type { Kind, Seen } from './history.ts';

/** Everything that is told of a namespace's Deployments and of the nodes; goes on where an API server restarts. */
export interface Observer {
  readonly seen: readonly Seen[];
  stop(): Promise<void>;
}

/** Begins with what is there. */
export async function observe(api: ApiClient, namespace: string): Promise<Observer> {
  const seen: Seen[] = [];
  const observed = (kind: Kind, path: string) => {
    const onChange = (_key: string, object: JsonObject | undefined, before: JsonObject | undefined) => {
      const name = asString(at(object ?? before, 'metadata', 'name')) ?? '';
      seen.push({ at: Date.now(), kind, name, object });
    };
    return follow({ client: api, path, parse: asObject }, onChange, 'fatal');
  };
  const reflectors = [
    observed('Deployment', `/apis/apps/v1/namespaces/${namespace}/deployments`),
    observed('Node', '/api/v1/nodes'),
  ];
  await Promise.all(reflectors.map(({ synced }) => synced));
  return {
    seen,
    async stop() {
      await Promise.all(reflectors.map((reflector) => reflector.stop()));
    },
  };
}
