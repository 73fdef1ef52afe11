import pino from 'pino';
import { systemClock } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { createReflector } from '../../../src/cluster/reflector.ts';
import { asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import type { Kind, Seen } from './history.ts';

/** Everything that is told of a namespace's Deployments and of the nodes; goes on where an API server restarts. */
export interface Observer {
  readonly seen: readonly Seen[];
  stop(): Promise<void>;
}

/** Begins with what is there. */
export async function observe(api: ApiClient, namespace: string): Promise<Observer> {
  const seen: Seen[] = [];
  const follow = (kind: Kind, path: string) => {
    const reflector = createReflector<JsonObject>({
      client: api,
      path,
      parse: asObject,
      log: pino({ level: 'fatal' }),
      clock: systemClock,
      random: Math.random,
    });
    reflector.start({
      onChange(_key, object, before) {
        const name = asString(at(object ?? before, 'metadata', 'name')) ?? '';
        seen.push({ at: Date.now(), kind, name, object });
      },
    });
    return reflector;
  };
  const reflectors = [
    follow('Deployment', `/apis/apps/v1/namespaces/${namespace}/deployments`),
    follow('Node', '/api/v1/nodes'),
  ];
  await Promise.all(reflectors.map(({ synced }) => synced));
  return {
    seen,
    async stop() {
      await Promise.all(reflectors.map((reflector) => reflector.stop()));
    },
  };
}
