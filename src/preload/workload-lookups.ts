import { LRUCache } from 'lru-cache';
import type { ApiClient } from '../cluster/api-client.ts';
import type { Deployment } from '../hold/deployment.ts';
import { asArray, asString, at } from '../json.ts';
import type { Logger } from '../log.ts';
import type { ImagePreload } from './image-preload.ts';

/** What the API server is asked about the workload of a preload, each once for as long as the preload is there. */
export interface WorkloadLookups {
  /** Whether the service account that it pulls as has a pull secret. */
  accountHasSecret(preload: ImagePreload): Promise<boolean>;
  /** Names of the nodes that run the Deployment's pods. */
  nodesOf(preload: ImagePreload, owner: Deployment | undefined): Promise<ReadonlySet<string>>;
}

const REMEMBERED_PRELOADS = 1000;

export function createWorkloadLookups({
  client,
  log,
}: {
  readonly client: Pick<ApiClient, 'get'>;
  readonly log: Logger;
}): WorkloadLookups {
  const withSecret = new LRUCache<string, boolean>({ max: REMEMBERED_PRELOADS });
  const nodes = new LRUCache<string, ReadonlySet<string>>({ max: REMEMBERED_PRELOADS });

  async function readAccount({ namespace, name, spec }: ImagePreload): Promise<boolean | undefined> {
    const account = spec.serviceAccountName || 'default';
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${encodeURIComponent(account)}`;
    try {
      return asArray(at(await client.get(path), 'imagePullSecrets')).length > 0;
    } catch (error) {
      log.debug({ preload: name, err: error }, 'the service account cannot be read');
      return undefined;
    }
  }

  async function readNodes(
    { namespace, name }: ImagePreload,
    { matchLabels }: Deployment,
  ): Promise<ReadonlySet<string>> {
    const labelSelector = Object.entries(matchLabels)
      .map(([label, value]) => `${label}=${value}`)
      .join(',');
    const found = new Set<string>();
    try {
      const list = await client.get(`/api/v1/namespaces/${namespace}/pods`, { labelSelector });
      for (const pod of asArray(at(list, 'items'))) found.add(asString(at(pod, 'spec', 'nodeName')) ?? '');
    } catch (error) {
      // Only the order depends on it.
      log.warn({ preload: name, err: error }, 'the nodes of the running pods are not known');
    }
    return found;
  }

  return {
    async accountHasSecret(preload) {
      const known = withSecret.get(preload.uid) ?? (await readAccount(preload));
      if (known !== undefined) withSecret.set(preload.uid, known);
      // If it cannot be read, a puller pod finds out what is there.
      return known ?? true;
    },
    async nodesOf(preload, owner) {
      const known = nodes.get(preload.uid);
      if (known !== undefined) return known;
      const found = owner === undefined ? new Set<string>() : await readNodes(preload, owner);
      nodes.set(preload.uid, found);
      return found;
    },
  };
}
