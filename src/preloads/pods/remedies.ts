import type { PullFailureReason } from './pull-failure.ts';

/** What to do about a pull that fails. Every failed pull is retried automatically, so none of them says that. */
const REMEDIES: Readonly<Record<PullFailureReason, string>> = {
  NotFound: 'push the image',
  Unauthorized: 'mend the pull secret',
  PullSecretInvalid: 'mend the pull secret: the kubelet cannot decode it',
  PullSecretMissing: 'create the pull secret',
  InvalidName: 'set an image that nodes can pull',
  NeverPull: 'set an image that nodes can pull',
  WrongPlatform: 'build the image for the platform of the nodes',
  UnsupportedImage: 'push the image in a format that the runtime supports',
  PolicyViolation: 'set an image that the registry policy allows, or exempt this one',
  SignatureInvalid: 'sign the image, or set a signed one',
  LayerRefused:
    'the manifest may be read, so look at the store behind the registry and the clock of the node',
  DigestMismatch: 'look at the registry, its mirror or a proxy: what it sends is not what it promised',
  Dns: 'look at the name resolution of the node',
  ConnectionRefused: 'look at the registry, or the proxy of the node',
  ConnectionLost: 'look at the network, or a proxy, between the node and the registry',
  Unreachable: 'look at the network between the node and the registry',
  PlainHttp: 'serve the registry with TLS, or configure the runtime of the node for plain HTTP',
  UnknownAuthority: 'make the node trust the CA of the registry',
  InvalidCertificate: 'renew or correct the certificate of the registry',
  TlsFailure: 'look at the TLS settings of the registry, or at a proxy before it',
  TooManyRequests: 'use a mirror or a higher limit, or pull on fewer nodes at a time',
  ServerError: 'look at the registry',
  Timeout: 'look at the network and the registry',
  NoSpace: 'free disk space on the node',
  RuntimeUnavailable: 'look at the container runtime of the node',
  NodeRefusesPod:
    'look at the labels and the runtimes of the node, or leave it out with pullgate.io/node-selector',
  PodRejected: 'let puller pods in',
  PodNotCreated: 'look at the API server, or the webhook that it names',
  PodNotStarted: 'look at the node',
  InitContainer: 'keep the webhook that adds this init container from puller pods',
  Unknown: 'look at the kubelet and the runtime of the node',
};

export function remedyFor(reason: PullFailureReason): string {
  return REMEDIES[reason];
}
