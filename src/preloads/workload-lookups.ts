import type { Deployment } from '../api/deployment.ts';
import type { ImagePreload } from '../api/image-preload.ts';
import type { Clock } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isUnanswered } from '../cluster/api-error.ts';
import { listPages } from '../cluster/list-pages.ts';
import { asArray, asObject, asString, at } from '../json.ts';
import type { Logger } from '../log.ts';
import { createLogLimit, FAILURE_RATE } from '../log-limit.ts';
import { parseLimitRanges, type ResourceRules } from './pods/puller-resources.ts';

/** Questions to the API server about the workload of a preload. Each is asked once for as long as the preload has a `state`. */
export interface WorkloadLookups {
  /** Whether the service account that it pulls as has a pull secret. */
  accountHasSecret(preload: ImagePreload, state: object): Promise<boolean>;
  /** Names of the nodes that run the Deployment's pods. */
  nodesOf(preload: ImagePreload, state: object, owner: Deployment | undefined): Promise<ReadonlySet<string>>;
  /** What the namespace demands of pods. Looked at again after a minute. */
  rulesOf(preload: ImagePreload, state: object): Promise<NamespaceRules>;
  /** The handler of its runtime class; undefined without one, or if it cannot be read. */
  handlerOf(preload: ImagePreload, state: object): Promise<string | undefined>;
}

export interface NamespaceRules {
  /** A ResourceQuota counts pods, finished ones included if it counts objects. */
  readonly countsPods: boolean;
  readonly resources: readonly ResourceRules[];
}

const NO_RULES: NamespaceRules = { countsPods: false, resources: [] };
/** What a quota counts pods by. The first counts those that have not ended, the second all of them. */
const POD_COUNTS = ['pods', 'count/pods'];
const RULES_LIMIT = 100;
const RULES_MS = 60_000;
/** A hold does not wait for these answers. Without them, its puller pods request the defaults, and a refusal is reported. */
const SHORT = { retry: false, deadlineMs: 2000 };

/** Enough to put the nodes of a Deployment first. Of a larger one the nodes that the API server lists first come first. */
const PODS_LIMIT = 1000;
/** The text of a thousand pods of 16 KB. Pods that a user has made large are not read to the end: each MB takes up to 50 ms. */
const PODS_BYTES = 16 * 1024 * 1024;

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
  const rules = new WeakMap<object, { readonly rules: NamespaceRules; readonly at: number }>();
  const handlers = new WeakMap<object, { readonly handler: string | undefined }>();

  /** A gate whose rights are older may not read them: then it finds out what pods are refused for. */
  async function listed({ namespace, name }: ImagePreload, resource: string): Promise<readonly unknown[]> {
    try {
      const path = `/api/v1/namespaces/${namespace}/${resource}`;
      return asArray(at(await client.get(path, { limit: RULES_LIMIT }, SHORT), 'items'));
    } catch (error) {
      log.debug({ preload: name, resource, err: error }, 'the rules of the namespace cannot be read');
      return [];
    }
  }

  async function readRules(preload: ImagePreload): Promise<NamespaceRules> {
    const [quotas, limitRanges] = await Promise.all([
      listed(preload, 'resourcequotas'),
      listed(preload, 'limitranges'),
    ]);
    if (quotas.length === 0 && limitRanges.length === 0) return NO_RULES;
    const countsPods = quotas.some((quota) => {
      const hard = asObject(at(quota, 'spec', 'hard'));
      return POD_COUNTS.some((name) => Object.hasOwn(hard, name));
    });
    return { countsPods, resources: parseLimitRanges(limitRanges) };
  }

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
        isEnough: ({ items, bytes }) => items >= PODS_LIMIT || bytes >= PODS_BYTES,
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
    async rulesOf(preload, state) {
      const known = rules.get(state);
      if (known !== undefined && clock.monotonic() - known.at < RULES_MS) return known.rules;
      const read = await readRules(preload);
      rules.set(state, { rules: read, at: clock.monotonic() });
      return read;
    },
    async handlerOf({ name, spec }, state) {
      const { runtimeClassName } = spec.scheduling;
      if (runtimeClassName === undefined) return undefined;
      const known = handlers.get(state);
      if (known !== undefined) return known.handler;
      let handler: string | undefined;
      try {
        const path = `/apis/node.k8s.io/v1/runtimeclasses/${encodeURIComponent(runtimeClassName)}`;
        handler = asString(at(await client.get(path), 'handler'));
      } catch (error) {
        // Whether a puller pod would run the image is not to be guessed.
        if (isUnanswered(error)) throw error;
        log.debug({ preload: name, err: error }, 'the runtime class cannot be read');
      }
      handlers.set(state, { handler });
      return handler;
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
