import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isConflict, isInvalid, isNotFound } from '../cluster/api-error.ts';
import { type Deployment, isMarked, parseDeployment } from '../hold/deployment.ts';
import { createLimiter } from '../limiter.ts';
import type { Logger } from '../log.ts';
import { pausedAfterHold, releasePatch } from './release-patch.ts';

/** All mean: it changed since it was read. */
export const isStale = (error: unknown) => isConflict(error) || isInvalid(error) || isNotFound(error);

/** Nobody changes a Deployment that often in a row: it is refused for another reason. */
export const STALE_ATTEMPTS = 10;

/** At 20 ms for each, a thousand holds take 2 s. */
const RELEASES_AT_A_TIME = 16;

/** Releases them, whatever their preloads say. Throws, after all of them, if one could not be released. */
export async function releaseHolds(
  held: Iterable<Deployment>,
  client: Pick<ApiClient, 'get' | 'jsonPatch'>,
  { clock, log }: { readonly clock: Pick<Clock, 'monotonic'>; readonly log: Logger },
): Promise<void> {
  const releasing = createLimiter(RELEASES_AT_A_TIME, clock);
  const failures: unknown[] = [];
  const releases = [...held].map(async (deployment) => {
    try {
      await releasing(deployment.namespace, () => releaseWhateverComes(deployment, client, log));
    } catch (err) {
      log.error({ ...fieldsOf(deployment), err }, 'the hold could not be released');
      failures.push(err);
    }
  });
  await Promise.all(releases);
  if (failures.length > 0) throw new AggregateError(failures, 'some holds could not be released');
}

async function releaseWhateverComes(
  read: Deployment,
  client: Pick<ApiClient, 'get' | 'jsonPatch'>,
  log: Logger,
): Promise<void> {
  let deployment = read;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const paused = pausedAfterHold(deployment);
      await client.jsonPatch(deploymentPath(deployment), releasePatch(deployment, paused));
      log.info({ ...fieldsOf(deployment), reason: 'Shutdown' }, 'hold release');
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isStale(error) || attempt === STALE_ATTEMPTS) throw error;
    }
    deployment = parseDeployment(await client.get(deploymentPath(deployment)));
    if (!isMarked(deployment)) return;
  }
}

export function deploymentPath({ namespace, name }: Deployment): string {
  return `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
}

export function fieldsOf({ namespace, name }: Deployment): { deployment: string } {
  return { deployment: `${namespace}/${name}` };
}
