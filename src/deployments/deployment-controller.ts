import { LRUCache } from 'lru-cache';
import { type Awaited, allowedAt, lookAgainAt } from '../api/approval.ts';
import { type Deployment, isMarked, parseDeployment } from '../api/deployment.ts';
import { ownHold } from '../api/hold.ts';
import type { ImagePreload } from '../api/image-preload.ts';
import { DECIDED_ANNOTATION, HELD_LABEL, type Mode, NOT_BEFORE_ANNOTATION } from '../api/names.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isNotFound } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import { listPages } from '../cluster/list-pages.ts';
import type { Store } from '../cluster/object-cache.ts';
import { createWorkQueue } from '../cluster/work-queue.ts';
import type { Logger } from '../log.ts';
import { createLogLimit, FAILURE_RATE, PROGRESS_RATE } from '../log-limit.ts';
import type { Assessment } from '../preloads/assess/assess.ts';
import { floorOf, type PreloadSettings } from '../preloads/preload-spec.ts';
import { approvedEvent, awaitedEvent } from './approval-events.ts';
import { recordedEndEvents } from './end-events.ts';
import { createEnsurePreload, STALE_RETRY_MS } from './ensure-preload.ts';
import { decisionEvents, exceededEvent, stepEvents } from './hold-events.ts';
import { modeOf, parseNamespace } from './namespace-mode.ts';
import {
  type DropReason,
  exceededBeside,
  failStep,
  type NextStep,
  nextStep,
  preloadFor,
  type ReleaseReason,
} from './next-step.ts';
import { createOpenHolds, type HoldsOpen, waitsSince } from './open-holds.ts';
import {
  deploymentPath,
  type EndHoldsOptions,
  endHolds,
  fieldsOf,
  isStale,
  STALE_ATTEMPTS,
} from './release-holds.ts';
import { endRecord, progressCondition, releasePatch } from './release-patch.ts';
import { settingEvents } from './setting-events.ts';
import { createUnendedHolds } from './unended-holds.ts';

export interface DeploymentControllerOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly writeEvent: (event: GateEvent) => void;
  readonly deployments: Store<Deployment>;
  readonly preloads: Store<ImagePreload>;
  /** Undefined where nobody opted in. */
  readonly modeOf: (namespace: string) => Mode | undefined;
  /** What the hold of the Deployment waits for besides its images. */
  readonly awaitedOf: (deployment: Deployment) => Awaited | undefined;
  readonly assessmentOf: (preloadKey: string) => Assessment | undefined;
  /** Called with the key of an ImagePreload that is needed and not served yet. */
  readonly onPreloadAwaited: (preloadKey: string) => void;
  readonly settings: PreloadSettings;
  /** A hold was taken off, after so long. Not what was none, such as a copy of another Deployment's. */
  readonly onHoldEnded?: ((reason: ReleaseReason | DropReason, seconds: number) => void) | undefined;
}

/** Carries holds through: makes their ImagePreloads and releases them. */
export interface DeploymentController {
  /** When everything that is stored has been read. */
  start(): void;
  deploymentChanged(key: string): void;
  namespaceChanged(namespace: string): void;
  holds(): HoldsOpen;
  /**
   * Ends every hold there is, for a gate that goes away for good; see `endHolds`. Throws, after all of them, if one could not be
   * ended.
   */
  endAll(end: EndHoldsOptions['end']): Promise<void>;
  stop(): Promise<void>;
}

