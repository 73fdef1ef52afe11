import { LRUCache } from 'lru-cache';
import { type Deployment, parseDeployment } from '../api/deployment.ts';
import type { ImagePreload } from '../api/image-preload.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { describeError, isForbidden, isInvalid, isUnanswered } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import { createLimiter } from '../limiter.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import { type CreateResult, createPreload, preloadsPath } from '../preloads/create-preload.ts';
import { isNeededPreload, type PreloadSettings, preloadSpec } from '../preloads/preload-spec.ts';
import { preloadCreatedEvents, refusedEvent, unansweredEvent } from './hold-events.ts';
import type { NeededPreload } from './next-step.ts';
import { deploymentPath, fieldsOf, STALE_ATTEMPTS } from './release-holds.ts';
import { templateFinder } from './template-finder.ts';

/** Sees to it that the ImagePreloads which Deployments need exist. */
export interface EnsurePreload {
  /** Creates the ImagePreload, or replaces one that is not what is needed. Returns in how many ms to look again. */
  ensure(deployment: Deployment, needed: NeededPreload): Promise<number | undefined>;
  /** Returns whether this is really the preload that is needed. One that was forged or edited does not count. */
  isTheOne(stored: ImagePreload, deployment: Deployment, needed: NeededPreload): boolean;
}

export interface EnsurePreloadOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limitLog: LogLimit;
  readonly limitProgress: LogLimit;
  readonly writeEvent: (event: GateEvent) => void;
  readonly settings: PreloadSettings;
  /** Returns the cached ImagePreload of this key. */
  readonly preloadOf: (key: string) => ImagePreload | undefined;
  /** Returns the ImagePreload that the cached Deployment needs now. */
  readonly neededNow: (deployment: Deployment) => NeededPreload | undefined;
  /** Called with the key of an ImagePreload that is needed and not served yet. */
  readonly onPreloadAwaited: (preloadKey: string) => void;
  /** Makes a waiting `kubectl rollout status` fail with this message. */
  readonly fail: (deployment: Deployment, message: string) => Promise<unknown>;
}

/** If the watch is late, or the refusal had another cause, look again by then. */
export const STALE_RETRY_MS = 1000;
/** An API server, or a webhook that it asks, that cannot answer for longer than this is reported on the Deployment. */
const REPORTED_AFTER_MS = 5000;
/** One attempt, so that its failure can be reported within 15 s, after a dry run of 4 s. Webhooks have 10 s by default. */
const CREATE = { retry: false, deadlineMs: 10_600 };
/**
 * ImagePreloads that are being created at a time. Each has the whole Deployment in memory, of up to 1.5 MiB, and may wait for a
 * webhook of its namespace.
 */
const CREATES_AT_A_TIME = 16;
const REMEMBERED = 1000;

