import { type Deployment, parseDeployment } from '../api/deployment.ts';
import type { RunningTemplate } from '../api/hold.ts';
import { type ImagePreload, parseImagePreload } from '../api/image-preload.ts';
import { MODE_LABEL } from '../api/names.ts';
import type { PreloadProgress } from '../api/preload-progress.ts';
import { servesNothing } from '../api/rollout.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient, CallOptions } from '../cluster/api-client.ts';
import { ApiError, isConflict, isNotFound, isUnanswered } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference, preloadReference } from '../cluster/object-reference.ts';
import { asObject, at, type JsonObject } from '../json.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import type { BackgroundMaking } from './background-making.ts';
import { createPreload, preloadsPath } from './create-preload.ts';
import { isNeededPreload, type PreloadSettings, preloadSpec } from './preload-spec.ts';
import { CROWDED, failed, requestProgress, STALE, UNANSWERED } from './request-progress.ts';

/** An update of a Deployment in mode reject that waits for a preload. */
export interface PreloadRequest {
  readonly namespace: string;
  readonly name: string;
  readonly oldObject: JsonObject;
  readonly object: JsonObject;
  readonly username: string;
  readonly dryRun: boolean;
  /** Name of the ImagePreload. */
  readonly preload: string;
  readonly from: RunningTemplate;
}

export interface RequestedPreloadsOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limitLog: LogLimit;
  readonly limitProgress: LogLimit;
  readonly writeEvent: (event: GateEvent) => void;
  readonly settings: PreloadSettings;
  readonly making: BackgroundMaking;
  /** Finds the template of this hash among the ReplicaSets of the Deployment. */
  readonly runningTemplate: (deployment: Deployment, hash: string) => Promise<JsonObject | undefined>;
}

/**
 * For all calls together. The API server waits 5 s for admission: the rest is for the body of the review, and for a process
 * that is busy.
 */
const BUDGET_MS = 3000;
const CALL_MS = 1000;
/**
 * How long to wait for the dry run and the new ImagePreload, so that the answer can report a refusal. Both take about 50 ms. If
 * webhooks are slow, the update is answered before they are done.
 */
const MAKE_MS = 500;

/**
 * Ensures that the preload for a rejected update exists, and returns how far it is. On a dry run it creates nothing. Several
 * replicas may be called at once: the name makes it one preload, and the key makes it one Event.
 *
 * Any pod can send a review to Pullgate. So nothing is created before the API server has confirmed that the stored Deployment is
 * the old object of the review and that its namespace has this mode. Otherwise the outcome is `stale`.
 *
 * If the API server does not answer in time, the outcome is `unanswered` and not an error: with failurePolicy Ignore an error would
 * let the update pass.
 *
 * @throws what ApiClient throws otherwise, such as a missing right
 */
export async function requestPreload(
  request: PreloadRequest,
  options: RequestedPreloadsOptions,
): Promise<PreloadProgress> {
  try {
    return await progressOf(request, options);
  } catch (err) {
    if (!isUnanswered(err)) throw err;
    const deployment = `${request.namespace}/${request.name}`;
    options.limitLog('unanswered', (fields) =>
      options.log.warn(
        { ...fields, deployment, err },
        'an update is denied for now: the API server did not answer in time',
      ),
    );
    // A webhook for ImagePreloads may be down: the message tells the user which one.
    return err instanceof ApiError && err.status !== 429
      ? { ...UNANSWERED, trouble: err.apiMessage }
      : UNANSWERED;
  }
}

