/**
 * The table of every error an operator can meet. `docs/errors.md` has a line for each; a test holds the two
 * together. A message says what is wrong, `remedy` what to do.
 */
interface ErrorEntry {
  /** HTTP status of the answer, for errors of the admission endpoint. */
  readonly status?: number;
  readonly message: string;
  readonly remedy: string;
}

export const ERRORS = {
  PG_REQUEST_NOT_HTTP: {
    status: 400,
    message: 'this is not an HTTP request: {detail}',
    remedy: 'Only an API server should call this endpoint. Find out who called.',
  },
  PG_BODY_NOT_JSON: {
    status: 400,
    message: 'the request body is not JSON: {detail}',
    remedy: 'Only an API server should call this endpoint. Check the webhook configuration.',
  },
  PG_BODY_TOO_LARGE: {
    status: 413,
    message: 'the request body is larger than {limit} bytes',
    remedy: 'No API server sends so much: two objects of 3 MB are the most it stores. Find out who called.',
  },
  PG_BODY_TIMEOUT: {
    status: 408,
    message: 'the request body was not here after {seconds} s',
    remedy: 'Check the network between the API server and the gate, and the load of both.',
  },
  PG_BODY_VALUES: {
    status: 413,
    message: 'the request body has more than {limit} values',
    remedy: 'No real Deployment has so many. Find out who called.',
  },
  PG_BUSY: {
    status: 503,
    message: 'the requests in flight are too many or too large',
    remedy:
      'API servers retry until the timeout of the webhook. If this happens often, find out who calls. A NetworkPolicy can keep strangers out (docs/security.md).',
  },
  PG_CONNECTIONS: {
    message:
      'closed a connection of {peer} to {endpoint}, because {peer} already has as many connections as are free',
    remedy: 'Find out who uses that address. A NetworkPolicy can keep strangers out (docs/security.md).',
  },
  PG_CONTENT_TYPE: {
    status: 415,
    message: 'the content type {contentType} is not application/json',
    remedy: 'Send an AdmissionReview as application/json.',
  },
  PG_NOT_FOUND: {
    status: 404,
    message: '{method} {path} does not exist here',
    remedy:
      'The admission endpoints are POST /admit/pause, /admit/reject and /admit/audit. Check clientConfig of the webhook configuration.',
  },
  PG_METHOD: {
    status: 405,
    message: '{method} is not allowed on {path}',
    remedy: 'Send an AdmissionReview by POST.',
  },
  PG_REVIEW_VERSION: {
    status: 400,
    message: 'apiVersion and kind are {apiVersion} {kind}, not admission.k8s.io/v1 AdmissionReview',
    remedy: 'Set admissionReviewVersions to ["v1"] in the webhook configuration.',
  },
  PG_REVIEW_INVALID: {
    status: 400,
    message: 'the AdmissionReview is not usable: {detail}',
    remedy: 'Only an API server should call this endpoint. Check the rules of the webhook configuration.',
  },
  PG_CERTIFICATE_HOST: {
    message: 'the host {host} is neither a DNS name nor an IP address',
    remedy: 'Set the host that the API server calls, without scheme and port (IPv6 without brackets).',
  },
  PG_SERVICE_ACCOUNT: {
    message: 'the ServiceAccount file {file} cannot be read: {detail}',
    remedy:
      'Give the pod its ServiceAccount (serviceAccountName, automountServiceAccountToken) and a user that may read it (fsGroup).',
  },
  PG_CERTIFICATE_SECRET: {
    message: 'the certificates in {secret} cannot be served: {detail}',
    remedy:
      'Put tls.crt, tls.key and ca.crt of one authority there, or delete the Secret: the gate makes its own. What was served before goes on.',
  },
  PG_ALREADY_INSTALLED: {
    message: 'the cluster has a MutatingWebhookConfiguration {name} that no gate process made',
    remedy: 'A gate is installed there. Use that one, uninstall it first, or choose another cluster.',
  },
  PG_HOLDS_OPEN: {
    message: '{count} Deployments are held, and --holds is stop: {names}',
    remedy:
      'Nothing was changed. Wait for these rollouts, or run the task again with --holds release or --holds revert.',
  },
  PG_REGISTRATION_RBAC: {
    message: 'permission is missing to {verb} {resource}: {detail}',
    remedy:
      'Registering the gate needs an account that may do this, such as cluster-admin. Name its kubeconfig context.',
  },
  PG_REGISTRATION: {
    message: '{verb} {resource} failed: {detail}',
    remedy:
      'If a webhook or a policy refused it, allow it there; else see what state the object is in. Then start the gate again.',
  },
  PG_KUBECONFIG_MISSING: {
    message: 'the kubeconfig {file} cannot be read: {detail}',
    remedy: 'Give the path of an existing kubeconfig file.',
  },
  PG_KUBECONFIG_INVALID: {
    message: 'the kubeconfig {file} is not usable: {detail}',
    remedy: 'Compare with `kubectl --kubeconfig FILE config view`.',
  },
  PG_KUBECONFIG_CONTEXT: {
    message: 'the kubeconfig {file} has no context {context}; it has: {contexts}',
    remedy: 'Name one of these.',
  },
  PG_KUBECONFIG_CREDENTIALS: {
    message: 'the credentials of context {context} in {file} cannot be loaded: {detail}',
    remedy:
      'Check that `kubectl --kubeconfig FILE --context NAME get ns` works for the same user on this machine.',
  },
  PG_API_UNREACHABLE: {
    message: 'the API server {server} cannot be reached: {detail}',
    remedy: 'Check that it runs, its address, and the network and firewalls on the way.',
  },
  PG_API_TLS: {
    message: 'the TLS connection to the API server {server} failed: {detail}',
    remedy: 'Check the certificate authority, the server name and the client certificate in the kubeconfig.',
  },
  PG_API_TIMEOUT: {
    message: 'the API server {server} did not answer {call} within {deadline} ms (last error: {detail})',
    remedy: 'Check the load and the latency of the API server, its webhooks and etcd.',
  },
  PG_API_ANSWER: {
    message: 'the answer of {server} to {call} is not one of an API server: {detail}',
    remedy: 'Check the address: a proxy or another server may be listening there.',
  },
  PG_API_ANSWER_SIZE: {
    message: 'the answer of {server} to {call} is larger than {limit} bytes',
    remedy: 'Find out which object there is so large. Check that the address is that of an API server.',
  },
  PG_OBJECT_UNREADABLE: {
    message: '{object} of {path} cannot be read and is left out: {detail}',
    remedy: 'All other objects are followed as before. This is a bug: please report it with the object.',
  },
  PG_OBJECT_TOO_LARGE: {
    message: '{object} of {path} is larger than {limit} bytes and is left out',
    remedy: 'All other objects are followed as before. Make the object smaller, or delete it.',
  },
  PG_SERVER_VERSION: {
    message: 'the API server {server} runs Kubernetes {version}; Pullgate needs 1.30 or later',
    remedy: 'Upgrade the cluster. To try Pullgate there without support, start it with --unsupported-server.',
  },
  PG_TOKEN: {
    message: 'no token for {cluster}: {detail}',
    remedy:
      'Check that the ServiceAccount exists and that its tokens may be requested (serviceaccounts/token, create).',
  },
  PG_CRD_MISSING: {
    message: 'the API server does not know {path}',
    remedy:
      'Install the CustomResourceDefinitions of Pullgate (deploy/). It goes on by itself once they are there.',
  },
  PG_RBAC: {
    message: 'not allowed to {what}: {detail}',
    remedy:
      'Compare the ClusterRole with the one in deploy/. It goes on by itself once the right is granted.',
  },
  PG_CONFIG: {
    message: '{detail}',
    remedy: 'The flags and their environment variables are listed by --help.',
  },
  PG_LISTEN: {
    message: 'cannot listen on {address}: {detail}',
    remedy: 'Choose a free address with --listen or --health-listen, or end what is listening there.',
  },
  PG_INTERNAL: {
    status: 500,
    message: 'an unexpected error: {detail}',
    remedy: 'This is a bug. The log has the stack; please report it.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** An error from the table. `message` reads `CODE: what is wrong. What to do.` on one line. */
export class GateError extends Error {
  override readonly name = 'GateError';
  readonly code: ErrorCode;
  /** HTTP status, where the error answers a request. */
  readonly status: number | undefined;

  constructor(code: ErrorCode, values: Readonly<Record<string, string | number>> = {}, cause?: unknown) {
    const entry: ErrorEntry = ERRORS[code];
    const text = entry.message.replace(/\{(\w+)\}/g, (_, key: string) => oneLine(String(values[key] ?? '')));
    super(`${code}: ${text}. ${entry.remedy}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = entry.status;
  }
}

/** The API server drops a warning that has a control character, and a log line should stay one line. */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, 500);
}
