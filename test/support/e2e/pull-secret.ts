import type { Namespace } from './namespace.ts';

const NAME = 'password';
/** As a pod spec or a ServiceAccount names it. */
export const PULL_SECRET = { imagePullSecrets: [{ name: NAME }] };

/** Makes the secret for the lab's private registry, or fixes it. */
export async function storePassword(namespace: Namespace, password?: string): Promise<void> {
  const { privateRegistry, privateCredentials } = namespace.lab;
  const { username } = privateCredentials;
  const credentials = { username, password: password ?? privateCredentials.password };
  await namespace.apply({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/dockerconfigjson',
    metadata: { name: NAME },
    stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [privateRegistry]: credentials } }) },
  });
}

export async function givePassword(namespace: Namespace, serviceAccount: string): Promise<void> {
  await namespace.kubectl('patch', 'serviceaccount', serviceAccount, '-p', JSON.stringify(PULL_SECRET));
}
