import type { Deployment } from '../api/deployment.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { ApiError, isConflict, isMissingRight, isNotFound, isUnanswered } from '../cluster/api-error.ts';
import { listPages } from '../cluster/list-pages.ts';
import { GateError } from '../errors.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../json.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import { dryRunPod, placedAs } from './dry-run-pod.ts';

/** What is known of the pods that a Deployment's template will make. */
export interface AdmittedPod {
  readonly source: 'DryRun' | 'RunningPod' | 'Template';
  /** Spec of the pods, or undefined if only the template is known. */
  readonly podSpec: JsonObject | undefined;
  /** The message with which a dry run of such a pod was refused, although a pod of the running version was admitted. */
  readonly refusal?: string;
}

export interface AdmittedPodInput {
  /** With its whole template. */
  readonly deployment: Deployment;
  /** Returns whether an ImagePreload can carry what is needed of this pod spec. */
  readonly isUsable: (podSpec: JsonObject) => boolean;
  /** Returns the template that runs, if that is known. Called only after a refusal. Absent if the refusal would not be reported. */
  readonly runningTemplate?: (() => Promise<JsonObject | undefined>) | undefined;
}

export interface AdmittedPodOptions {
  readonly client: Pick<ApiClient, 'get' | 'create'>;
  readonly log: Logger;
  readonly limitLog: LogLimit;
}

/**
 * A webhook that hangs for this dry run hangs for the puller pods as well, and API servers wait 10 s for it by default. Both
 * together have to be reported within 15 s.
 */
const DRY_RUN_MS = 4000;
const READ_MS = 2000;
/** Pods that are too large to share a page, one call each: enough to find one that is not ending. */
const PODS_LIMIT = 20;

type Answer =
  | { readonly kind: 'Admitted'; readonly podSpec: JsonObject }
  | { readonly kind: 'Refused'; readonly words: string }
  | { readonly kind: 'Unusable'; readonly error: unknown };

/**
 * Asks the API server for a pod of the Deployment as it would be stored, by a dry run: admission plugins, webhooks and policies decide
 * where pods land and what they pull. Without a usable answer, a running pod says where pods land.
 *
 * @throws what ApiClient throws if that says nothing about the pod, such as the end of a leader's term
 */
export async function podAsAdmitted(
  { deployment, isUsable, runningTemplate }: AdmittedPodInput,
  options: AdmittedPodOptions,
): Promise<AdmittedPod> {
  const answer = await dryRun(deployment, deployment.template, options);
  if (answer.kind === 'Admitted') {
    const podSpec = await withoutAccountSecrets(deployment, answer.podSpec, options);
    if (isUsable(podSpec)) return { source: 'DryRun', podSpec };
  } else report(deployment, answer, options);

  const refusal =
    answer.kind === 'Refused' && runningTemplate !== undefined
      ? await refusalOfNewOnly(deployment, answer.words, runningTemplate, options)
      : undefined;
  const more = refusal === undefined ? {} : { refusal };
  const own = asObject(deployment.template['spec']);
  const running = await runningPod(deployment, options);
  if (running !== undefined) {
    const podSpec = placedAs(running, own);
    if (isUsable(podSpec)) return { source: 'RunningPod', podSpec, ...more };
  }
  return { source: 'Template', podSpec: isUsable(own) ? own : undefined, ...more };
}

async function dryRun(
  deployment: Deployment,
  template: JsonObject,
  { client }: AdmittedPodOptions,
): Promise<Answer> {
  const path = `/api/v1/namespaces/${deployment.namespace}/pods`;
  try {
    const pod = await client.create(
      path,
      dryRunPod(deployment, template),
      { dryRun: 'All' },
      { deadlineMs: DRY_RUN_MS, retry: false },
    );
    return { kind: 'Admitted', podSpec: asObject(at(pod, 'spec')) };
  } catch (error) {
    return answerOf(error);
  }
}

function answerOf(error: unknown): Answer {
  if (isAboutThePod(error)) return { kind: 'Refused', words: error.apiMessage };
  if (error instanceof ApiError || isUnanswered(error) || isUnreadable(error))
    return { kind: 'Unusable', error };
  throw error;
}

/** A quota is about how many pods there are, and the dry run itself may be what is not possible. */
function isAboutThePod(error: unknown): error is ApiError {
  if (!(error instanceof ApiError)) return false;
  const { apiMessage } = error;
  if (isUnanswered(error) || isMissingRight(error) || isNotFound(error) || isConflict(error)) return false;
  // ResourceQuota, and apiserver/pkg/admission/plugin/webhook/errors, NewDryRunUnsupportedErr.
  return !['exceeded quota', 'does not support dry run'].some((words) => apiMessage.includes(words));
}