export function createEnsurePreload(options: EnsurePreloadOptions): EnsurePreload {
  const { client, clock, log, limitLog, writeEvent, settings } = options;
  const creating = createLimiter(CREATES_AT_A_TIME, clock);
  const findTemplate = templateFinder(client, clock);
  /** How often an ImagePreload that is in the way was still there, by its uid. */
  const lingering = new LRUCache<string, number>({ max: REMEMBERED });
  /** Of `clock.monotonic`, when an ImagePreload that does not exist yet was first asked for, by its key. */
  const askedAt = new LRUCache<string, number>({ max: REMEMBERED });

  function isTheOne(stored: ImagePreload, deployment: Deployment, { why, from }: NeededPreload): boolean {
    // One of an earlier hold for the same template: what it saw, and when it began, is of the past.
    const over = why === 'Hold' && stored.status?.finishedAt !== undefined;
    if (over || stored.owner?.uid !== deployment.uid) return false;
    if (stored.trimmed !== undefined) return stored.spec.templateHash === deployment.templateHash;
    return isNeededPreload(stored, preloadSpec(deployment, from, settings), deployment, settings);
  }

  async function create(deployment: Deployment, needed: NeededPreload): Promise<number | undefined> {
    const whole = parseDeployment(await client.get(deploymentPath(deployment)));
    if (whole.uid !== deployment.uid || whole.templateHash !== deployment.templateHash) return STALE_RETRY_MS;
    const key = `${deployment.namespace}/${needed.name}`;
    const since = askedAt.get(key) ?? clock.monotonic();
    askedAt.set(key, since);
    const result = await ask(whole, needed, since);
    if (result.kind === 'Outdated') return STALE_RETRY_MS;
    if (result.kind === 'Refused') {
      const message = `ImagePreload ${needed.name} was refused: ${result.error.apiMessage}`;
      if (needed.why === 'Hold') await reportImpasse(deployment, needed.name, message);
      // Not a stale read: the same object would be refused for ever.
      throw isInvalid(result.error) ? new Error(message, { cause: result.error }) : result.error;
    }
    // The watch will show one that exists already in a moment.
    if (result.kind === 'Existing') return undefined;
    askedAt.delete(key);
    for (const event of preloadCreatedEvents(deployment, needed)) writeEvent(event);
    return undefined;
  }

  async function ask(
    deployment: Deployment,
    { name, from, why }: NeededPreload,
    since: number,
  ): Promise<CreateResult> {
    const preload = {
      deployment,
      name,
      from,
      // Of a rollout that has begun, the ReplicaSet reports that its pods are refused.
      runningTemplate: why === 'Hold' ? () => findTemplate(deployment, from.template) : undefined,
      isStillNeeded: () => options.neededNow(deployment)?.name === name,
    };
    try {
      return await createPreload(preload, { ...options, call: CREATE });
    } catch (error) {
      if (why === 'Hold' && isUnanswered(error) && clock.monotonic() - since >= REPORTED_AFTER_MS)
        writeEvent(unansweredEvent(deployment, name, describeError(error)));
      throw error;
    }
  }

  /** Reports an object that is still there 10 s after its deletion, because somebody has put a finalizer on it. */
  async function reportLingering(
    deployment: Deployment,
    { name, why }: NeededPreload,
    { uid }: ImagePreload,
  ): Promise<void> {
    const looks = (lingering.get(uid) ?? 0) + 1;
    lingering.set(uid, looks);
    if (why !== 'Hold' || looks !== STALE_ATTEMPTS) return;
    const remove = `kubectl -n ${deployment.namespace} patch ipl ${name} --type merge -p '{"metadata":{"finalizers":null}}'`;
    const message = `ImagePreload ${name} is being deleted, but its finalizers prevent that; remove them: ${remove}`;
    await reportImpasse(deployment, name, message);
  }

  /** Reports on the Deployment that nothing is being done: a policy, a quota, or no right to create an ImagePreload. */
  async function reportImpasse(deployment: Deployment, name: string, message: string): Promise<void> {
    writeEvent(refusedEvent(deployment, name, message));
    try {
      await options.fail(deployment, message);
    } catch (err) {
      // The impasse itself is what is to be logged.
      log.debug({ ...fieldsOf(deployment), err }, 'could not record the refusal');
    }
  }

  async function replace(
    deployment: Deployment,
    { name, why }: NeededPreload,
    stored: ImagePreload,
  ): Promise<void> {
    try {
      await remove(stored);
    } catch (error) {
      if (why === 'Hold' && (isForbidden(error) || isInvalid(error))) {
        const words = `ImagePreload ${name} does not match any more, and its deletion was refused`;
        await reportImpasse(deployment, name, `${words}: ${error.apiMessage}`);
      }
      throw error;
    }
  }

  async function remove({ namespace, name, uid }: ImagePreload): Promise<void> {
    limitLog(namespace, (fields) =>
      log.warn({ ...fields, preload: `${namespace}/${name}` }, 'replacing a preload that does not match'),
    );
    await client.delete(`${preloadsPath(namespace)}/${name}`, { preconditions: { uid } });
  }

  return {
    isTheOne,
    async ensure(deployment, needed) {
      const key = `${deployment.namespace}/${needed.name}`;
      const stored = options.preloadOf(key);
      if (stored === undefined) return await creating(deployment.namespace, () => create(deployment, needed));
      if (!stored.deleting && isTheOne(stored, deployment, needed)) {
        if (stored.trimmed !== undefined) options.onPreloadAwaited(key);
        return undefined;
      }
      if (stored.deleting) await reportLingering(deployment, needed, stored);
      else await replace(deployment, needed, stored);
      return STALE_RETRY_MS;
    },
  };
}
