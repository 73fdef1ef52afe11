import { isDeepStrictEqual } from 'node:util';
import { API_GROUP_PATH, REGISTERED_BY_LABEL } from '../api/names.ts';
import { type Clock, wait } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { ApiError, isForbidden, isNotFound } from '../cluster/api-error.ts';
import { GateError } from '../errors.ts';
import { asObject, asString, at, type JsonObject } from '../json.ts';
import type { Logger } from '../log.ts';
import { locate, readManifests } from './manifests.ts';
import { type WebhookOptions, webhookConfigurationByUrl, webhookUrls } from './webhook-configuration.ts';

export interface RegistrationOptions extends WebhookOptions {
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a gate process has put into a cluster. */
export interface Registration {
  /**
   * Takes the webhook configuration away, has the holds released, then takes away the CRD if a process made it, and with it
   * all ImagePreloads. RBAC, PriorityClass, policies and namespace stay. Does nothing when another gate process has taken over: the
   * holds are its own then.
   *
   * @throws as `register`, and what `releaseHolds` throws; what is still there then is taken over by the next process
   */
  unregister(releaseHolds: () => Promise<void>): Promise<void>;
}

/** The operator's own rights, not the gate's. */
type Admin = Pick<ApiClient, 'get' | 'apply' | 'delete'>;

const BY_PROCESS = 'process';
const IMAGE_PRELOADS = `${API_GROUP_PATH}/imagepreloads`;
/** A CRD is served within a second (API servers in high availability wait 5 s for each other). */
const CRD_DEADLINE_MS = 30_000;
const CRD_POLL_MS = 200;

/**
 * Creates in the cluster what a process beside it needs: namespace, ServiceAccount, RBAC, PriorityClass, policies, the CRD, and
 * last the webhook configuration. A CRD that no process created is not changed. Objects that a killed process left behind are
 * recognized by their label and taken over. After an error nothing is removed, and the next start continues from there.
 *
 * @throws GateError PG_ALREADY_INSTALLED, PG_REGISTRATION_RBAC, PG_REGISTRATION, and what ApiClient throws of PG_API_*
 */
export async function register(admin: Admin, options: RegistrationOptions): Promise<Registration> {
  const manifests = await readManifests();
  const webhooks = marked(webhookConfigurationByUrl(manifests.webhookConfiguration, options));
  const crd = marked(manifests.crd);

  await refuseInstalled(admin, webhooks);
  for (const object of manifests.base) await apply(admin, object);
  for (const object of manifests.policies) await applyPolicy(admin, object, options);
  await registerCrd(admin, crd, options);
  await apply(admin, webhooks);
  options.log.info({ url: options.url }, 'registered at the API server');

  return {
    async unregister(releaseHolds) {
      const there = await read(admin, webhooks);
      if (there !== undefined && !isDeepStrictEqual(webhookUrls(there), webhookUrls(webhooks))) {
        options.log.warn(
          { urls: webhookUrls(there) },
          'another Pullgate process has taken over the registration and the holds',
        );
        return;
      }
      await remove(admin, webhooks);
      await releaseHolds();
      if (isByProcess(await read(admin, crd))) await remove(admin, crd);
      options.log.info({ url: options.url }, 'every hold has ended, and the registration was removed');
    },
  };
}

async function refuseInstalled(admin: Admin, webhooks: JsonObject): Promise<void> {
  const there = await read(admin, webhooks);
  if (there === undefined || isByProcess(there)) return;
  throw new GateError('PG_ALREADY_INSTALLED', { name: asString(at(webhooks, 'metadata', 'name')) ?? '' });
}

async function registerCrd(admin: Admin, crd: JsonObject, options: RegistrationOptions): Promise<void> {
  // The definition of a process that has just ended may still be in deletion, together with its ImagePreloads. Applying to it would
  // not stop the deletion.
  await poll(options.clock, 'delete', crd, async () => {
    const there = await read(admin, crd);
    return at(there, 'metadata', 'deletionTimestamp') === undefined ? undefined : 'it is still being deleted';
  });
  const there = await read(admin, crd);
  if (there === undefined || isByProcess(there)) await apply(admin, crd);
  else options.log.info('the CustomResourceDefinition exists already and is not changed');

  // Rather than the condition Established, which comes a moment before the API server knows the path.
  await poll(options.clock, 'serve', crd, async () => {
    try {
      await call('list', 'imagepreloads', () => admin.get(IMAGE_PRELOADS, { limit: 1 }));
      return undefined;
    } catch (error) {
      if (isNotFound(error)) return JSON.stringify(at(await read(admin, crd), 'status', 'conditions') ?? []);
      throw error;
    }
  });
}

/** Until `lacking` says nothing is. */
async function poll(
  clock: Clock,
  verb: string,
  object: JsonObject,
  lacking: () => Promise<string | undefined>,
): Promise<void> {
  const end = clock.monotonic() + CRD_DEADLINE_MS;
  const never = new AbortController().signal;
  for (;;) {
    const detail = await lacking();
    if (detail === undefined) return;
    if (clock.monotonic() >= end) {
      throw new GateError('PG_REGISTRATION', { verb, resource: locate(object).resource, detail });
    }
    await wait(clock, CRD_POLL_MS, never);
  }
}

/** The label marks the objects that a process may remove, even after a `kill -9`. */
function marked(object: JsonObject): JsonObject {
  const metadata = asObject(object['metadata']);
  const labels = { ...asObject(metadata['labels']), [REGISTERED_BY_LABEL]: BY_PROCESS };
  return { ...object, metadata: { ...metadata, labels } };
}

function isByProcess(object: unknown): boolean {
  return at(object, 'metadata', 'labels', REGISTERED_BY_LABEL) === BY_PROCESS;
}

function apply(admin: Admin, object: JsonObject): Promise<unknown> {
  const { path, resource } = locate(object);
  return call('patch', resource, () => admin.apply(path, object));
}

/** An API server older than the supported ones does not serve ValidatingAdmissionPolicies. */
async function applyPolicy(
  admin: Admin,
  object: JsonObject,
  { unsupportedServer, log }: RegistrationOptions,
): Promise<void> {
  try {
    await apply(admin, object);
  } catch (error) {
    if (!isNotFound(error) || !unsupportedServer) throw error;
    log.warn(
      { resource: locate(object).resource },
      'this Kubernetes version does not serve the policy: left out',
    );
  }
}

/** `undefined` if it is not there. */
async function read(admin: Admin, object: JsonObject): Promise<unknown> {
  const { path, resource } = locate(object);
  try {
    return await call('get', resource, () => admin.get(path));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function remove(admin: Admin, object: JsonObject): Promise<void> {
  const { path, resource } = locate(object);
  try {
    await call('delete', resource, () => admin.delete(path));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A refusal becomes an error that says what was tried; a 404 stays what it is. */
async function call<T>(verb: string, resource: string, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status === 404) throw error;
    const code = isForbidden(error) ? 'PG_REGISTRATION_RBAC' : 'PG_REGISTRATION';
    throw new GateError(code, { verb, resource, detail: error.apiMessage || error.message }, error);
  }
}
