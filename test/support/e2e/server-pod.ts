import { asString, at } from '../../../src/json.ts';
import type { Namespace } from './namespace.ts';
import type { Origin } from './reaches.ts';

const PORT = 8080;
/** The image also has a shell and a client. */
const ENTRYPOINT = ['/bin/busybox', 'httpd', '-f', '-p', String(PORT)];

/** A pod with a TCP port that can also be a client of others. */
export async function serverPod(shop: Namespace): Promise<Origin & { address: string; port: number }> {
  const image = await shop.push('server', { base: 'busybox', entrypoint: ENTRYPOINT });
  await shop.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'server' },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'server', image }] },
  });
  await shop.kubectl('wait', '--for=condition=Ready', 'pod/server', '--timeout=60s');
  const pod = await shop.api.get(`/api/v1/namespaces/${shop.name}/pods/server`);
  const address = asString(at(pod, 'status', 'podIP')) ?? '';
  return { namespace: shop.name, pod: 'server', tool: 'busybox', address, port: PORT };
}
