import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { listPages } from '../cluster/list-pages.ts';
import type { Deployment } from '../hold/deployment.ts';
import { asArray, asString, at } from '../json.ts';
import type { Logger } from '../log.ts';
import { createLogLimit, FAILURE_RATE } from '../log-limit.ts';
import type { ImagePreload } from './image-preload.ts';

/** What the API server is asked about the workload of a preload, each once for as long as there is `state` of it. */
export interface WorkloadLookups {
  /** Whether the service account that it pulls as has a pull secret. */
  accountHasSecret(preload: ImagePreload, state: object): Promise<boolean>;
  /** Names of the nodes that run the Deployment's pods. */
  nodesOf(preload: ImagePreload, state: object, owner: Deployment | undefined): Promise<ReadonlySet<string>>;
}

/** Enough to put the nodes of a Deployment first. Of a larger one the nodes that the API server lists first come first. */
const PODS_LIMIT = 1000;

export function createWorkloadLookups({
  client,
  clock,
  log,
}: {
  readonly client: Pick<ApiClient, 'get'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Logger;
}): WorkloadLookups {
  const limitLog = createLogLimit(clock, FAILURE_RATE);
  // Not a cache of so many preloads: those of one namespace would push out those of another.
  const withSecret = new WeakMap<object, boolean>();
  const nodes = new WeakMap<object, ReadonlySet<string>>();

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
      limitLog(namespace, (fields) =>
        log.warn(
          { ...fields, preload: `${namespace}/${name}`, err: error },
          'the nodes of the running pods are not known',
        ),
      );
    }
    return found;
  }

  return {
    async accountHasSecret(preload, state) {
      const known = withSecret.get(state) ?? (await readAccount(preload));
      if (known !== undefined) withSecret.set(state, known);
      // If it cannot be read, a puller pod finds out what is there.
      return known ?? true;
    },
    async nodesOf(preload, state, owner) {
      const known = nodes.get(state);
      if (known !== undefined) return known;
      const found = await readNodes(preload, owner?.podSelector);
      nodes.set(state, found);
      return found;
    },
  };
}
