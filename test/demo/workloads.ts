import { MODE_LABEL } from '../../src/api/names.ts';

export const UNGATED = 'demo-ungated';
export const GATED = 'demo-gated';
/** On everything that the demo makes in the cluster. */
export const DEMO_LABEL = 'pullgate-demo';

/** Two namespaces that differ in the one label, with the same two Deployments in each. For `kubectl apply`. */
export function manifests(image: string): unknown {
  const items = [UNGATED, GATED].flatMap((namespace) => [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name: namespace,
        labels: { [DEMO_LABEL]: 'true', ...(namespace === GATED ? { [MODE_LABEL]: 'pause' } : {}) },
      },
    },
    deployment(namespace, 'critical', 1, { type: 'Recreate' }, image),
    deployment(namespace, 'web', 3, { type: 'RollingUpdate' }, image),
  ]);
  return { apiVersion: 'v1', kind: 'List', items };
}

function deployment(
  namespace: string,
  name: string,
  replicas: number,
  strategy: unknown,
  image: string,
): unknown {
  const labels = { app: name, [DEMO_LABEL]: 'true' };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace, name, labels },
    spec: {
      replicas,
      strategy,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'app', image }] },
      },
    },
  };
}