async function progressOf(
  request: PreloadRequest,
  options: RequestedPreloadsOptions,
): Promise<PreloadProgress> {
  const { client, clock, log, writeEvent, settings } = options;
  const { namespace, name, preload, from } = request;
  const endsAt = clock.monotonic() + BUDGET_MS;
  const call = (): CallOptions => ({
    deadlineMs: Math.max(0, Math.min(CALL_MS, endsAt - clock.monotonic())),
    retry: false,
  });
  const read = async (path: string): Promise<JsonObject | undefined> => {
    try {
      return asObject(await client.get(path, {}, call()));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };
  const live = await liveDeployment(read, request);
  if (live === undefined) {
    options.limitLog('stale', (fields) =>
      log.warn(
        { ...fields, deployment: `${namespace}/${name}` },
        'the old object of a review is not the stored Deployment',
      ),
    );
    return STALE;
  }

  const wanted = withUid(parseDeployment(request.object), live);
  const collection = preloadsPath(namespace);
  const there = await read(`${collection}/${preload}`);
  const stored = there === undefined ? undefined : parseImagePreload(there);
  if (stored !== undefined && isUsable(stored, wanted, from, settings)) {
    if (!request.dryRun) writeEvent(rejectedEvent(wanted, stored, request.username));
    return requestProgress(stored, clock.now(), servesNothing(live));
  }
  if (request.dryRun) return requestProgress(emptyPreload(clock.now()), clock.now());

  if (stored !== undefined && !stored.deleting) {
    const body = { preconditions: { uid: stored.uid } };
    await client.delete(`${collection}/${preload}`, body, call()).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    });
  }
  const waitMs = Math.max(0, Math.min(MAKE_MS, endsAt - clock.monotonic()));
  const asked = { preload, from, username: request.username };
  const created = await makeInBackground(wanted, asked, waitMs, options);
  if (created?.kind === 'Crowded') return CROWDED;
  // Let through instead, the update would be as if nobody had asked.
  if (created?.kind === 'Refused')
    return failed(`ImagePreload ${preload} was refused: ${created.error.apiMessage}`);
  return requestProgress(emptyPreload(clock.now()), clock.now());
}

/** A function of its own, because the making outlives the answer, and would keep whatever it can see of the review. */
async function makeInBackground(
  deployment: Deployment,
  { preload: name, from, username }: Pick<PreloadRequest, 'preload' | 'from' | 'username'>,
  waitMs: number,
  options: RequestedPreloadsOptions,
) {
  const { template, annotations, namespace } = deployment;
  const toMake = { namespace, name, keeps: { template, annotations } };
  return await options.making.make(toMake, waitMs, async () => {
    const runningTemplate = () => options.runningTemplate(deployment, from.template);
    const result = await createPreload(
      { deployment, name, from, runningTemplate },
      { ...options, call: { deadlineMs: CALL_MS, retry: false } },
    );
    if (result.kind === 'Created') options.writeEvent(rejectedEvent(deployment, result.preload, username));
    return result;
  });
}

async function liveDeployment(
  read: (path: string) => Promise<JsonObject | undefined>,
  request: PreloadRequest,
): Promise<Deployment | undefined> {
  const { namespace, name, oldObject } = request;
  const [object, space] = await Promise.all([
    read(`/apis/apps/v1/namespaces/${namespace}/deployments/${name}`),
    read(`/api/v1/namespaces/${namespace}`),
  ]);
  if (object === undefined || at(space, 'metadata', 'labels', MODE_LABEL) !== 'reject') return undefined;
  const live = parseDeployment(object);
  const old = parseDeployment(oldObject);
  // Not the resourceVersion: a status may have changed since.
  const same =
    live.uid === old.uid &&
    live.generation === old.generation &&
    live.revision === old.revision &&
    live.templateHash === old.templateHash;
  return same ? live : undefined;
}

/** The uid of the update's object may be empty, and its namespace and name are the request's anyway. */
function withUid(wanted: Deployment, { namespace, name, uid, revision }: Deployment): Deployment {
  return { ...wanted, templateHash: wanted.templateHash, namespace, name, uid, revision };
}

/** Not one of another Deployment, nor edited, nor one that has had its time. */
function isUsable(
  stored: ImagePreload,
  wanted: Deployment,
  from: RunningTemplate,
  settings: PreloadSettings,
): boolean {
  const over = stored.deleting || stored.status?.finishedAt !== undefined;
  if (over || stored.owner?.uid !== wanted.uid) return false;
  return isNeededPreload(stored, preloadSpec(wanted, from, settings), wanted, settings);
}

/** One of which nothing is known yet. */
function emptyPreload(now: number): ImagePreload {
  return { ...parseImagePreload({}), createdAt: now };
}

function rejectedEvent(
  deployment: Deployment,
  { name, uid, spec }: ImagePreload,
  username: string,
): GateEvent {
  const images = spec.images.map(({ image }) => image).join(', ');
  return {
    type: 'Normal',
    reason: 'RolloutRejected',
    action: 'Admit',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, name, uid),
    note:
      `update rejected until the nodes have ${images}; requested by ${username}; most clients retry, otherwise ` +
      `run the command again; see kubectl -n ${deployment.namespace} get ipl ${name}`,
    dedupKey: uid,
  };
}
