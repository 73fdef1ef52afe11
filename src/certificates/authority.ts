import { type CertificateAndKey, DAY_MS, exportKey, generateKeys, issue } from './issue.ts';
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension } from './x509.ts';

const NAME = 'CN=pullgate-ca';

/**
 * A self-signed authority for serving certificates, and for nothing below them. Its certificate goes into
 * `caBundle` of the webhook configuration, its key stays with the gate.
 */
export async function createAuthority(options: {
  readonly now: Date;
  readonly days: number;
}): Promise<CertificateAndKey> {
  const { now, days } = options;
  const keys = await generateKeys();
  const certificate = await issue({
    subject: NAME,
    publicKey: keys.publicKey,
    issuer: NAME,
    issuerKey: keys.publicKey,
    signingKey: keys.privateKey,
    now,
    notAfter: new Date(now.getTime() + days * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    keyPem: `${await exportKey(keys.privateKey)}\n`,
  };
}
