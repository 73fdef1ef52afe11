import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { GateError } from '../errors.ts';
import type { Cluster } from './credentials.ts';

const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';
// The kubelet replaces a projected token at 80 % of its life, which is an hour or less; client-go also looks every minute.
const TOKEN_MAX_AGE_MS = 60_000;

export interface InClusterOptions {
  /** KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. */
  readonly host: string;
  readonly port: string;
  readonly clock: Clock;
  /** Where the service account is mounted. */
  readonly folder?: string;
}

/**
 * The cluster that this pod runs in, as its ServiceAccount.
 * @throws GateError PG_IN_CLUSTER when nothing is mounted.
 */
export async function inCluster(options: InClusterOptions): Promise<Cluster> {
  const { host, port, clock, folder = SERVICE_ACCOUNT_FOLDER } = options;
  const read = async (file: string): Promise<string> => {
    try {
      return await readFile(join(folder, file), 'utf8');
    } catch (error) {
      throw new GateError('PG_IN_CLUSTER', { detail: String(error) }, error);
    }
  };

  let token: string | undefined = (await read('token')).trim();
  let readAt = clock.monotonic();
  return {
    name: 'in-cluster',
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    ca: await read('ca.crt'),
    async token() {
      if (token === undefined || clock.monotonic() - readAt > TOKEN_MAX_AGE_MS) {
        token = (await read('token')).trim();
        readAt = clock.monotonic();
      }
      return token;
    },
    invalidateToken(refused) {
      if (token === refused) token = undefined;
    },
  };
}
