import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isAlreadyExists, isConflict, isInvalid, isNotFound } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import type { Reflector } from '../cluster/reflector.ts';
import { createWorkQueue } from '../cluster/work-queue.ts';
import { type Deployment, parseDeployment } from '../hold/deployment.ts';
import { type Hold, parseHold } from '../hold/hold.ts';
import { awaitedPreload } from '../hold/preload-name.ts';
import { asArray, at } from '../json.ts';
import type { Logger } from '../log.ts';
import { API_GROUP_PATH, HELD_LABEL, HOLD_ANNOTATION } from '../names.ts';
import type { Assessment } from '../preload/assess.ts';
import type { ImagePreload } from '../preload/image-preload.ts';
import {
  type PreloadSettings,
  preloadManifest,
  preloadSpec,
  preloadsTheSame,
} from '../preload/preload-spec.ts';
import { decisionFact, stepFacts } from './hold-facts.ts';
import { type NextStep, nextStep } from './next-step.ts';
import { progressCondition } from './progress-condition.ts';
import { pausedAfterHold, releasePatch } from './release-patch.ts';

type Store<T> = Pick<Reflector<T>, 'get' | 'values'>;

export interface ReleaseControllerOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly writeEvent: (event: GateEvent) => void;
  readonly deployments: Store<Deployment>;
  readonly preloads: Store<ImagePreload>;
  /** The namespace's mode label. */
  readonly modeOf: (namespace: string) => string | undefined;
  readonly assessmentOf: (preloadKey: string) => Assessment | undefined;
  readonly settings: PreloadSettings;
}

/** Carries holds through: makes their ImagePreloads and releases them. */
export interface ReleaseController {
  /** When everything that is stored has been read. */
  start(): void;
  deploymentChanged(key: string): void;
  namespaceChanged(namespace: string): void;
  /**
   * Releases every hold there is, whatever its preload says. For a gate that goes away for good. Throws, after all of them,
   * if one could not be released.
   */
  releaseAll(): Promise<void>;
  stop(): Promise<void>;
}

/** Both mean: it changed since it was read. The watch brings the change, and with it the next look. */
const isStale = (error: unknown) => isConflict(error) || isInvalid(error) || isNotFound(error);

/** If the watch is late, or the refusal had another cause, look again by then. */
const STALE_RETRY_MS = 1000;
/** Nobody changes a Deployment that often in a row: it is refused for another reason. */
const RELEASE_ATTEMPTS = 10;

