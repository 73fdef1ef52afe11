import type { JsonObject } from '../../../src/json.ts';
import { admissionReview } from '../../support/admission-review.ts';

export const NAMESPACE = 'bench';
export const GATE_USER = 'system:serviceaccount:pullgate:pullgate';

/** A Deployment of two containers as an API server keeps it, with so many variables in each of the two. */
interface Content {
  readonly name: string;
  readonly image: string;
  readonly variables: number;
}

/**
 * Grown by variables until a review of it has about that size. As they are in clusters, each is in the object three times: in
 * the template, in what kubectl last applied, and in the managed fields.
 */
export function deploymentOf(name: string, image: string, reviewBytes: number): JsonObject {
  const sizeWith = (variables: number) => {
    const object = deployment({ name, image, variables });
    return JSON.stringify(admissionReview(object, object)).length;
  };
  const each = (sizeWith(200) - sizeWith(100)) / 100;
  const wanted = 100 + (reviewBytes - sizeWith(100)) / each;
  return deployment({ name, image, variables: Math.max(0, Math.round(wanted)) });
}

function deployment({ name, image, variables }: Content): JsonObject {
  const labels = { 'app.kubernetes.io/name': name };
  const env = Array.from({ length: variables }, (_, index) => ({
    name: `FEATURE_SETTING_${index}`,
    value: `https://config.internal.example/v1/settings/${index}`,
  }));
  const container = {
    name: 'app',
    image,
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    ...(env.length > 0 && { env }),
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    readinessProbe: { httpGet: { path: '/ready', port: 'http', scheme: 'HTTP' }, periodSeconds: 10 },
    imagePullPolicy: 'IfNotPresent',
  };
  const spec = {
    replicas: 3,
    selector: { matchLabels: labels },
    template: {
      metadata: { creationTimestamp: null, labels },
      spec: {
        containers: [
          container,
          { name: 'proxy', image: 'registry.example/proxy:7', imagePullPolicy: 'IfNotPresent' },
        ],
        restartPolicy: 'Always',
        terminationGracePeriodSeconds: 30,
        dnsPolicy: 'ClusterFirst',
        serviceAccountName: name,
        securityContext: { runAsNonRoot: true },
        schedulerName: 'default-scheduler',
      },
    },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
  };
  const applied = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: NAMESPACE, labels },
    spec,
  };
  return {
    kind: 'Deployment',
    apiVersion: 'apps/v1',
    metadata: {
      name,
      namespace: NAMESPACE,
      uid: 'a1a56c6d-57f0-4b0e-9c4a-3d0f4a8f0c11',
      resourceVersion: '148223',
      generation: 7,
      creationTimestamp: '2026-01-05T09:12:44Z',
      labels,
      annotations: {
        'deployment.kubernetes.io/revision': '6',
        // The smallest is one that was made by `kubectl create`.
        ...(env.length > 0 && {
          'kubectl.kubernetes.io/last-applied-configuration': `${JSON.stringify(applied)}\n`,
        }),
      },
      managedFields: [
        {
          manager: 'kubectl-client-side-apply',
          operation: 'Update',
          apiVersion: 'apps/v1',
          time: '2026-01-05T09:12:44Z',
          fieldsType: 'FieldsV1',
          fieldsV1: managedFields(env.map((variable) => variable.name)),
        },
      ],
    },
    spec,
    status: {
      observedGeneration: 7,
      replicas: 3,
      updatedReplicas: 3,
      readyReplicas: 3,
      availableReplicas: 3,
      conditions: [
        {
          type: 'Progressing',
          status: 'True',
          lastUpdateTime: '2026-01-05T09:13:02Z',
          lastTransitionTime: '2026-01-05T09:12:44Z',
          reason: 'NewReplicaSetAvailable',
          message: `ReplicaSet "${name}-6d4cf56db6" has successfully progressed.`,
        },
      ],
    },
  };
}

function managedFields(variables: readonly string[]): JsonObject {
  const env = variables.map((variable) => [
    `k:{"name":"${variable}"}`,
    { '.': {}, 'f:name': {}, 'f:value': {} },
  ]);
  return {
    'f:metadata': { 'f:annotations': { '.': {} }, 'f:labels': { '.': {}, 'f:app.kubernetes.io/name': {} } },
    'f:spec': {
      'f:replicas': {},
      'f:selector': {},
      'f:template': {
        'f:spec': {
          'f:containers': {
            'k:{"name":"app"}': {
              '.': {},
              'f:env': { '.': {}, ...Object.fromEntries(env) },
              'f:image': {},
              'f:name': {},
              'f:resources': {},
            },
          },
        },
      },
    },
  };
}
