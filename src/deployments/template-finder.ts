import type { Deployment } from '../api/deployment.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import type { JsonObject } from '../json.ts';
import { runningTemplate } from './running-template.ts';

/** Returns what finds the template of a hash among the ReplicaSets of a Deployment; undefined if that is not known. */
export function templateFinder(
  client: Pick<ApiClient, 'get'>,
  clock: Pick<Clock, 'setTimer'>,
): (deployment: Deployment, hash: string) => Promise<JsonObject | undefined> {
  return async (deployment, hash) => {
    const found = await runningTemplate(client, deployment, hash, clock);
    return found.kind === 'found' ? found.template : undefined;
  };
}
