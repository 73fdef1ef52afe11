import { createAuthority } from '../../src/certificates/authority.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';

/** PEM. */
export interface TestTls {
  readonly cert: string;
  readonly key: string;
  /** The authority that signed it. */
  readonly ca: string;
}

/** A serving certificate for a day, of an authority of its own. */
export async function testTls(host = '127.0.0.1', ...others: readonly string[]): Promise<TestTls> {
  const life = { now: new Date(), days: 1 };
  const authority = await createAuthority(life);
  const serving = await createServingCertificate(authority, { hosts: [host, ...others], ...life });
  return { cert: serving.certificatePem, key: serving.keyPem, ca: authority.certificatePem };
}
