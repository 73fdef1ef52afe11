import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { isNotFound } from '../../../src/cluster/api-error.ts';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { createNamespace, type Scope } from './namespace.ts';

const API_SERVICES = '/apis/apiregistration.k8s.io/v1/apiservices';

/** An API that another server serves over HTTPS, at this port of the address where the API server runs. */
interface AggregatedApi {
  readonly group: string;
  readonly version: string;
  readonly port: number;
}

/**
 * Registers the API until the scope ends. Call it before that server is added to the scope: while a registered API does not
 * answer, no namespace can be deleted.
 */
export async function registerApi(
  scope: Scope,
  lab: Lab,
  api: ApiClient,
  { group, version, port }: AggregatedApi,
): Promise<void> {
  const name = `${version}.${group}`;
  scope.after(() =>
    api.delete(`${API_SERVICES}/${name}`).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    }),
  );
  const { name: namespace } = await createNamespace(scope, lab, api, {});
  // Without a selector: the slice is all that it has.
  await api.create(`/api/v1/namespaces/${namespace}/services`, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'api' },
    spec: { ports: [{ name: 'https', port: 443 }] },
  });
  await api.create(`/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'api', labels: { 'kubernetes.io/service-name': 'api' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [HUB_ADDRESS], conditions: { ready: true } }],
    ports: [{ name: 'https', port, protocol: 'TCP' }],
  });
  await api.create(API_SERVICES, {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name },
    spec: {
      group,
      version,
      service: { namespace, name: 'api', port: 443 },
      insecureSkipTLSVerify: true,
      groupPriorityMinimum: 100,
      versionPriority: 100,
    },
  });
}
