import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { at } from '../../../src/json.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import type { Namespace } from './namespace.ts';
import { until } from './until.ts';

/** A pod that has all the processor time of a node: no other pod of the lab reserves any while it runs. */
export async function fillNode(api: ApiClient, shop: Namespace, node: string): Promise<void> {
  const cpu = at(await api.get(`/api/v1/nodes/${node}`), 'status', 'allocatable', 'cpu');
  const container = { name: 'filler', image: PAUSE_IMAGE, resources: { requests: { cpu } } };
  await shop.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'filler' },
    spec: { nodeName: node, containers: [container] },
  });
  await until(
    'the filler runs',
    20,
    () => api.get(`/api/v1/namespaces/${shop.name}/pods/filler`),
    (pod) => at(pod, 'status', 'phase') === 'Running',
  );
}
