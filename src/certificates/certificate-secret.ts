import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { authorityOf, isValid, readCertificates, toPem } from './trust.ts';

/**
 * Keys of the Secret that the replicas share, those of cert-manager and of `kubernetes.io/tls` where these have one.
 * `authorities`: all that the API servers are to trust. `authorityKey`: of the one that signs.
 */
export const SECRET_KEYS = {
  authorities: 'ca.crt',
  authorityKey: 'ca.key',
  serving: 'tls.crt',
  servingKey: 'tls.key',
} as const;

export interface SecretContents {
  /** By key, decoded. */
  readonly data: Readonly<Record<string, string>>;
  /** What the operator asks for by annotation: `serving` or `authority`. */
  readonly renew: string | undefined;
}

/** A certificate with what leads up to its authority, and its key. */
export interface ServingPair {
  readonly chain: readonly X509Certificate[];
  /** PEM, as TLS servers take it. */
  readonly cert: string;
  readonly key: string;
}

export interface CertificateSecret {
  /** Those that are valid. */
  readonly authorities: readonly X509Certificate[];
  /** The authority whose key is in the Secret as well. */
  readonly signer: X509Certificate | undefined;
  readonly pair: ServingPair | undefined;
  /**
   * Somebody else makes and renews the certificates in the Secret. Pullgate serves and publishes them, and never writes the Secret.
   */
  readonly brought: boolean;
}

const EMPTY: CertificateSecret = { authorities: [], signer: undefined, pair: undefined, brought: false };

/**
 * The contents of the Secret alone say whose it is. If it has the key of one of its authorities, it is Pullgate's. If it has a
 * certificate and no such key, it is somebody else's. A key of another authority does not count: when cert-manager takes over a
 * Secret of Pullgate's, it leaves keys alone that it does not know.
 */
export function readSecret(contents: SecretContents | undefined, now: number): CertificateSecret {
  if (contents === undefined) return EMPTY;
  const { data } = contents;
  const authorities = readCertificates(data[SECRET_KEYS.authorities] ?? '').filter((authority) =>
    isValid(authority, now),
  );
  const authorityKey = readKey(data[SECRET_KEYS.authorityKey]);
  const signer =
    authorityKey && authorities.find((authority) => authority.ca && authority.checkPrivateKey(authorityKey));
  const pair = readPair(data[SECRET_KEYS.serving] ?? '', data[SECRET_KEYS.servingKey]);
  return {
    authorities,
    signer,
    pair,
    brought: signer === undefined && isBrought(data, pair, authorities, now),
  };
}

function isBrought(
  data: Readonly<Record<string, string>>,
  pair: ServingPair | undefined,
  authorities: readonly X509Certificate[],
  now: number,
): boolean {
  if ((data[SECRET_KEYS.authorityKey] ?? '') === '') return (data[SECRET_KEYS.serving] ?? '') !== '';
  return pair !== undefined && authorityOf(pair.chain, authorities, now) !== undefined;
}

function readPair(cert: string, keyPem: string | undefined): ServingPair | undefined {
  const chain = readCertificates(cert);
  const key = readKey(keyPem);
  const [leaf] = chain;
  if (leaf === undefined || keyPem === undefined || key === undefined || !leaf.checkPrivateKey(key)) {
    return undefined;
  }
  return { chain, cert: toPem(chain), key: keyPem };
}

function readKey(pem: string | undefined): KeyObject | undefined {
  try {
    return pem === undefined ? undefined : createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
