import { LRUCache } from 'lru-cache';
import type { ApiClient } from '../cluster/api-client.ts';
import { listPages } from '../cluster/list-pages.ts';
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
/** Enough to put the nodes of a Deployment first. Of a larger one the nodes that the API server lists first come first. */
const PODS_LIMIT = 1000;

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

  /** In pages, and not to the end of it: only the order of the nodes depends on it. */
  async function readNodes(
    { namespace, name }: ImagePreload,
    podSelector: string | undefined,
  ): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    if (podSelector === undefined) return found;
    try {
      await listPages(client, `/api/v1/namespaces/${namespace}/pods`, {
        query: { labelSelector: podSelector },
        enough: PODS_LIMIT,
        onPage(pods) {
          for (const pod of pods) {
            const node = asString(at(pod, 'spec', 'nodeName'));
            if (node !== undefined) found.add(node);
          }
        },
      });
    } catch (error) {
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
      const found = await readNodes(preload, owner?.podSelector);
      nodes.set(preload.uid, found);
      return found;
    },
  };
}
