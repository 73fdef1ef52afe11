import type { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  type Extension,
  PemConverter,
  type PublicKeyType,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from './x509.ts';

/** A certificate with its private key (PKCS #8), both PEM. */
export interface CertificateAndKey {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' };
/** A node's clock may be behind the one that signs: without this a new certificate is "not yet valid" there. */
export const CLOCK_SKEW_MS = 5 * 60_000;
export const DAY_MS = 24 * 3600_000;

export function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
}

export function importSigningKey(pem: string): Promise<webcrypto.CryptoKey> {
  return crypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), KEY_ALGORITHM, false, ['sign']);
}

export async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), PemConverter.PrivateKeyTag);
}

interface IssueOptions {
  readonly subject: string;
  readonly publicKey: webcrypto.CryptoKey;
  readonly issuer: string;
  readonly issuerKey: PublicKeyType;
  readonly signingKey: webcrypto.CryptoKey;
  readonly now: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Extension[];
}

/**
 * Signs a certificate. Both key identifiers are always there: while an old and a new authority of the same
 * name are published together, only they tell a verifier which one signed. The serial number is 16 random
 * octets, inside the 20 that RFC 5280 (4.1.2.2) allows and Go enforces.
 */
export async function issue(options: IssueOptions): Promise<X509Certificate> {
  return X509CertificateGenerator.create({
    subject: options.subject,
    issuer: options.issuer,
    publicKey: options.publicKey,
    signingKey: options.signingKey,
    signingAlgorithm: SIGNATURE,
    notBefore: new Date(options.now.getTime() - CLOCK_SKEW_MS),
    notAfter: options.notAfter,
    extensions: [
      ...options.extensions,
      await SubjectKeyIdentifierExtension.create(options.publicKey),
      await AuthorityKeyIdentifierExtension.create(options.issuerKey),
    ],
  });
}
