import { once } from 'node:events';
import { request } from 'node:https';
import { json } from 'node:stream/consumers';
import type { Mode } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asObject, asString, at, type JsonObject } from '../../../src/json.ts';

/** Where a gate serves, and by whom its certificate was made. */
export interface Endpoint {
  readonly url: string;
  readonly ca: string;
}

/** The one that the API server calls now. */
export async function registeredEndpoint(api: ApiClient): Promise<Endpoint> {
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pullgate';
  const { webhooks } = asObject(await api.get(path));
  const config = at(Array.isArray(webhooks) ? webhooks[0] : undefined, 'clientConfig');
  const ca = Buffer.from(asString(at(config, 'caBundle')) ?? '', 'base64').toString();
  return { url: new URL(asString(at(config, 'url')) ?? '').origin, ca };
}

/** The `response` of the answer. */
export async function send({ url, ca }: Endpoint, mode: Mode, body: JsonObject): Promise<JsonObject> {
  const call = request(`${url}/admit/${mode}`, {
    method: 'POST',
    ca,
    headers: { 'content-type': 'application/json' },
  });
  call.end(JSON.stringify(body));
  const [answer] = (await once(call, 'response')) as [AsyncIterable<Buffer>];
  return asObject(at(await json(answer), 'response'));
}
