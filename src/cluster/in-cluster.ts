import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { GateError } from '../errors.ts';
import type { Cluster } from './credentials.ts';

/** Where a pod finds its API server and its own ServiceAccount. */
export interface PodAccount {
  /** `https://host:port` */
  readonly server: string;
  /** With the files `token`, `ca.crt` and `namespace`, which the kubelet keeps up to date. */
  readonly folder: string;
}

export interface InCluster extends Cluster {
  /** The pod's. */
  readonly namespace: string;
}

/** As client-go does (transport/token_source.go): kubelets replace a token when a fifth of its life, 12 minutes, is left. */
const READ_AGAIN_MS = 60_000;

/**
 * The API server of the cluster that this runs in, as the pod's ServiceAccount. The authority is read once: it changes less
 * often than pods do.
 * @throws GateError PG_SERVICE_ACCOUNT
 */
export async function podCluster({ server, folder }: PodAccount, clock: Clock): Promise<InCluster> {
  let current: { readonly value: string; readonly readAt: number } | undefined;

  async function read(name: string): Promise<string> {
    const file = join(folder, name);
    try {
      const text = (await readFile(file, 'utf8')).trim();
      if (text !== '') return text;
    } catch (error) {
      throw new GateError('PG_SERVICE_ACCOUNT', { file, detail: String(error) }, error);
    }
    throw new GateError('PG_SERVICE_ACCOUNT', { file, detail: 'it is empty' });
  }

  const [ca, namespace] = await Promise.all([read('ca.crt'), read('namespace'), read('token')]);
  return {
    name: 'in-cluster',
    server,
    ca,
    namespace,
    async token() {
      const now = clock.monotonic();
      if (current === undefined || now - current.readAt >= READ_AGAIN_MS) {
        current = { value: await read('token'), readAt: now };
      }
      return current.value;
    },
    invalidateToken(refused) {
      if (current?.value === refused) current = undefined;
    },
  };
}
