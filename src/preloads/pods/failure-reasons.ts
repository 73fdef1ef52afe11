interface FailureRow {
  /** The answer is about the image or the pull secret, and a second pull right away would get the same answer. */
  readonly definitive: boolean;
  /** Why the pull failed, for docs/reference/failures.md. */
  readonly means: string;
  /** What to do, as an Event says it. Every failed pull is retried automatically, so no remedy says that. */
  readonly remedy: string;
}

/** Every reason for which the pull of an image on a node fails. `npm run docs` writes docs/reference/failures.md from this table. */
const FAILURES = {
  NotFound: {
    definitive: true,
    means: 'The registry has no such image or tag.',
    remedy: 'push the image',
  },
  Unauthorized: {
    definitive: true,
    means:
      'The registry does not let this pull secret, or anybody without one, read the image. If only some nodes fail, see their role or mirror.',
    remedy: 'fix the pull secret of the pod template or of its ServiceAccount',
  },
  PullSecretInvalid: {
    definitive: true,
    means: 'The kubelet (1.33 or later) cannot decode the pull secret.',
    remedy: 'create the pull secret again with kubectl create secret docker-registry',
  },
  PullSecretMissing: {
    definitive: true,
    means: 'The pull failed, and the kubelet (1.33 or later) cannot find a pull secret that the pod names.',
    remedy: 'create the pull secret in this namespace, or correct its name',
  },
  InvalidName: {
    definitive: true,
    means: 'The reference is not a valid name of an image.',
    remedy: 'correct the name of the image',
  },
  NeverPull: {
    definitive: true,
    means: 'A webhook gave the puller pod the pull policy Never.',
    remedy: 'exclude puller pods from the webhook that sets the pull policy Never',
  },
  WrongPlatform: {
    definitive: true,
    means: 'The image is not built for the operating system and architecture of the node.',
    remedy: 'build the image for the platforms of all nodes, or exclude the other nodes with a node selector',
  },
  UnsupportedImage: {
    definitive: true,
    means:
      'The container runtime does not support this kind of image: schema 1, an unknown media type, or a manifest that is too large.',
    remedy: 'build and push the image with a current tool',
  },
  PolicyViolation: {
    definitive: true,
    means:
      'The registry (HTTP status 412, such as Harbor) or the image verifier of containerd withholds the image.',
    remedy: 'fix the vulnerabilities, sign the image, or exempt it from the policy',
  },
  SignatureInvalid: {
    definitive: true,
    means: 'The node requires a valid signature.',
    remedy: 'sign the image, or correct policy.json of the node',
  },
  LayerRefused: {
    definitive: false,
    means:
      'The registry lets the node read the manifest, but the store behind it refuses a layer. The pull secret is not the cause.',
    remedy:
      'check the policy of the store behind the registry, and the clock of the node because signed addresses expire',
  },
  DigestMismatch: {
    definitive: false,
    means: 'A layer or a manifest does not have the digest that was announced.',
    remedy: 'check the registry, and any mirror or proxy that may change files',
  },
  Dns: {
    definitive: false,
    means: "The node cannot resolve the registry's name. Nodes do not use the DNS of the cluster.",
    remedy: 'check the DNS of the node',
  },
  ConnectionRefused: {
    definitive: false,
    means: "Nothing listens on the registry's address.",
    remedy: 'check the registry, and the proxy of the node',
  },
  ConnectionLost: {
    definitive: false,
    means: 'The connection broke during the request or the download.',
    remedy: 'check the network, and any proxy or load balancer between the node and the registry',
  },
  Unreachable: {
    definitive: false,
    means: 'The node has no route to the registry.',
    remedy: 'check the network of the node and the firewalls',
  },
  PlainHttp: {
    definitive: false,
    means: 'The registry serves plain HTTP and the node expects TLS, or the other way round.',
    remedy: 'serve the registry with TLS, or allow plain HTTP in hosts.toml of the node',
  },
  UnknownAuthority: {
    definitive: false,
    means: "The node does not trust the authority that signed the registry's certificate.",
    remedy: 'add the certificate authority to the trust store or to hosts.toml of the node',
  },
  InvalidCertificate: {
    definitive: false,
    means: "The registry's certificate has expired, is for another host, or is invalid in another way.",
    remedy: "renew or correct the registry's certificate, and check the clock of the node",
  },
  TlsFailure: {
    definitive: false,
    means: 'The node and the registry do not agree on TLS.',
    remedy: 'check the protocol versions, the client certificates, and any proxy between',
  },
  TooManyRequests: {
    definitive: false,
    means: "A rate limit of the registry, or the kubelet's own limit (registryPullQPS), was exceeded.",
    remedy: 'use a mirror, raise the limit, or lower the parallelism of the preload',
  },
  ServerError: {
    definitive: false,
    means: 'The registry answered with an HTTP status 5xx.',
    remedy: 'check the registry',
  },
  Timeout: {
    definitive: false,
    means:
      'The pull made no progress, the registry did not answer, or the pull took longer than --node-timeout-seconds and another pull needed its place.',
    remedy: 'check the network and the registry',
  },
  NoSpace: {
    definitive: false,
    means: "The node's disk is full.",
    remedy: 'free disk space on the node',
  },
  RuntimeUnavailable: {
    definitive: false,
    means: 'The kubelet cannot reach its container runtime.',
    remedy: 'check the container runtime of the node (journalctl -u containerd)',
  },
  PodRejected: {
    definitive: false,
    means:
      'A quota, a LimitRange, a policy or a webhook refused the puller pod, or the node accepts no more pods. For the policy `pullgate-pod-shape`, see [pod shape](../security.md#pod-shape).',
    remedy: 'change what refuses the puller pod, or exempt pods with the label pullgate.io/puller from it',
  },
  PodNotCreated: {
    definitive: false,
    means:
      'The API server, or a webhook that it calls, does not answer when Pullgate creates the puller pod.',
    remedy: 'check the API server, or the webhook that it names',
  },
  NodeRefusesPod: {
    definitive: false,
    means:
      'The kubelet refuses the puller pod for a reason that does not change on that node, such as NodeAffinity, or the node does not have the runtime of the RuntimeClass. The node no longer counts.',
    remedy:
      'check the labels and runtimes of the node, or exclude the node with the annotation pullgate.io/node-selector',
  },
  PodNotStarted: {
    definitive: false,
    means: 'The pod does not reach its pull because of its sandbox, network or mounts.',
    remedy: 'check the node',
  },
  InitContainer: {
    definitive: false,
    means:
      'A webhook added an init container or a native sidecar to the puller pod, and it waits, crashes or does not start.',
    remedy: 'exclude pods with the label pullgate.io/puller from the webhook that adds this init container',
  },
  Unknown: {
    definitive: false,
    means: 'Pullgate does not recognize the message, or the kubelet gives none.',
    remedy:
      'check what the message names, such as the registry or a proxy, then the log of the kubelet (journalctl -u kubelet)',
  },
} as const satisfies Record<string, FailureRow>;

