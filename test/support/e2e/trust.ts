import { WEBHOOK_CONFIGURATION } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../../src/json.ts';

const WEBHOOKS = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`;

/** What each webhook of the gate trusts, PEM. */
export async function trusted(api: ApiClient): Promise<string[]> {
  return asArray(at(await api.get(WEBHOOKS), 'webhooks')).map((webhook) =>
    Buffer.from(asString(at(webhook, 'clientConfig', 'caBundle')) ?? '', 'base64').toString(),
  );
}

/** As somebody's deployment tool does that knows better. */
export async function overwriteTrust(api: ApiClient, pem: string): Promise<void> {
  const value = Buffer.from(pem).toString('base64');
  const webhooks = await trusted(api);
  const operations = webhooks.map((_, index) => ({
    op: 'add',
    path: `/webhooks/${index}/clientConfig/caBundle`,
    value,
  }));
  await api.jsonPatch(WEBHOOKS, operations);
}
