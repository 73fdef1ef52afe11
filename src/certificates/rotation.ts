import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  type CertificateSecret,
  readSecret,
  SECRET_KEYS,
  type SecretContents,
  type ServingPair,
} from './certificate-secret.ts';
import { CLOCK_SKEW_MS, DAY_MS } from './issue.ts';
import type { PublishedBundle } from './published-bundle.ts';
import { authorityOf, includes, issued, isValid, readCertificates, toPem, union } from './trust.ts';

export interface Lifetimes {
  readonly authorityMs: number;
  /** A third of it has to be longer than a change of authority takes: `settleMs` and some polls. */
  readonly servingMs: number;
  /**
   * How long an authority is published before anything it signed is served: longer than any API server takes to learn of a
   * webhook configuration.
   */
  readonly settleMs: number;
}

/**
 * A watch tells the API servers within a second. One whose watch broke is back after some: client-go's reflector lists again with
 * a back-off of at most 30 s (tools/cache/reflector.go), plus the list.
 */
export const LIFETIMES: Lifetimes = { authorityMs: 365 * DAY_MS, servingMs: 90 * DAY_MS, settleMs: 60_000 };

/** Of a certificate's life: what is left of it is the time in which somebody may notice that renewing fails. */
const RENEW_AT = 2 / 3;

/** What a replica serves, and the authority for which API servers believe it. */
export interface Serving extends ServingPair {
  readonly authority: X509Certificate;
}

export interface RotationState {
  /** Undefined: there is no Secret. */
  readonly secret: SecretContents | undefined;
  /** Read before the Secret: see `nextStep`. */
  readonly published: PublishedBundle;
  /** By this replica. */
  readonly serving: Serving | undefined;
  /** Wall clock. */
  readonly now: number;
}

export interface RotationPolicy {
  readonly lifetimes: Lifetimes;
  /** Names under which API servers call. */
  readonly hosts: readonly string[];
}

/**
 * - `Steady`: one authority, which signed the served certificate.
 * - `Publishing`: a new authority is published, and has not signed anything yet.
 * - `Retiring`: it has; the old one stays until nothing it signed can be valid any more.
 * - `Brought`: somebody else makes the certificates.
 * - `Unregistered`: there is no webhook configuration to publish in.
 */
export type Phase = 'Steady' | 'Publishing' | 'Retiring' | 'Brought' | 'Unregistered';

export type Step =
  /** Make an authority. It goes into the Secret beside those to `keep`, PEM; the key of the one before is forgotten. */
  | { readonly kind: 'NewAuthority'; readonly keep: string; readonly reason: string }
  /** Have it sign a serving certificate. */
  | { readonly kind: 'NewServing'; readonly reason: string }
  /** Leave only these authorities in the Secret, PEM. */
  | { readonly kind: 'Retire'; readonly keep: string }
  /** Put this into every webhook, PEM. */
  | { readonly kind: 'Publish'; readonly bundle: string }
  /** What somebody brought cannot be served. */
  | { readonly kind: 'Refuse'; readonly detail: string }
  | { readonly kind: 'Wait'; readonly phase: Phase };

/**
 * What a replica does next. All replicas ask, none of them is special, and any of them may die after any step: what is done is in
 * the Secret and in the webhook configuration alone.
 *
 * A change of authority is three writes. A: `ca.crt` becomes new and old, and the old key is gone, so that from then on
 * the old authority signs nothing. B: both are published. C: once they have been for `settleMs`, a certificate of the new one
 * replaces the old. The old authority stays published until the new one is as old as a serving certificate can become: then
 * whatever the old one signed has expired, in whichever replica.
 *
 * No write may act on something outdated: those of the Secret are fenced by its resourceVersion, that of the webhook configuration
 * by its own. For that the configuration has to be read before the Secret: a bundle that lacks a new authority can then only be
 * written as long as nobody has published that one.
 */
export function nextStep(state: RotationState, policy: RotationPolicy): Step {
  const { published, serving, now } = state;
  const secret = readSecret(state.secret, now);
  const change = secret.brought ? undefined : ownChange(state, secret, policy);
  if (change !== undefined) return change;

  const refusal = secret.brought ? refusalOf(secret, policy, now) : undefined;
  const kept = serving !== undefined && isValid(serving.authority, now) ? [serving.authority] : [];
  const wanted = union(refusal === undefined ? secret.authorities : [], kept);
  if (wanted.length > 0 && !isPublished(wanted, published, policy)) {
    return { kind: 'Publish', bundle: toPem(wanted) };
  }
  if (refusal !== undefined) return { kind: 'Refuse', detail: refusal };
  return { kind: 'Wait', phase: phaseOf(secret, published, now) };
}

/**
 * Whether a replica is to serve what the Secret holds instead of what it serves: not before all API servers believe it. With
 * nothing to serve, or nothing valid, anything is better. Undefined: no.
 */
export function nextServing(state: RotationState, policy: RotationPolicy): Serving | undefined {
  const { published, serving, now } = state;
  const secret = readSecret(state.secret, now);
  const { pair } = secret;
  if (pair === undefined || pair.cert === serving?.cert) return undefined;
  if (secret.brought && refusalOf(secret, policy, now) !== undefined) return undefined;
  const authority = authorityOf(pair.chain, secret.authorities, now);
  if (authority === undefined) return undefined;
  const next = { ...pair, authority };
  if (serving === undefined || !isBelieved(serving, [toPem([serving.authority])], now)) return next;
  if (!isBelieved(next, published.bundles, now)) return undefined;
  const sameAuthority = authority.fingerprint256 === serving.authority.fingerprint256;
  return sameAuthority || published.forMs >= policy.lifetimes.settleMs ? next : undefined;
}

