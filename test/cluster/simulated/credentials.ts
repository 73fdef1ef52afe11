import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testTls } from '../../support/tls.ts';

/** Files of one scale cluster. All who use it are its admin, by one token. */
export interface Credentials {
  readonly tokens: string;
  readonly certificate: string;
  readonly key: string;
  readonly serviceAccountPublic: string;
  readonly serviceAccountPrivate: string;
  readonly kubeconfig: string;
}

const CONTEXT = 'pullgate-scale';

export async function writeCredentials(folder: string, server: string): Promise<Credentials> {
  const files: Credentials = {
    tokens: join(folder, 'tokens.csv'),
    certificate: join(folder, 'api-server.crt'),
    key: join(folder, 'api-server.key'),
    serviceAccountPublic: join(folder, 'service-account.pub'),
    serviceAccountPrivate: join(folder, 'service-account.key'),
    kubeconfig: join(folder, 'kubeconfig'),
  };
  const write = (file: string, text: string) => writeFileSync(file, text, { mode: 0o600 });
  const token = randomBytes(16).toString('hex');
  write(files.tokens, `${token},admin,admin,"system:masters"\n`);

  const tls = await testTls('127.0.0.1', 'localhost');
  write(files.certificate, tls.cert);
  write(files.key, tls.key);
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  write(files.serviceAccountPublic, pair.publicKey);
  write(files.serviceAccountPrivate, pair.privateKey);
  write(files.kubeconfig, JSON.stringify(kubeconfig(server, tls.ca, token), null, 2));
  return files;
}

function kubeconfig(server: string, caPem: string, token: string) {
  const ca = Buffer.from(caPem).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': CONTEXT,
    clusters: [{ name: CONTEXT, cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: CONTEXT, user: { token } }],
    contexts: [{ name: CONTEXT, context: { cluster: CONTEXT, user: CONTEXT } }],
  };
}