/** Including retries, so that a failure is reported within 15 s. */
const END = { deadlineMs: 12_000 };

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: reconcile and its steps share the caches of one controller
export function createDeploymentController(options: DeploymentControllerOptions): DeploymentController {
  const { client, clock, random, log, writeEvent, deployments, preloads } = options;
  const queue = createWorkQueue({ name: 'release', reconcile, clock, log, random });
  /** How often in a row a Deployment was refused as changed. */
  const stale = new Map<string, number>();
  const limitLog = createLogLimit(clock, FAILURE_RATE);
  const limitProgress = createLogLimit(clock, PROGRESS_RATE);
  const unended = createUnendedHolds({ clock, writeEvent });
  const rules = { alwaysPullImages: options.settings.alwaysPullImages };
  const open = createOpenHolds(clock);
  /** Ends of holds whose patch was sent and not confirmed: the answer may have been lost. By the Deployment's key. */
  const unconfirmed = new LRUCache<string, EndedHold>({ max: 1000 });
  const preload = createEnsurePreload({
    ...{ client, clock, log, limitLog, limitProgress, writeEvent, settings: options.settings },
    preloadOf: preloads.get,
    neededNow(deployment) {
      const cached = deployments.get(`${deployment.namespace}/${deployment.name}`);
      if (cached === undefined || cached.uid !== deployment.uid) return undefined;
      return preloadFor(cached, options.modeOf(cached.namespace), rules);
    },
    onPreloadAwaited: options.onPreloadAwaited,
    fail: (deployment, message) => apply(deployment, failStep(deployment, message)),
  });

  async function reconcile(key: string): Promise<number | undefined> {
    const deployment = deployments.get(key);
    await confirm(key, deployment);
    if (deployment === undefined) {
      stale.delete(key);
      return undefined;
    }
    const mode = options.modeOf(deployment.namespace);
    const assessment = assessmentFor(deployment, mode);
    if (mode !== undefined) writeEvents(deployment, mode, assessment);
    const awaited = options.awaitedOf(deployment);
    const step = nextStep({ deployment, mode, assessment, awaited, rules });
    open.awaits(deployment, step.step === 'await' ? step.awaited : undefined);
    try {
      const retryIn = await apply(deployment, step);
      stale.delete(key);
      return retryIn;
    } catch (error) {
      const attempt = (stale.get(key) ?? 0) + 1;
      stale.set(key, attempt);
      // For example, a policy refuses the release. The Event says so, and the release is retried less and less often.
      if (!isStale(error) || attempt > STALE_ATTEMPTS) throw error;
      log.debug({ deployment: key, step: step.step, err: error }, 'changed meanwhile');
      return STALE_RETRY_MS;
    }
  }

  function writeEvents(deployment: Deployment, mode: Mode, assessment: Assessment | undefined): void {
    const approved = approvedEvent(deployment);
    // In mode reject, an update that waits for an approval or a time is held as in mode pause.
    const isHeldAnyway =
      options.awaitedOf(deployment) !== undefined ||
      ownHold(deployment)?.approved !== undefined ||
      deployment.annotations[NOT_BEFORE_ANNOTATION] !== undefined;
    const events = [
      ...decisionEvents(deployment, isHeldAnyway ? 'pause' : mode, assessment, clock.now()),
      ...recordedEndEvents(deployment, clock.now()),
      ...(approved === undefined ? [] : [approved]),
      ...settingEvents(deployment, floorOf(options.settings)),
    ];
    for (const event of events) writeEvent(event);
    const exceeded = exceededBeside(deployment, mode, rules);
    if (exceeded !== undefined) writeEvent(exceededEvent(deployment, exceeded));
  }

  /** Returns in how many ms to look again. */
  function awaitEnd(
    deployment: Deployment,
    { hold, awaited }: NextStep & { step: 'await' },
  ): number | undefined {
    const assessment = assessmentFor(deployment, options.modeOf(deployment.namespace));
    writeEvent(awaitedEvent(deployment, hold, awaited, assessment));
    const again = lookAgainAt(awaited, clock.now());
    return again && Math.max(0, again - clock.now());
  }

  function assessmentFor(deployment: Deployment, mode: Mode | undefined): Assessment | undefined {
    const needed = preloadFor(deployment, mode, rules);
    if (needed === undefined) return undefined;
    const key = `${deployment.namespace}/${needed.name}`;
    const there = preloads.get(key);
    if (there === undefined || there.deleting) return undefined;
    if (!preload.isTheOne(there, deployment, needed)) return undefined;
    const assessment = options.assessmentOf(key);
    // Once a rollout is approved, the images are looked at again.
    return assessment?.allowedAt === allowedAt(deployment, ownHold(deployment), clock.now())
      ? assessment
      : undefined;
  }

  async function apply(deployment: Deployment, step: NextStep): Promise<number | undefined> {
    switch (step.step) {
      case 'nothing':
        return undefined;
      case 'preload':
        return await preload.ensure(deployment, step.preload);
      case 'await':
        return awaitEnd(deployment, step);
      case 'release':
        // Seen by a cache that may lag behind the one of the Deployments: a hold just made is not released for that.
        if (step.reason === 'OptedOut' && (await isStillHeldBy(deployment))) return STALE_RETRY_MS;
        await release(deployment, step);
        return undefined;
      case 'drop':
        await release(deployment, step);
        return undefined;
      case 'fail':
      case 'recover':
        await writeCondition(deployment, step);
        return undefined;
    }
  }

  async function writeCondition(
    deployment: Deployment,
    step: NextStep & { step: 'fail' | 'recover' },
  ): Promise<void> {
    unended.tried(deployment);
    try {
      const failure = step.step === 'fail' ? step.message : undefined;
      const body = progressCondition(deployment, failure, clock.now());
      await client.strategicPatch(`${deploymentPath(deployment)}/status`, body, {}, END);
    } catch (error) {
      // A release waits for it. Where it cannot fail, other Events say why.
      if (step.step === 'recover' && ownHold(deployment) !== undefined)
        unended.failed(deployment, step, error);
      throw error;
    }
    unended.ended(deployment);
    logStep(deployment, { step: step.step }, 'progress condition written');
  }

  /** Whether the hold would stay if it were for the namespace as it is stored now. */
  async function isStillHeldBy(deployment: Deployment): Promise<boolean> {
    const stored = parseNamespace(await client.get(`/api/v1/namespaces/${deployment.namespace}`));
    const step = nextStep({ deployment, mode: modeOf(stored), assessment: undefined, rules });
    return !(step.step === 'release' && step.reason === 'OptedOut');
  }

  async function release(
    deployment: Deployment,
    step: NextStep & { step: 'release' | 'drop' },
  ): Promise<void> {
    const assessment = assessmentFor(deployment, options.modeOf(deployment.namespace));
    const key = `${deployment.namespace}/${deployment.name}`;
    const record = step.step === 'release' ? endRecord(deployment, step.reason, clock.now()) : undefined;
    unended.tried(deployment);
    try {
      const patch = releasePatch(deployment, step.paused, { decided: record });
      await client.jsonPatch(deploymentPath(deployment), patch, {}, END);
    } catch (error) {
      unconfirmed.set(key, { deployment, step, assessment, record });
      unended.failed(deployment, step, error);
      throw error;
    }
    unconfirmed.delete(key);
    reportEnd({ deployment, step, assessment, record });
  }

  function logStep(deployment: Deployment, fields: object, message: string): void {
    limitProgress(deployment.namespace, (more) =>
      log.info({ ...fieldsOf(deployment), ...fields, ...more }, message),
    );
  }

  function reportEnd({ deployment, step, assessment }: EndedHold): void {
    unended.ended(deployment);
    const hold = ownHold(deployment);
    // The clock of the replica that made the hold may be ahead.
    const heldMs = hold && Math.max(0, clock.now() - waitsSince(deployment, hold, clock.now()));
    if (heldMs !== undefined) options.onHoldEnded?.(step.reason, heldMs / 1000);
    logStep(deployment, { reason: step.reason, heldMs }, `hold ${step.step}`);
    for (const event of stepEvents(deployment, step, assessment, clock.now(), rules)) writeEvent(event);
  }

  /**
   * Reports the end of a hold whose patch landed although its answer was lost. The retry of such a patch is refused, because the hold
   * is gone.
   */
  async function confirm(key: string, cached: Deployment | undefined): Promise<void> {
    const ended = unconfirmed.get(key);
    if (ended === undefined || (cached !== undefined && isMarked(cached))) return;
    // Where the namespace has no mode any more, Deployments without a hold are not cached.
    const stored = cached ?? (await storedDeployment(ended.deployment));
    unconfirmed.delete(key);
    if (stored !== undefined && hasLanded(ended, stored)) reportEnd(ended);
  }

  async function storedDeployment(deployment: Deployment): Promise<Deployment | undefined> {
    try {
      return parseDeployment(await client.get(deploymentPath(deployment)));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  return {
    holds: () => open.count(deployments.values()),
    deploymentChanged: (key) => queue.add(key),
    namespaceChanged(namespace) {
      for (const { name } of deployments.inNamespace(namespace)) queue.add(`${namespace}/${name}`);
    },
    async endAll(end) {
      // Asked for anew: the cache may lag behind what admission has just held. It alone knows of those without their label.
      const held = new Map<string, Deployment>();
      const add = (deployment: Deployment) => {
        if (isMarked(deployment)) held.set(deployment.uid, deployment);
      };
      for (const deployment of deployments.values()) add(deployment);
      await listPages(client, '/apis/apps/v1/deployments', {
        query: { labelSelector: HELD_LABEL },
        onPage(items) {
          for (const raw of items) add(parseDeployment(raw));
        },
      });
      await endHolds(held.values(), { client, clock, log, writeEvent, end });
    },
    start: () => queue.start(),
    stop: () => queue.stop(),
  };
}

/** A hold that was taken off, and what was known then. */
interface EndedHold {
  readonly deployment: Deployment;
  readonly step: NextStep & { readonly step: 'release' | 'drop' };
  readonly assessment: Assessment | undefined;
  /** The record of the decision that the patch writes; undefined if it leaves the stored one. */
  readonly record: string | undefined;
}

/**
 * Returns whether the Deployment is as this patch leaves it. Whenever a user ends a hold, admission writes another record of a
 * decision.
 */
function hasLanded({ deployment, step, record }: EndedHold, stored: Deployment): boolean {
  return (
    stored.uid === deployment.uid &&
    !isMarked(stored) &&
    stored.paused === step.paused &&
    stored.templateHash === deployment.templateHash &&
    stored.annotations[DECIDED_ANNOTATION] === (record ?? deployment.annotations[DECIDED_ANNOTATION])
  );
}
