import { createAuthority } from './authority.ts';
import { readSecret, SECRET_KEYS, type SecretContents } from './certificate-secret.ts';
import { DAY_MS } from './issue.ts';
import type { RotationPolicy, Step } from './rotation.ts';
import { createServingCertificate } from './serving-certificate.ts';
import { toPem } from './trust.ts';

type SecretStep = Extract<Step, { kind: 'NewAuthority' | 'NewServing' | 'Retire' }>;

/** What a step writes into the Secret, by key; the other keys stay as they are. Makes the keys and certificates that it needs. */
export async function secretChange(
  step: SecretStep,
  secret: SecretContents | undefined,
  { lifetimes, hosts }: RotationPolicy,
  now: number,
): Promise<Readonly<Record<string, string>>> {
  const date = new Date(now);
  switch (step.kind) {
    case 'NewAuthority': {
      const { certificatePem, keyPem } = await createAuthority({
        now: date,
        days: lifetimes.authorityMs / DAY_MS,
      });
      return { [SECRET_KEYS.authorities]: certificatePem + step.keep, [SECRET_KEYS.authorityKey]: keyPem };
    }
    case 'NewServing': {
      const { signer } = readSecret(secret, now);
      const authority = {
        certificatePem: signer === undefined ? '' : toPem([signer]),
        keyPem: secret?.data[SECRET_KEYS.authorityKey] ?? '',
      };
      const days = lifetimes.servingMs / DAY_MS;
      const { certificatePem, keyPem } = await createServingCertificate(authority, {
        hosts,
        now: date,
        days,
      });
      return { [SECRET_KEYS.serving]: certificatePem, [SECRET_KEYS.servingKey]: keyPem };
    }
    case 'Retire':
      return { [SECRET_KEYS.authorities]: step.keep };
  }
}
