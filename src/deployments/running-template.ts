import type { Deployment } from '../api/deployment.ts';
import type { RunningLookup } from '../api/running-lookup.ts';
import { templateDigest } from '../api/template/template-hash.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isForbidden, isUnanswered } from '../cluster/api-error.ts';
import { listPages } from '../cluster/list-pages.ts';
import { asArray, asObject, asStringMap, at, type JsonObject } from '../json.ts';

/** Admission waits for it, and the API server waits 5 s for admission. */
const DEADLINE_MS = 1000;
/** A Deployment keeps 10 old ReplicaSets by default (revisionHistoryLimit). */
const ENOUGH = 500;
/** The Deployment controller adds it to the template of each ReplicaSet (k8s.io/api, apps/v1, DefaultDeploymentUniqueLabelKey). */
const ADDED_LABEL = 'pod-template-hash';

/**
 * Returns the template with this hash or digest, from the ReplicaSets that the Deployment owns. A user who may create ReplicaSets can
 * make one with another template of the same hash, but not of the same digest. A forged review gets a template only if it has
 * the uid of the Deployment and the hash of that template.
 *
 * @throws what ApiClient throws for other reasons than a missing right, and a time-out
 */
export async function runningTemplate(
  client: Pick<ApiClient, 'get'>,
  deployment: Pick<Deployment, 'namespace' | 'uid' | 'podSelector'>,
  hash: string,
  clock: Pick<Clock, 'setTimer'>,
): Promise<RunningLookup> {
  const { namespace, uid, podSelector } = deployment;
  let template: JsonObject | undefined;
  const late = new AbortController();
  const cancel = clock.setTimer(DEADLINE_MS, () => late.abort(FOUND_NOTHING));
  try {
    await listPages(client, `/apis/apps/v1/namespaces/${namespace}/replicasets`, {
      query: { labelSelector: podSelector },
      isEnough: ({ items }) => template !== undefined || items >= ENOUGH,
      deadlineMs: DEADLINE_MS,
      signal: late.signal,
      onPage(items) {
        const templates = items.flatMap((item) => templateOf(item, uid));
        template ??= templates.find((one) => templateDigest(one).startsWith(hash));
      },
    });
  } catch (error) {
    if (isForbidden(error)) return { kind: 'notAllowed' };
    if (error === FOUND_NOTHING || isUnanswered(error)) return { kind: 'unanswered' };
    throw error;
  } finally {
    cancel();
  }
  return template === undefined ? { kind: 'gone' } : { kind: 'found', template };
}

const FOUND_NOTHING = new Error('no answer in time');

function templateOf(replicaSet: unknown, uid: string): JsonObject[] {
  const owners = asArray(at(replicaSet, 'metadata', 'ownerReferences'));
  if (!owners.some((owner) => at(owner, 'uid') === uid && at(owner, 'controller') === true)) return [];
  const template = asObject(at(replicaSet, 'spec', 'template'));
  const metadata = asObject(template['metadata']);
  const { [ADDED_LABEL]: _, ...labels } = asStringMap(metadata['labels']);
  return [{ ...template, metadata: { ...metadata, labels } }];
}
