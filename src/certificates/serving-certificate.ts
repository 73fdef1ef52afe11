import { isIP } from 'node:net';
import { GateError } from '../errors.ts';
import { type CertificateAndKey, DAY_MS, exportKey, generateKeys, importSigningKey, issue } from './issue.ts';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
} from './x509.ts';

const NAME = 'CN=pullgate';
/** RFC 1123 labels, at most 253 characters in all; the first one may be a wildcard. */
const DNS_NAME =
  /^(?=.{1,253}$)(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * The certificate of the admission endpoint. `hosts` are DNS names and IP addresses (IPv6 without brackets);
 * each becomes a subject alternative name: Go's TLS client, which the API server is, looks at nothing else,
 * and at an IP entry alone when it dials an address. It never outlives its authority.
 *
 * @throws GateError PG_CERTIFICATE_HOST for a host that is neither, and for no host at all.
 */
export async function createServingCertificate(
  authority: CertificateAndKey,
  options: { readonly hosts: readonly string[]; readonly now: Date; readonly days: number },
): Promise<CertificateAndKey> {
  const { hosts, now, days } = options;
  if (hosts.length === 0) throw new GateError('PG_CERTIFICATE_HOST', { host: '(none)' });
  const names = hosts.map(alternativeName);
  const issuer = new X509Certificate(authority.certificatePem);
  const keys = await generateKeys();
  const certificate = await issue({
    subject: NAME,
    publicKey: keys.publicKey,
    issuer: issuer.subject,
    issuerKey: issuer.publicKey,
    signingKey: await importSigningKey(authority.keyPem),
    now,
    notAfter: new Date(Math.min(now.getTime() + days * DAY_MS, issuer.notAfter.getTime())),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names),
    ],
  });
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    keyPem: `${await exportKey(keys.privateKey)}\n`,
  };
}

function alternativeName(host: string): JsonGeneralName {
  if (isIP(host) !== 0) return { type: 'ip', value: host };
  if (DNS_NAME.test(host)) return { type: 'dns', value: host };
  throw new GateError('PG_CERTIFICATE_HOST', { host });
}
