import {
  API_VERSION,
  ATTEMPT_ANNOTATION,
  BOOT_ID_ANNOTATION,
  FIRST_ATTEMPT_ANNOTATION,
  IMAGE_PRELOAD_KIND,
  PRELOAD_LABEL,
  PRIORITY_CLASS,
  PULL_LABEL,
  PULLER_LABEL,
} from '../../api/names.ts';
import type { Toleration } from '../../api/template/scheduling.ts';
import { shortHash } from '../../api/template/template-hash.ts';
import type { JsonObject } from '../../json.ts';
import { PULLER_RESOURCES, type PullerResources } from './puller-resources.ts';

/** What is pulled, and as whom. */
export interface PullSpec {
  readonly namespace: string;
  /** As the workload writes it: runtimes may resolve a short name in ways of their own. */
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent';
  /** Names of secrets in the namespace. */
  readonly imagePullSecrets: readonly string[];
  /** Empty is the namespace's default one. */
  readonly serviceAccountName: string;
  readonly runtimeClassName?: string;
  readonly tolerations: readonly Toleration[];
}

/**
 * The same for pulls that may share one pod on a node. Tolerations do not count: they say where a pod may be, not
 * what it pulls.
 */
export function pullKey(spec: PullSpec): string {
  const { namespace, image, imagePullPolicy, imagePullSecrets, runtimeClassName = '' } = spec;
  const secrets = [...new Set(imagePullSecrets)].sort((a, b) => (a < b ? -1 : 1));
  return shortHash(
    JSON.stringify([namespace, image, imagePullPolicy, secrets, serviceAccount(spec), runtimeClassName]),
  );
}

/** Its status is what the outcome is read from; an injected sidecar has another name. */
export const PULL_CONTAINER = 'pull';

/** nonroot of the distroless images. Any but root will do: nothing ever runs as it. */
const USER = 65532;

export interface PullerPodOptions {
  readonly spec: PullSpec;
  readonly preload: { readonly name: string; readonly uid: string };
  readonly node: string;
  /** See Node; empty if it is not known. */
  readonly bootId?: string;
  /** Counted from 1. */
  readonly attempt: number;
  /** Milliseconds. */
  readonly firstAttemptAt: number;
  /** Default `PULLER_RESOURCES`. */
  readonly resources?: PullerResources;
  /** Lower-case letters and digits from a cryptographic source: no image can hold the path that is made of them. */
  readonly random: string;
}

/**
 * The Pod to create. The kubelet pulls its image, then fails to start it, as its command does not exist: nothing of
 * the image runs. The same attempt has the same name, so that a create that is repeated answers AlreadyExists.
 */
export function pullerPod({
  spec,
  preload,
  node,
  bootId,
  attempt,
  firstAttemptAt,
  resources = PULLER_RESOURCES,
  random,
}: PullerPodOptions): JsonObject {
  const key = pullKey(spec);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName(preload, key, node, attempt),
      namespace: spec.namespace,
      labels: {
        [PULLER_LABEL]: 'true',
        [PRELOAD_LABEL]: preload.name,
        [PULL_LABEL]: key,
        // Istio 1.10 and later select by the label, earlier ones read the annotation.
        'sidecar.istio.io/inject': 'false',
      },
      annotations: {
        [ATTEMPT_ANNOTATION]: String(attempt),
        [FIRST_ATTEMPT_ANNOTATION]: new Date(firstAttemptAt).toISOString(),
        ...(bootId && { [BOOT_ID_ANNOTATION]: bootId }),
        'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
        'sidecar.istio.io/inject': 'false',
        'linkerd.io/inject': 'disabled',
      },
      ownerReferences: [
        {
          apiVersion: API_VERSION,
          kind: IMAGE_PRELOAD_KIND,
          name: preload.name,
          uid: preload.uid,
          // kubectl drain refuses to evict a pod without a controller. A PodDisruptionBudget asks the controller's scale how
          // many pods to expect: that of an ImagePreload is always 0.
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      nodeName: node,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      serviceAccountName: serviceAccount(spec),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      priorityClassName: PRIORITY_CLASS,
      ...(spec.runtimeClassName && { runtimeClassName: spec.runtimeClassName }),
      imagePullSecrets: spec.imagePullSecrets.map((name) => ({ name })),
      tolerations: spec.tolerations,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: USER,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: PULL_CONTAINER,
          image: spec.image,
          imagePullPolicy: spec.imagePullPolicy,
          command: [`/pullgate-preload-only-${random}`],
          resources: { ...resources },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    },
  };
}

function serviceAccount({ serviceAccountName }: PullSpec): string {
  return serviceAccountName || 'default';
}

/** With the hyphen and the 12 digits of the hash it makes 63, the longest host name. */
const PREFIX_LIMIT = 50;

/** The name is a claim that can be checked: nobody else makes a pod of that name for another pull, node or attempt. */
export function podName(
  preload: PullerPodOptions['preload'],
  key: string,
  node: string,
  attempt: number,
): string {
  const prefix = preload.name
    .slice(0, PREFIX_LIMIT)
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return `${prefix || 'preload'}-${shortHash(`${key} ${preload.uid} ${node} ${attempt}`)}`;
}
