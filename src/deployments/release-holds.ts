import { type Awaited, awaitedBeforeRelease } from '../api/approval.ts';
import { type Deployment, isMarked, parseDeployment } from '../api/deployment.ts';
import { digestToRestore, type Hold, ownHold } from '../api/hold.ts';
import { knownFailure } from '../api/rollout.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isConflict, isInvalid, isNotFound } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import type { JsonObject } from '../json.ts';
import { createLimiter } from '../limiter.ts';
import type { Logger } from '../log.ts';
import { endedEvent } from './end-events.ts';
import { parseNamespace } from './namespace-mode.ts';
import { pausedAfterHold, releasePatch } from './release-patch.ts';
import { runningTemplate } from './running-template.ts';

/** All mean: it changed since it was read. */
export const isStale = (error: unknown) => isConflict(error) || isInvalid(error) || isNotFound(error);

/** Nobody changes a Deployment that often in a row: it is refused for another reason. */
export const STALE_ATTEMPTS = 10;

/** At 20 ms for each, a thousand holds take 2 s. */
const RELEASES_AT_A_TIME = 16;

export interface EndHoldsOptions {
  readonly client: Pick<ApiClient, 'get' | 'jsonPatch'>;
  readonly clock: Pick<Clock, 'now' | 'monotonic' | 'setTimer'>;
  readonly log: Logger;
  readonly writeEvent: (event: GateEvent) => void;
  /**
   * How each hold ends: its rollout starts, or the running template is restored. By default a hold is released, unless its image is
   * known to be unavailable, or it waits for an approval or a time.
   */
  readonly end?: 'release' | 'revert' | undefined;
}

/** Ends them, for a gate that goes away. Throws, after all of them, if one could not be ended. */
export async function endHolds(held: Iterable<Deployment>, options: EndHoldsOptions): Promise<void> {
  const { clock, log } = options;
  const releasing = createLimiter(RELEASES_AT_A_TIME, clock);
  const failures: unknown[] = [];
  const releases = [...held].map(async (deployment) => {
    try {
      await releasing(deployment.namespace, () => endWhateverComes(deployment, options));
    } catch (err) {
      log.error({ ...fieldsOf(deployment), err }, 'the hold could not be ended');
      failures.push(err);
    }
  });
  await Promise.all(releases);
  if (failures.length > 0) throw new AggregateError(failures, 'some holds could not be ended');
}

async function endWhateverComes(read: Deployment, options: EndHoldsOptions): Promise<void> {
  const { client, clock, log, writeEvent } = options;
  let deployment = read;
  for (let attempt = 1; ; attempt += 1) {
    const hold = ownHold(deployment);
    const failure = knownFailure(deployment);
    const awaited = hold === undefined ? undefined : await awaitedBy(deployment, options);
    const template =
      hold === undefined ? undefined : await templateToRestore(deployment, hold, awaited, options);
    try {
      const paused = pausedAfterHold(deployment);
      await client.jsonPatch(deploymentPath(deployment), releasePatch(deployment, paused, { template }));
      const end = template === undefined ? 'release' : 'revert';
      log.info({ ...fieldsOf(deployment), reason: 'Shutdown', failure }, `hold ${end}`);
      if (hold !== undefined) writeEvent(endedEvent({ deployment, hold, awaited, end, now: clock.now() }));
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isStale(error) || attempt === STALE_ATTEMPTS) throw error;
    }
    deployment = parseDeployment(await client.get(deploymentPath(deployment)));
    if (!isMarked(deployment)) return;
  }
}

/** Returns what the hold waits for besides its images. */
async function awaitedBy(
  deployment: Deployment,
  { client, clock }: EndHoldsOptions,
): Promise<Awaited | undefined> {
  try {
    const namespace = parseNamespace(await client.get(`/api/v1/namespaces/${deployment.namespace}`));
    return awaitedBeforeRelease(deployment, namespace.requiresApproval, clock.now());
  } catch (error) {
    // The Deployment goes with it.
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Returns the template to go back to; undefined for a hold to release. */
async function templateToRestore(
  deployment: Deployment,
  hold: Hold,
  awaited: Awaited | undefined,
  { client, clock, end }: EndHoldsOptions,
): Promise<JsonObject | undefined> {
  const mayStart = awaited === undefined && knownFailure(deployment) === undefined;
  const wanted = end ?? (mayStart ? 'release' : 'revert');
  if (wanted === 'release') return undefined;
  const running = await runningTemplate(client, deployment, digestToRestore(hold), clock);
  if (running.kind === 'found') return running.template;
  if (running.kind === 'unanswered')
    throw new Error('the API server did not return the ReplicaSets of the Deployment in time');
  // Nothing to go back to: its Event says what starts now. A Deployment that stays paused for ever would be worse.
  return undefined;
}

export function deploymentPath({ namespace, name }: Deployment): string {
  return `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
}

export function fieldsOf({ namespace, name }: Deployment): { deployment: string } {
  return { deployment: `${namespace}/${name}` };
}
