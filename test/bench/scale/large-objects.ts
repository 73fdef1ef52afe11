import type { JsonObject } from '../../../src/json.ts';
import { manifestOf } from '../../support/e2e/deployment.ts';

/** As many as a kubelet reports (nodeStatusMaxImages), with names as registries of clouds have them. */
export const NODE_IMAGES = Array.from(
  { length: 50 },
  (_, index) => `registry.sim/some-project-of-a-team/platform/component-${index}@sha256:${digest(index)}`,
);

export const NODE_LABELS: Readonly<Record<string, string>> = Object.fromEntries(
  Array.from({ length: 15 }, (_, index) => [`topology.example.com/label-${index}`, `value-${index}`]),
);

/** Of some 6 KB, half of it the annotation that `kubectl apply` leaves; without pods, which nobody here looks at. */
export function largeDeployment(name: string, image: string): JsonObject {
  const env = Array.from({ length: 30 }, (_, index) => ({
    name: `SETTING_NUMBER_${index}`,
    value: `the value of setting ${index} of ${name}`,
  }));
  const probe = { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 10, failureThreshold: 3 };
  const container = {
    name: 'app',
    image,
    args: ['--listen=:8080', '--log-level=info', `--name=${name}`],
    ports: [{ name: 'http', containerPort: 8080 }],
    env,
    readinessProbe: probe,
    livenessProbe: probe,
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    volumeMounts: [{ name: 'config', mountPath: '/etc/app', readOnly: true }],
  };
  const pod = { containers: [container], volumes: [{ name: 'config', configMap: { name: 'config' } }] };
  const manifest = manifestOf(name, { replicas: 0, pod });
  const applied = { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(manifest) };
  return { ...manifest, metadata: { name, labels: { app: name }, annotations: applied } };
}

function digest(index: number): string {
  return index.toString(16).padStart(64, 'a');
}