const UNREADABLE: ReadonlySet<string> = new Set([
  'PG_API_ANSWER',
  'PG_API_ANSWER_SIZE',
  'PG_API_ANSWER_DEPTH',
]);

function isUnreadable(error: unknown): boolean {
  return error instanceof GateError && UNREADABLE.has(error.code);
}

function report(
  { namespace, name }: Deployment,
  answer: Exclude<Answer, { kind: 'Admitted' }>,
  { log, limitLog }: AdmittedPodOptions,
): void {
  const deployment = `${namespace}/${name}`;
  limitLog(namespace, (fields) => {
    const about = { ...fields, deployment };
    if (answer.kind === 'Refused')
      log.info({ ...about, words: answer.words }, 'a dry run of a pod was refused');
    else if (isMissingRight(answer.error)) {
      const { code, message } = new GateError('PG_RBAC', {
        what: 'create pods by dry run',
        detail: answer.error.apiMessage,
      });
      log.error({ ...about, code }, message);
    } else log.warn({ ...about, err: answer.error }, 'a dry run of a pod gave no usable answer');
  });
}

/** A policy may refuse every pod of the gate's account. So only a pod that differs from the running ones in it is news. */
async function refusalOfNewOnly(
  deployment: Deployment,
  words: string,
  runningTemplate: () => Promise<JsonObject | undefined>,
  options: AdmittedPodOptions,
): Promise<string | undefined> {
  const template = await runningTemplate();
  if (template === undefined) return undefined;
  const before = await dryRun(deployment, template, options);
  return before.kind === 'Admitted' ? words : undefined;
}

/**
 * The plugin ServiceAccount writes the account's pull secrets into a pod that names none. It will do the same for the puller pods, with
 * the secrets that the account has by then.
 */
async function withoutAccountSecrets(
  { namespace, template }: Deployment,
  podSpec: JsonObject,
  { client }: AdmittedPodOptions,
): Promise<JsonObject> {
  const added = asArray(podSpec['imagePullSecrets']);
  if (added.length === 0 || asArray(at(template, 'spec', 'imagePullSecrets')).length > 0) return podSpec;
  const account = asString(podSpec['serviceAccountName']) || 'default';
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${encodeURIComponent(account)}`;
  const read = await client.get(path, {}, { deadlineMs: READ_MS, retry: false }).catch(undefinedIfRefused);
  const names = (list: readonly unknown[]) => list.map((secret) => asString(at(secret, 'name'))).join(' ');
  if (names(added) !== names(asArray(at(read, 'imagePullSecrets')))) return podSpec;
  const { imagePullSecrets: _, ...rest } = podSpec;
  return rest;
}

/**
 * Returns the spec of the newest pod of a ReplicaSet of the Deployment on the first page that has one. A page has little text, because
 * anybody who may create pods there can make large ones with the same labels.
 */
async function runningPod(
  { namespace, name, podSelector }: Deployment,
  { client }: AdmittedPodOptions,
): Promise<JsonObject | undefined> {
  if (podSelector === undefined) return undefined;
  let newest: { readonly createdAt: string; readonly podSpec: JsonObject } | undefined;
  await listPages(client, `/api/v1/namespaces/${namespace}/pods`, {
    query: { labelSelector: podSelector },
    deadlineMs: READ_MS,
    isEnough: ({ items }) => newest !== undefined || items >= PODS_LIMIT,
    onPage(pods) {
      for (const pod of pods) {
        const createdAt = asString(at(pod, 'metadata', 'creationTimestamp')) ?? '';
        if (!isRunningOf(name, pod) || (newest !== undefined && createdAt <= newest.createdAt)) continue;
        newest = { createdAt, podSpec: asObject(at(pod, 'spec')) };
      }
    },
  }).catch(undefinedIfRefused);
  return newest?.podSpec;
}

function isRunningOf(deployment: string, pod: unknown): boolean {
  if (at(pod, 'metadata', 'deletionTimestamp') !== undefined) return false;
  return asArray(at(pod, 'metadata', 'ownerReferences')).some(
    (owner) =>
      at(owner, 'kind') === 'ReplicaSet' && asString(at(owner, 'name'))?.startsWith(`${deployment}-`),
  );
}

function undefinedIfRefused(error: unknown): undefined {
  if (error instanceof ApiError || isUnanswered(error) || isUnreadable(error)) return undefined;
  throw error;
}
