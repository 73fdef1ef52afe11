import { asArray, asString, at } from '../json.ts';

/** What a webhook configuration tells the API servers to trust, and for how long one process has seen it so. */
export interface PublishedBundle {
  /** PEM, of each webhook; none: there is no such configuration. */
  readonly bundles: readonly string[];
  /**
   * Between the end of the first and the beginning of the last look that showed the same. Measured by each process for itself: no
   * clock is compared with another one's, and a process that begins anew only waits once more.
   */
  readonly forMs: number;
  /** End of that first look. */
  readonly since: number;
  readonly version: string;
}

/**
 * @param configuration undefined: it does not exist
 * @param look when it was asked for and when the answer was there, both of the monotonic clock
 */
export function observe(
  before: PublishedBundle | undefined,
  configuration: unknown,
  look: { readonly askedAt: number; readonly answeredAt: number },
): PublishedBundle {
  const bundles = asArray(at(configuration, 'webhooks')).map((webhook) =>
    Buffer.from(asString(at(webhook, 'clientConfig', 'caBundle')) ?? '', 'base64').toString(),
  );
  // The generation counts every change of the webhooks, so that one between two looks shows too.
  const metadata = at(configuration, 'metadata');
  const version = JSON.stringify([at(metadata, 'uid'), at(metadata, 'generation'), bundles]);
  const since = before?.version === version ? before.since : look.answeredAt;
  return { bundles, version, since, forMs: Math.max(0, look.askedAt - since) };
}
