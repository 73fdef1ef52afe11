import { once } from 'node:events';
import { createServer } from 'node:https';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import type { JsonObject } from '../../../src/json.ts';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { testTls } from '../tls.ts';
import { registerApi } from './aggregated-api.ts';
import type { Scope } from './namespace.ts';
import { until } from './until.ts';

const GROUP = 'external.metrics.k8s.io';
const GROUP_VERSION = `${GROUP}/v1beta1`;

/** The name of the metric: the length of a queue, as an adapter such as KEDA has it. */
export const QUEUE_METRIC = 'queue-length';

/** The length of a queue in each namespace, for autoscalers. */
export interface Queues {
  /** It is 0 until somebody sets it. */
  set(namespace: string, length: number): void;
}

/** Serves the external metrics API over HTTPS until the scope ends, with one metric. */
export async function serveQueues(scope: Scope, lab: Lab, api: ApiClient): Promise<Queues> {
  const lengths = new Map<string, number>();
  const server = createServer(await testTls(HUB_ADDRESS), (request, response) => {
    const answer = answerTo(new URL(request.url ?? '', `https://${HUB_ADDRESS}`).pathname, lengths);
    response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? {}));
  });
  server.listen(0, HUB_ADDRESS);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  await registerApi(scope, lab, api, { group: GROUP, version: 'v1beta1', port: address.port });
  scope.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await until(
    'the API server passes its requests on',
    60,
    () => api.get(`/apis/${GROUP_VERSION}`, {}, { retry: false }),
    () => true,
  );
  return { set: (namespace, length) => lengths.set(namespace, length) };
}

function answerTo(path: string, lengths: ReadonlyMap<string, number>): JsonObject | undefined {
  if (path === `/apis/${GROUP_VERSION}`) {
    const kind = 'ExternalMetricValueList';
    const metric = { name: QUEUE_METRIC, singularName: '', namespaced: true, kind, verbs: ['get'] };
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: GROUP_VERSION, resources: [metric] };
  }
  const [, namespace = '', metricName] = /\/namespaces\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  if (metricName !== QUEUE_METRIC) return undefined;
  const value = `${lengths.get(namespace) ?? 0}`;
  return {
    kind: 'ExternalMetricValueList',
    apiVersion: GROUP_VERSION,
    metadata: {},
    items: [{ metricName, metricLabels: {}, timestamp: new Date().toISOString(), value }],
  };
}
