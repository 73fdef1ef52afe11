import { hostname } from 'node:os';
import { type Deployment, isMarked, parseDeployment } from './api/deployment.ts';
import { WEBHOOK_CONFIGURATION } from './api/names.ts';
import { knownFailure } from './api/rollout.ts';
import { wait } from './clock.ts';
import { type ApiClient, createApiClient } from './cluster/api-client.ts';
import { isNotFound } from './cluster/api-error.ts';
import type { Cluster } from './cluster/credentials.ts';
import { listPages } from './cluster/list-pages.ts';
import type { Config } from './config.ts';
import { type EndHoldsOptions, endHolds } from './deployments/release-holds.ts';
import { GateError } from './errors.ts';
import { eventWriter, type GateOptions } from './gate.ts';
import { asArray, at } from './json.ts';

const WEBHOOKS = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`;

/**
 * After that nothing can be held any more that was not held before: 5 s for every API server to learn that there are no
 * webhooks, and the 5 s that it waits for one that it has asked.
 */
const SETTLE_MS = 10_000;
/** Names in the message of an error. */
const NAMED = 10;

/** Before the gate is removed for good: no webhooks, and no holds. Can be repeated after any failure. */
export async function uninstall(cluster: Cluster, options: GateOptions): Promise<void> {
  const client = createApiClient(cluster, options);
  const events = eventWriter(client, hostname(), options);
  const { clock, log, config } = options;
  try {
    await endHolding({ client, clock, log, writeEvent: events.write }, config.holds);
    await events.settled();
  } finally {
    await client.close();
  }
}

/**
 * @throws AggregateError if a hold could not be ended, GateError PG_HOLDS_OPEN if `holds` is `stop` and there are any, and what
 * ApiClient throws
 */
export async function endHolding(
  options: Omit<EndHoldsOptions, 'end'>,
  holds: Config['holds'],
): Promise<void> {
  const { client, clock, log } = options;
  const never = new AbortController().signal;
  // Nothing is changed before it is known that the holds can be listed.
  const open = await openHolds(client);
  const failed = open.filter((deployment) => knownFailure(deployment) !== undefined);
  log.info({ open: open.length, failed: failed.map(nameOf).slice(0, NAMED) }, 'holds');
  if (holds === 'stop' && open.length > 0)
    throw new GateError('PG_HOLDS_OPEN', {
      count: open.length,
      names: open.map(nameOf).slice(0, NAMED).join(', '),
    });
  const end = holds === 'stop' ? undefined : holds;
  await removeWebhooks(client);
  log.info('webhooks removed; no new update is held');
  const settled = clock.monotonic() + SETTLE_MS;
  let ended = await endAll({ ...options, end });
  await wait(clock, Math.max(0, settled - clock.monotonic()), never);
  ended += await endAll({ ...options, end });
  log.info({ ended }, 'every hold has ended');
}

/** Removes the webhooks and keeps their configuration object, because the user who applied it deletes it. */
async function removeWebhooks(client: Pick<ApiClient, 'get' | 'jsonPatch'>): Promise<void> {
  try {
    const configuration = await client.get(WEBHOOKS);
    if (asArray(at(configuration, 'webhooks')).length === 0) return;
    await client.jsonPatch(WEBHOOKS, [{ op: 'replace', path: '/webhooks', value: [] }]);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

async function endAll(options: EndHoldsOptions): Promise<number> {
  // Read first: while a namespace whose webhooks are slow is waited for, the list could expire.
  const held = await openHolds(options.client);
  await endHolds(held, options);
  return held.length;
}

/** Every Deployment is looked at: somebody may have taken the label off one that is held. */
async function openHolds(client: Pick<ApiClient, 'get'>): Promise<Deployment[]> {
  const held: Deployment[] = [];
  await listPages(client, '/apis/apps/v1/deployments', {
    onPage(items) {
      for (const deployment of items.map(parseDeployment)) if (isMarked(deployment)) held.push(deployment);
    },
  });
  return held;
}

function nameOf({ namespace, name }: Deployment): string {
  return `${namespace}/${name}`;
}