/** Whether an API server believes that certificate, whichever of the webhooks it calls. */
export function isBelieved({ chain }: ServingPair, bundles: readonly string[], now: number): boolean {
  return (
    bundles.length > 0 &&
    bundles.every((bundle) => authorityOf(chain, readCertificates(bundle), now) !== undefined)
  );
}

/** The next change of a Secret that is the gate's own. */
function ownChange(
  state: RotationState,
  secret: CertificateSecret,
  policy: RotationPolicy,
): Step | undefined {
  const { published, serving, now } = state;
  const { lifetimes } = policy;
  const { authorities, signer } = secret;

  const noAuthority = reasonForAuthority(state, secret);
  if (noAuthority !== undefined || signer === undefined) {
    // Without a Secret, replicas go on serving what they have. Only the webhook configuration knows the authority that signed it.
    const fromBundles = authorities.length > 0 ? [] : readCertificates(published.bundles.join('\n'));
    const known = union(union(authorities, serving === undefined ? [] : [serving.authority]), fromBundles);
    const keep = known.filter((authority) => isValid(authority, now));
    return { kind: 'NewAuthority', keep: toPem(keep), reason: noAuthority ?? '' };
  }

  const reason = reasonForServing(state, secret, signer, policy);
  if (reason !== undefined && maySign(signer, authorities, published, lifetimes)) {
    return { kind: 'NewServing', reason };
  }

  const there = readCertificates(state.secret?.data[SECRET_KEYS.authorities] ?? '');
  const outlived = now >= issuedAt(signer) + lifetimes.servingMs;
  const keep = outlived ? [signer] : authorities;
  return keep.length < there.length ? { kind: 'Retire', keep: toPem(keep) } : undefined;
}

function reasonForAuthority(
  { secret: contents, now }: RotationState,
  { signer, pair }: CertificateSecret,
): string | undefined {
  if (contents === undefined) return 'there is no Secret';
  if (signer === undefined) return 'the Secret has no valid authority with its key';
  // Asked for in the middle of a change, it is that change: asking often could put off its end for ever.
  const [leaf] = pair?.chain ?? [];
  if (contents.renew === 'authority' && leaf !== undefined && issued(signer, leaf)) return 'asked for';
  if (isDue(signer, now)) return 'two thirds of its life are over';
  return undefined;
}

function reasonForServing(
  { secret: contents, now }: RotationState,
  { pair }: CertificateSecret,
  signer: X509Certificate,
  { hosts }: RotationPolicy,
): string | undefined {
  const [leaf] = pair?.chain ?? [];
  if (leaf === undefined) return 'the Secret has none with its key';
  if (!issued(signer, leaf)) return 'it is to be signed by the new authority';
  if (contents?.renew === 'serving') return 'asked for';
  if (isDue(leaf, now)) return 'two thirds of its life are over';
  const missing = hosts.find((host) => !isFor(leaf, host));
  return missing === undefined ? undefined : `it is not for ${missing}`;
}

/** With one authority nobody can be serving a certificate of another one that is believed. */
function maySign(
  signer: X509Certificate,
  authorities: readonly X509Certificate[],
  { bundles, forMs }: PublishedBundle,
  { settleMs }: Lifetimes,
): boolean {
  if (authorities.length === 1) return true;
  const everywhere = bundles.every((bundle) => includes(readCertificates(bundle), signer));
  return bundles.length > 0 && everywhere && forMs >= settleMs;
}

function refusalOf(
  { pair, authorities }: CertificateSecret,
  { hosts }: RotationPolicy,
  now: number,
): string | undefined {
  const [leaf] = pair?.chain ?? [];
  if (pair === undefined || leaf === undefined) {
    return `${SECRET_KEYS.serving} and ${SECRET_KEYS.servingKey} are no certificate with its key`;
  }
  if (!isValid(leaf, now)) {
    return `${SECRET_KEYS.serving} is valid from ${leaf.validFrom} to ${leaf.validTo}`;
  }
  if (authorityOf(pair.chain, authorities, now) === undefined) {
    return `${SECRET_KEYS.serving} was not signed by a valid authority of ${SECRET_KEYS.authorities}`;
  }
  const missing = hosts.find((host) => !isFor(leaf, host));
  return missing === undefined ? undefined : `${SECRET_KEYS.serving} is not for ${missing}`;
}

/**
 * Whether every webhook trusts those. One more is left alone for a while: a replica may still be serving what that one
 * signed, and have published it. Replicas that follow are past it after `settleMs`.
 */
function isPublished(
  wanted: readonly X509Certificate[],
  { bundles, forMs }: PublishedBundle,
  { lifetimes }: RotationPolicy,
): boolean {
  return bundles.every((bundle) => {
    const there = readCertificates(bundle);
    const more = there.length > wanted.length && forMs >= 2 * lifetimes.settleMs;
    return !more && wanted.every((authority) => includes(there, authority));
  });
}

function phaseOf(secret: CertificateSecret, { bundles }: PublishedBundle, now: number): Phase {
  if (bundles.length === 0) return 'Unregistered';
  if (secret.brought) return 'Brought';
  if (secret.authorities.length <= 1) return 'Steady';
  const by = authorityOf(secret.pair?.chain ?? [], secret.authorities, now);
  return by?.fingerprint256 === secret.signer?.fingerprint256 ? 'Retiring' : 'Publishing';
}

/** The beginning of its validity is set back by what clocks may differ. */
function issuedAt(certificate: X509Certificate): number {
  return certificate.validFromDate.getTime() + CLOCK_SKEW_MS;
}

function isDue(certificate: X509Certificate, now: number): boolean {
  const from = issuedAt(certificate);
  return now >= from + (certificate.validToDate.getTime() - from) * RENEW_AT;
}

function isFor(certificate: X509Certificate, host: string): boolean {
  return (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
}
