import { wait } from './clock.ts';
import { type ApiClient, createApiClient } from './cluster/api-client.ts';
import { isNotFound } from './cluster/api-error.ts';
import type { Cluster } from './cluster/credentials.ts';
import { listPages } from './cluster/list-pages.ts';
import type { GateOptions } from './gate.ts';
import { type Deployment, isMarked, parseDeployment } from './hold/deployment.ts';
import { asArray, at } from './json.ts';
import { WEBHOOK_CONFIGURATION } from './names.ts';
import { releaseHolds } from './release/release-holds.ts';

type Options = Pick<GateOptions, 'clock' | 'random' | 'log'>;

const WEBHOOKS = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`;

/**
 * After that nothing can be held any more that was not held before: 5 s for every API server to learn that there are no
 * webhooks, and the 5 s that it waits for one that it has asked.
 */
const SETTLE_MS = 10_000;

/** Before the gate is removed for good: no webhooks, and no holds. Can be repeated after any failure. */
export async function uninstall(cluster: Cluster, options: Options): Promise<void> {
  const client = createApiClient(cluster, options);
  try {
    await endHolding(client, options);
  } finally {
    await client.close();
  }
}

/** @throws AggregateError if a hold could not be released, and what ApiClient throws */
export async function endHolding(
  client: Pick<ApiClient, 'get' | 'jsonPatch'>,
  { clock, log }: Pick<Options, 'clock' | 'log'>,
): Promise<void> {
  const never = new AbortController().signal;
  await removeWebhooks(client);
  log.info('no webhook is left: nothing new is held');
  const settled = clock.monotonic() + SETTLE_MS;
  let released = await releaseAll(client, { clock, log });
  await wait(clock, Math.max(0, settled - clock.monotonic()), never);
  released += await releaseAll(client, { clock, log });
  log.info({ released }, 'no hold is left');
}

/** Taken out rather than deleted with their configuration: that is for who has applied it. */
async function removeWebhooks(client: Pick<ApiClient, 'get' | 'jsonPatch'>): Promise<void> {
  try {
    const configuration = await client.get(WEBHOOKS);
    if (asArray(at(configuration, 'webhooks')).length === 0) return;
    await client.jsonPatch(WEBHOOKS, [{ op: 'replace', path: '/webhooks', value: [] }]);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Every Deployment is looked at: somebody may have taken the label off one that is held. */
async function releaseAll(
  client: Pick<ApiClient, 'get' | 'jsonPatch'>,
  options: Pick<Options, 'clock' | 'log'>,
): Promise<number> {
  const held: Deployment[] = [];
  await listPages(client, '/apis/apps/v1/deployments', {
    onPage(items) {
      for (const deployment of items.map(parseDeployment)) if (isMarked(deployment)) held.push(deployment);
    },
  });
  // Only then: while a namespace whose webhooks are slow is waited for, the list could expire.
  await releaseHolds(held, client, options);
  return held.length;
}