export function createReleaseController(options: ReleaseControllerOptions): ReleaseController {
  const { client, clock, random, log, writeEvent, deployments, preloads } = options;
  const queue = createWorkQueue({ name: 'release', reconcile, clock, log, random });

  async function reconcile(key: string): Promise<number | undefined> {
    const deployment = deployments.get(key);
    if (deployment === undefined) return undefined;
    const mode = options.modeOf(deployment.namespace);
    if (mode !== undefined) {
      const fact = decisionFact(deployment, clock.now());
      if (fact !== undefined) writeEvent(fact);
    }
    const step = nextStep({ deployment, mode, assessment: assessmentFor(deployment) });
    try {
      return await carryOut(deployment, step);
    } catch (error) {
      if (!isStale(error)) throw error;
      log.debug({ deployment: key, step: step.step, err: error }, 'changed meanwhile');
      return STALE_RETRY_MS;
    }
  }

  /** Of a preload that is really the one this hold needs: one that was forged or edited counts for nothing. */
  function assessmentFor(deployment: Deployment): Assessment | undefined {
    const hold = parseHold(deployment.annotations[HOLD_ANNOTATION]);
    if (hold === undefined) return undefined;
    const key = `${deployment.namespace}/${awaitedPreload(deployment, hold)}`;
    const there = preloads.get(key);
    if (there === undefined || there.deleting) return undefined;
    const needed = preloadSpec(deployment, hold, options.settings);
    if (there.owner?.uid !== deployment.uid || !preloadsTheSame(there.spec, needed)) return undefined;
    return options.assessmentOf(key);
  }

  async function carryOut(deployment: Deployment, step: NextStep): Promise<number | undefined> {
    switch (step.step) {
      case 'nothing':
        return undefined;
      case 'preload':
        return await ensurePreload(deployment, step.hold);
      case 'release':
      case 'drop':
        await takeOff(deployment, step);
        return undefined;
      case 'fail':
      case 'recover': {
        const body = progressCondition(step, clock.now());
        await client.strategicPatch(`${deploymentPath(deployment)}/status`, body);
        log.info({ ...fieldsOf(deployment), step: step.step }, 'progress condition written');
        return undefined;
      }
    }
  }

  async function takeOff(
    deployment: Deployment,
    step: NextStep & { step: 'release' | 'drop' },
  ): Promise<void> {
    await client.jsonPatch(deploymentPath(deployment), releasePatch(deployment, step.paused));
    const heldMs = step.step === 'release' ? clock.now() - Date.parse(step.hold.since) : undefined;
    log.info({ ...fieldsOf(deployment), reason: step.reason, heldMs }, `hold ${step.step}`);
    for (const event of stepFacts(deployment, step, clock.now())) writeEvent(event);
  }

  /** Makes the ImagePreload that the stored template needs. One that is not what would be made is made anew. */
  async function ensurePreload(deployment: Deployment, hold: Hold): Promise<number | undefined> {
    const spec = preloadSpec(deployment, hold, options.settings);
    const name = awaitedPreload(deployment, hold);
    const there = preloads.get(`${deployment.namespace}/${name}`);
    if (there !== undefined) {
      if (there.deleting) return STALE_RETRY_MS;
      if (there.owner?.uid === deployment.uid && preloadsTheSame(there.spec, spec)) return undefined;
      log.warn({ ...fieldsOf(deployment), preload: there.name }, 'not the preload that is needed: made anew');
      const body = { preconditions: { uid: there.uid } };
      await client.delete(`${collection(deployment)}/${there.name}`, body);
      return STALE_RETRY_MS;
    }
    try {
      await client.create(collection(deployment), preloadManifest(deployment, name, spec));
      log.info({ ...fieldsOf(deployment), preload: name, images: spec.images }, 'preload made');
    } catch (error) {
      // Not a stale read: the same object would be refused for ever.
      if (isInvalid(error)) throw new Error(`ImagePreload ${name} was refused`, { cause: error });
      if (!isAlreadyExists(error)) throw error;
    }
    return undefined;
  }

  async function releaseWhateverComes(read: Deployment): Promise<void> {
    let deployment = read;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const paused = pausedAfterHold(deployment);
        await client.jsonPatch(deploymentPath(deployment), releasePatch(deployment, paused));
        log.info({ ...fieldsOf(deployment), reason: 'Shutdown' }, 'hold release');
        return;
      } catch (error) {
        if (isNotFound(error)) return;
        if (!isStale(error) || attempt === RELEASE_ATTEMPTS) throw error;
      }
      deployment = parseDeployment(await client.get(deploymentPath(deployment)));
      if (deployment.annotations[HOLD_ANNOTATION] === undefined) return;
    }
  }

  return {
    deploymentChanged: (key) => queue.add(key),
    namespaceChanged(namespace) {
      for (const deployment of deployments.values()) {
        if (deployment.namespace === namespace) queue.add(`${namespace}/${deployment.name}`);
      }
    },
    async releaseAll() {
      // Asked for anew: the cache may lag behind what admission has just held.
      const list = await client.get('/apis/apps/v1/deployments', { labelSelector: HELD_LABEL });
      const failures: unknown[] = [];
      for (const deployment of asArray(at(list, 'items')).map(parseDeployment)) {
        try {
          await releaseWhateverComes(deployment);
        } catch (err) {
          log.error({ ...fieldsOf(deployment), err }, 'the hold could not be released');
          failures.push(err);
        }
      }
      if (failures.length > 0) throw new AggregateError(failures, 'some holds could not be released');
    },
    start: () => queue.start(),
    stop: () => queue.stop(),
  };
}

function collection({ namespace }: Deployment): string {
  return `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads`;
}

function deploymentPath({ namespace, name }: Deployment): string {
  return `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
}

function fieldsOf({ namespace, name }: Deployment): { deployment: string } {
  return { deployment: `${namespace}/${name}` };
}
