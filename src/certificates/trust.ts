import { X509Certificate } from 'node:crypto';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in order, each once. What cannot be read is left out: somebody's hand put it there. */
export function readCertificates(pem: string): X509Certificate[] {
  const found = new Map<string, X509Certificate>();
  for (const [block] of pem.matchAll(CERTIFICATE)) {
    try {
      const certificate = new X509Certificate(block);
      found.set(certificate.fingerprint256, certificate);
    } catch {
      // Not a certificate.
    }
  }
  return [...found.values()];
}

export function toPem(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join('');
}

export function isValid(certificate: X509Certificate, now: number): boolean {
  return certificate.validFromDate.getTime() <= now && now < certificate.validToDate.getTime();
}

export function includes(certificates: readonly X509Certificate[], wanted: X509Certificate): boolean {
  return certificates.some(({ fingerprint256 }) => fingerprint256 === wanted.fingerprint256);
}

/** The certificates of both, each once. */
export function union(
  some: readonly X509Certificate[],
  others: readonly X509Certificate[],
): readonly X509Certificate[] {
  return [...some, ...others.filter((other) => !includes(some, other))];
}

/**
 * Which of `authorities` makes a client believe a server that sends `chain`, its own certificate first and then what leads
 * up to an authority. `undefined`: none, or something on the way is not valid now.
 */
export function authorityOf(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  now: number,
): X509Certificate | undefined {
  const [leaf, ...between] = chain;
  let current = leaf;
  // Each step up uses one certificate of the chain.
  for (let steps = 0; current !== undefined && steps < chain.length; steps++) {
    if (!isValid(current, now)) return undefined;
    const below = current;
    const authority = authorities.find((candidate) => isValid(candidate, now) && issued(candidate, below));
    if (authority !== undefined) return authority;
    current = between.find((candidate) => issued(candidate, below));
  }
  return undefined;
}

/** By name and key identifier, and by the signature: authorities that follow each other have one name. */
export function issued(authority: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}
