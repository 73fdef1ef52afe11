import { readFileSync } from 'node:fs';
import { type Identity, identityFiles, PKI_FILES } from './certificates.ts';

export const CONTEXT = 'pullgate-lab';

/**
 * A kubeconfig with everything embedded. It is JSON, which is YAML too, and it works on the machine and
 * inside the hub's network namespace alike, because the API server has the same address in both.
 */
export function kubeconfig(server: string, identity: Identity = identityFiles('admin')): string {
  const base64 = (path: string) => readFileSync(path).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': CONTEXT,
    clusters: [{ name: CONTEXT, cluster: { server, 'certificate-authority-data': base64(PKI_FILES.ca) } }],
    users: [
      {
        name: CONTEXT,
        user: {
          'client-certificate-data': base64(identity.certificate),
          'client-key-data': base64(identity.key),
        },
      },
    ],
    contexts: [{ name: CONTEXT, context: { cluster: CONTEXT, user: CONTEXT } }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
