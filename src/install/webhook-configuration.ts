import { asArray, asObject, asString, at, type JsonObject } from '../json.ts';

export interface WebhookOptions {
  /** Where the API server calls the gate: `https://host:port`, no path. */
  readonly url: string;
  /** The certificate authorities to be believed, PEM, one or more. */
  readonly caPem: string;
  readonly failurePolicy: 'Ignore' | 'Fail';
  /** Whether the server may be too old for match conditions: server-side apply refuses a field that the server does not know. */
  readonly unsupportedServer: boolean;
}

/** The manifest's webhook configuration for a gate at a URL instead of behind a Service. */
export function webhookConfigurationByUrl(manifest: JsonObject, options: WebhookOptions): JsonObject {
  return { ...manifest, webhooks: asArray(manifest['webhooks']).map((webhook) => byUrl(webhook, options)) };
}

function byUrl(webhook: unknown, options: WebhookOptions): JsonObject {
  const { matchConditions, ...rest } = asObject(webhook);
  return {
    ...rest,
    ...(!options.unsupportedServer && { matchConditions }),
    failurePolicy: options.failurePolicy,
    clientConfig: {
      url: options.url + (asString(at(rest, 'clientConfig', 'service', 'path')) ?? ''),
      caBundle: Buffer.from(options.caPem).toString('base64'),
    },
  };
}

/** The URLs that a webhook configuration calls. */
export function webhookUrls(configuration: unknown): readonly string[] {
  return asArray(at(configuration, 'webhooks'))
    .map((webhook) => asString(at(webhook, 'clientConfig', 'url')))
    .filter((url) => url !== undefined);
}