export type PullFailureReason = keyof typeof FAILURES;
export const PULL_FAILURES: Readonly<Record<PullFailureReason, FailureRow>> = FAILURES;
export const PULL_FAILURE_REASONS = Object.keys(FAILURES) as readonly PullFailureReason[];

/** Returns whether failures of this kind are about the image or the pull secret. */
export function isDefinitive(reason: PullFailureReason): boolean {
  return PULL_FAILURES[reason].definitive;
}

/** What to do if one of these refuses a puller pod, by the words of the plugins ServiceAccount and ResourceQuota, and of kubelets. */
const REJECTIONS: readonly (readonly [RegExp, string])[] = [
  [/error looking up service account /, 'create the ServiceAccount, or correct its name'],
  [/\bRuntimeClass "[^"]{1,253}" not found/, 'create the RuntimeClass, or correct its name'],
  [/\bexceeded quota: /, 'raise the quota, or make room in it'],
  [/^OutOf/, 'make room on the node, or exclude the node with the annotation pullgate.io/node-selector'],
];

export function remedyFor({ reason, message }: { reason: PullFailureReason; message: string }): string {
  const known = reason === 'PodRejected' ? REJECTIONS.find(([words]) => words.test(message)) : undefined;
  return known?.[1] ?? PULL_FAILURES[reason].remedy;
}
