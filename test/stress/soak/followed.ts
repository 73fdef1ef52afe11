import { type Deployment, parseDeployment } from '../../../src/api/deployment.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { follow } from '../../support/follow.ts';

/** Undefined: it is not there. */
type State = Deployment | undefined;

/** All Deployments, as they are stored. */
export interface Followed {
  values(): Iterable<Deployment>;
  /** Until that one is as wanted; throws after so many seconds. */
  until(key: string, what: string, seconds: number, asWanted: (state: State) => boolean): Promise<State>;
  stop(): Promise<void>;
}

interface Waiting {
  readonly asWanted: (state: State) => boolean;
  readonly resolve: (state: State) => void;
}

/** One watch for hundreds that wait: polling would be most of the load. */
export async function followDeployments(api: ApiClient): Promise<Followed> {
  const waiting = new Map<string, Set<Waiting>>();
  const path = '/apis/apps/v1/deployments';
  const deployments = follow<Deployment>({ client: api, path, parse: parseDeployment }, (key, now) => {
    for (const one of waiting.get(key) ?? []) if (one.asWanted(now)) one.resolve(now);
  });
  await deployments.synced;
  return {
    values: () => deployments.values(),
    async until(key, what, seconds, asWanted) {
      const there = deployments.get(key);
      if (asWanted(there)) return there;
      const { promise, resolve, reject } = Promise.withResolvers<State>();
      const mine: Waiting = { asWanted, resolve };
      waiting.set(key, (waiting.get(key) ?? new Set()).add(mine));
      const late = setTimeout(() => {
        const last = JSON.stringify(deployments.get(key));
        reject(new Error(`${key} ${what}: not so after ${seconds} s; last seen: ${last}`));
      }, seconds * 1000);
      try {
        return await promise;
      } finally {
        clearTimeout(late);
        const others = waiting.get(key);
        others?.delete(mine);
        if (others?.size === 0) waiting.delete(key);
      }
    },
    stop: () => deployments.stop(),
  };
}
