import type { Deployment } from '../api/deployment.ts';
import type { RunningTemplate } from '../api/hold.ts';
import { type ImagePreload, parseImagePreload } from '../api/image-preload.ts';
import { API_GROUP_PATH } from '../api/names.ts';
import type { ApiClient, CallOptions } from '../cluster/api-client.ts';
import { ApiError, isAlreadyExists, isForbidden, isInvalid } from '../cluster/api-error.ts';
import type { GateEvent } from '../cluster/events.ts';
import type { JsonObject } from '../json.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import { podAsAdmitted } from './admitted-pod.ts';
import { podsRefusedEvent } from './pods-refused.ts';
import { isUsablePodSpec, type PreloadSettings, preloadManifest, preloadSpec } from './preload-spec.ts';

/** The ImagePreload to create for a Deployment. */
export interface PreloadToCreate {
  /** With its whole template. */
  readonly deployment: Deployment;
  readonly name: string;
  /** What its images are compared with. */
  readonly from: RunningTemplate;
  /** Returns the template that runs, if that is known. Absent if nobody would be told of a refused dry run. */
  readonly runningTemplate?: (() => Promise<JsonObject | undefined>) | undefined;
  /** Asked again after the dry run, which may take seconds. */
  readonly isStillNeeded?: () => boolean;
}

export interface CreatePreloadOptions {
  readonly client: ApiClient;
  readonly log: Logger;
  readonly limitLog: LogLimit;
  readonly limitProgress: LogLimit;
  readonly writeEvent: (event: GateEvent) => void;
  readonly settings: PreloadSettings;
  readonly call: CallOptions;
}

/**
 * - `Existing`: there is one of that name. Another replica was faster, or an old one is still being deleted.
 * - `Outdated`: it was no longer needed after the dry run.
 * - `Refused`: a policy, a quota or a missing right, which answers the same until somebody changes it.
 */
export type CreateResult =
  | { readonly kind: 'Created'; readonly preload: ImagePreload }
  | { readonly kind: 'Existing' | 'Outdated' }
  | { readonly kind: 'Refused'; readonly error: ApiError };

/**
 * Creates the ImagePreload for the pods of a Deployment as admission makes them. Both the leader and mode reject create ImagePreloads
 * here.
 *
 * @throws what ApiClient throws otherwise
 */
export async function createPreload(
  { deployment, name, from, runningTemplate, isStillNeeded }: PreloadToCreate,
  options: CreatePreloadOptions,
): Promise<CreateResult> {
  const { client, log, limitProgress, writeEvent, settings } = options;
  const { namespace } = deployment;
  const isUsable = (podSpec: JsonObject) => isUsablePodSpec(deployment, from, settings, podSpec);
  const pod = await podAsAdmitted({ deployment, isUsable, runningTemplate }, options);
  if (isStillNeeded?.() === false) return { kind: 'Outdated' };
  if (pod.refusal !== undefined) writeEvent(podsRefusedEvent(deployment, name, pod.refusal));
  const spec = preloadSpec(deployment, from, settings, pod.podSpec);
  const manifest = preloadManifest(deployment, name, spec, settings);
  try {
    const stored = await client.create(preloadsPath(namespace), manifest, {}, options.call);
    const { images } = spec;
    const fields = { deployment: `${namespace}/${deployment.name}`, preload: name, images };
    limitProgress(namespace, (more) =>
      log.info({ ...fields, source: pod.source, ...more }, 'preload created'),
    );
    return { kind: 'Created', preload: parseImagePreload(stored) };
  } catch (error) {
    if (error instanceof ApiError && (isForbidden(error) || isInvalid(error)))
      return { kind: 'Refused', error };
    if (isAlreadyExists(error)) return { kind: 'Existing' };
    throw error;
  }
}

/** Returns the path of the ImagePreloads of a namespace. */
export function preloadsPath(namespace: string): string {
  return `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads`;
}
