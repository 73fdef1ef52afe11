/**
 * The table of every error an operator can meet. A message says what is wrong, `remedy` what to do. `npm run docs` writes
 * docs/reference/errors.md from this table.
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
    remedy: 'Only an API server should call this endpoint. Find out which client called it.',
  },
  PG_BODY_NOT_JSON: {
    status: 400,
    message: 'the request body is not JSON: {detail}',
    remedy: 'Only an API server should call this endpoint. Check the webhook configuration.',
  },
  PG_BODY_TOO_LARGE: {
    status: 413,
    message: 'the request body is larger than {limit} bytes',
    remedy:
      'An API server sends a body of this size only for a Deployment of about 1 MB or more. Make the Deployment smaller, or find out which client called this endpoint.',
  },
  PG_BODY_TIMEOUT: {
    status: 408,
    message: 'timed out after {seconds} s waiting for the request body',
    remedy: 'Check the network between the API server and Pullgate, and the load of both.',
  },
  PG_BODY_VALUES: {
    status: 413,
    message: 'the request body has more than {limit} values',
    remedy: 'No real Deployment has so many values. Find out which client called this endpoint.',
  },
  PG_BUSY: {
    status: 503,
    message: 'the requests in flight are too many or too large',
    remedy:
      'API servers retry until the timeout of the webhook. If this error occurs often, find out which client sends the requests. A NetworkPolicy can keep other clients out (docs/security.md).',
  },
  PG_CONNECTIONS: {
    message:
      'closed a connection of {peer} to {endpoint}, because {peer} has more than its share of the connections',
    remedy:
      'Find out which client uses that address. A NetworkPolicy can keep other clients out (docs/security.md).',
  },
  PG_CONTENT_TYPE: {
    status: 415,
    message: 'the content type {contentType} is not application/json',
    remedy: 'Send an AdmissionReview as application/json.',
  },
  PG_NOT_FOUND: {
    status: 404,
    message: 'no endpoint answers {method} {path}',
    remedy:
      'The admission endpoints are POST /admit/pause, /admit/reject and /admit/audit. Check clientConfig of the webhook configuration.',
  },
  PG_METHOD: {
    status: 405,
    message: '{method} is not allowed on {path}',
    remedy: 'Send an AdmissionReview with the method POST.',
  },
  PG_REVIEW_VERSION: {
    status: 400,
    message: 'apiVersion and kind are {apiVersion} {kind}, not admission.k8s.io/v1 AdmissionReview',
    remedy: 'Set admissionReviewVersions to ["v1"] in the webhook configuration.',
  },
  PG_REVIEW_INVALID: {
    status: 400,
    message: 'the AdmissionReview is invalid: {detail}',
    remedy: 'Only an API server should call this endpoint. Check the rules of the webhook configuration.',
  },
  PG_CERTIFICATE_HOST: {
    message: 'the host {host} is neither a DNS name nor an IP address',
    remedy:
      'Set the host that the API server calls, without a scheme or a port, and an IPv6 address without brackets.',
  },
  PG_SERVICE_ACCOUNT: {
    message: 'the ServiceAccount file {file} cannot be read: {detail}',
    remedy:
      'Set serviceAccountName and automountServiceAccountToken of the pod, and run it as a user that may read the file (fsGroup).',
  },
  PG_CERTIFICATE_SECRET: {
    message: 'the certificates in {secret} cannot be served: {detail}',
    remedy:
      'Store tls.crt, tls.key and ca.crt of one certificate authority in the Secret, or delete the Secret so that Pullgate issues its own. Until then Pullgate serves the previous certificate.',
  },
  PG_ALREADY_INSTALLED: {
    message:
      'the cluster has a MutatingWebhookConfiguration {name} that no Pullgate process outside the cluster created',
    remedy:
      'Pullgate is installed in that cluster. Use that installation, uninstall it first, or choose another cluster.',
  },
  PG_HOLDS_OPEN: {
    message: '{count} Deployments are held, and --holds is stop: {names}',
    remedy:
      'Nothing was changed. Wait for these rollouts, or run the task again with --holds release or --holds revert.',
  },
  PG_REGISTRATION_RBAC: {
    message: 'no permission to {verb} {resource}: {detail}',
    remedy: 'Set --context to a kubeconfig context whose account may do this, such as cluster-admin.',
  },
  PG_REGISTRATION: {
    message: '{verb} {resource} failed: {detail}',
    remedy:
      'If a webhook or a policy refused the request, allow it there. Otherwise check the state of the object. Then start Pullgate again.',
  },
  PG_KUBECONFIG_MISSING: {
    message: 'the kubeconfig {file} cannot be read: {detail}',
    remedy: 'Give the path of an existing kubeconfig file.',
  },
  PG_KUBECONFIG_INVALID: {
    message: 'the kubeconfig {file} is invalid: {detail}',
    remedy: 'Compare the file with the output of `kubectl --kubeconfig FILE config view`.',
  },
  PG_KUBECONFIG_CONTEXT: {
    message: 'the kubeconfig {file} has no context {context}; it has: {contexts}',
    remedy: 'Set --context to one of these contexts.',
  },
  PG_KUBECONFIG_CREDENTIALS: {
    message: 'the credentials of context {context} in {file} cannot be loaded: {detail}',
    remedy:
      'Check that `kubectl --kubeconfig FILE --context NAME get ns` works for the same user on this machine.',
  },
  PG_API_UNREACHABLE: {
    message: 'the API server {server} cannot be reached: {detail}',
    remedy: 'Check that the API server runs, its address, and the network and the firewalls on the way.',
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
    message: 'the answer of {server} to {call} does not come from an API server: {detail}',
    remedy: 'Check the address: a proxy or another server may be listening there.',
  },
  PG_API_ANSWER_SIZE: {
    message: 'the answer of {server} to {call} is larger than {limit} bytes',
    remedy: 'Find out which object is so large, and check that the address is that of an API server.',
  },
  PG_API_ANSWER_DEPTH: {
    message: 'the answer of {server} to {call} nests deeper than {limit} levels',
    remedy: 'Find the object that nests so deep, and check that the address is that of an API server.',
  },
  PG_OBJECT_UNREADABLE: {
    message: '{object} of {path} cannot be read and is ignored: {detail}',
    remedy: 'Pullgate watches all other objects as before. This is a bug: please report it with the object.',
  },
  PG_OBJECT_TOO_LARGE: {
    message: '{object} of {path} is larger than {limit} bytes and is ignored',
    remedy: 'Pullgate watches all other objects as before. Make the object smaller, or delete it.',
  },
  PG_SERVER_VERSION: {
    message: 'the API server {server} runs Kubernetes {version}; Pullgate needs 1.30 or later',
    remedy:
      'Upgrade the cluster. To try Pullgate on this version without support, start it with --unsupported-server.',
  },
  PG_TOKEN: {
    message: 'cannot get a token for {cluster}: {detail}',
    remedy:
      'Check that the ServiceAccount exists, and that you may create its tokens (create on serviceaccounts/token).',
  },
  PG_CRD_MISSING: {
    message: 'the API server does not know {path}',
    remedy:
      'Install the CustomResourceDefinition of Pullgate (deploy/crd.yaml). Pullgate then continues automatically.',
  },
  PG_RBAC: {
    message: 'not allowed to {what}: {detail}',
    remedy:
      'Compare the ClusterRole with the one in deploy/. Pullgate continues automatically when the permission is granted.',
  },
  PG_CONFIG: {
    message: '{detail}',
    remedy: 'Run Pullgate with --help to list the flags and their environment variables.',
  },
  PG_LISTEN: {
    message: 'cannot listen on {address}: {detail}',
    remedy: 'Choose a free address with --listen or --health-listen, or stop the process that listens there.',
  },
  PG_INTERNAL: {
    status: 500,
    message: 'an unexpected error: {detail}',
    remedy: 'This is a bug: please report it with the stack trace from the log.',
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
