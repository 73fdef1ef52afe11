import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { LabError } from './errors.ts';
import { state } from './paths.ts';

export const AUDIT_FOLDER = state('audit');
const POLICY = join(AUDIT_FOLDER, 'policy.yaml');
const LOG = 'audit.log';
/** Names the period that the log is of: see `beginAudit`. */
const PERIOD = 'period';

/** The gate, in a process or in a cluster. */
const ACCOUNT = 'system:serviceaccount:pullgate:pullgate';

/** An entry takes about 1 kB and a gate at rest writes next to none: seen, a suite of 20 minutes fills less than one file. */
const MEGABYTES = 64;
const ROTATED_FILES = 3;

/**
 * The gate's own requests, and everybody's updates of Deployments, which the gate is asked about; not the bodies; each once, when
 * it has been answered. By the name that the request was made with: `kubectl --as` is not the gate.
 */
const POLICY_TEXT = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    users: ["${ACCOUNT}"]
  - level: Metadata
    verbs: [update, patch]
    resources:
      - group: apps
        resources: [deployments]
  - level: None
`;

/** What the API server needs to write that down. */
export const AUDIT = {
  argv: [
    `--audit-policy-file=${POLICY}`,
    `--audit-log-path=${join(AUDIT_FOLDER, LOG)}`,
    `--audit-log-maxsize=${MEGABYTES}`,
    `--audit-log-maxbackup=${ROTATED_FILES}`,
  ],
  files: { [POLICY]: POLICY_TEXT },
};

/** A request of the gate's, as the API server has answered it. */
export interface AuditedRequest {
  readonly verb: string;
  readonly apiGroup: string;
  /** With its subresource, as RBAC spells it: `deployments/status`. */
  readonly resource: string;
  /** Empty without one: of objects of the whole cluster, lists and watches over all namespaces. */
  readonly namespace: string;
  readonly name: string;
  readonly code: number;
  /** Refused for want of a right, and not by an admission plugin, say. */
  readonly forbidden: boolean;
}

/** An update of a Deployment, by whomever. */
export interface AuditedUpdate {
  readonly namespace: string;
  readonly name: string;
  readonly user: string;
  /** When the API server received it, in ms since the epoch. */
  readonly at: number;
  readonly code: number;
  /** Names of the webhooks that failed and that it passed without. */
  readonly failedOpen: readonly string[];
}

/** From now on the log counts. Returns the period's name, for `readAudit`. */
export function beginAudit(now: Date, folder = AUDIT_FOLDER): string {
  const period = now.toISOString();
  mkdirSync(folder, { recursive: true });
  for (const file of logFiles(folder).filter((name) => name !== LOG)) rmSync(join(folder, file));
  writeFileSync(join(folder, PERIOD), period);
  return period;
}

/**
 * Every kind of request in that period, once.
 *
 * @throws LabError if the log does not hold all of the period: one that lacks requests would make rights look unused
 */
export async function readAudit(period: string, folder = AUDIT_FOLDER): Promise<AuditedRequest[]> {
  const named = join(folder, PERIOD);
  if (!existsSync(named) || readFileSync(named, 'utf8') !== period) {
    throw new LabError(
      `the lab was begun anew after ${period}: its audit log tells of a part of that time only`,
    );
  }
  const count = logFiles(folder).length;
  if (count > ROTATED_FILES) {
    throw new LabError(`the audit log may have lost what is older than ${count} × ${MEGABYTES} MB`);
  }
  const requests = new Map<string, AuditedRequest>();
  for await (const line of linesOf(folder)) {
    const request = parseRequest(line, period);
    if (request !== undefined) requests.set(JSON.stringify(request), request);
  }
  return [...requests.values()];
}

/** What the log still has of the updates of Deployments in that namespace. */
export async function readUpdates(namespace: string, folder = AUDIT_FOLDER): Promise<AuditedUpdate[]> {
  const updates: AuditedUpdate[] = [];
  for await (const line of linesOf(folder)) {
    // Most lines are about others.
    if (!line.includes(`"${namespace}"`)) continue;
    const event = eventOf(line);
    const { resource, subresource, namespace: of, name = '' } = event?.objectRef ?? {};
    if (event === undefined || resource !== 'deployments' || subresource !== undefined || of !== namespace)
      continue;
    if (event.verb !== 'update' && event.verb !== 'patch') continue;
    updates.push({
      namespace,
      name,
      user: event.user?.username ?? '',
      at: Date.parse(event.requestReceivedTimestamp),
      code: event.responseStatus?.code ?? 0,
      failedOpen: Object.entries(event.annotations ?? {})
        .filter(([key]) => key.startsWith(FAILED_OPEN))
        .map(([, webhook]) => webhook),
    });
  }
  return updates;
}

/** k8s.io/apiserver, plugin/webhook/mutating: MutationAuditAnnotationFailedOpenKeyPrefix. The round and the place follow. */
const FAILED_OPEN = 'failed-open.mutation.webhook.admission.k8s.io/';

async function* linesOf(folder: string): AsyncGenerator<string> {
  for (const file of logFiles(folder)) yield* createInterface(createReadStream(join(folder, file)));
}

function logFiles(folder: string): string[] {
  // Rotated ones are called audit-<time>.log.
  return readdirSync(folder).filter((name) => /^audit.*\.log$/.test(name));
}

interface AuditEvent {
  verb: string;
  user?: { username?: string };
  requestReceivedTimestamp: string;
  objectRef?: {
    apiGroup?: string;
    resource?: string;
    subresource?: string;
    namespace?: string;
    name?: string;
  };
  responseStatus?: { code?: number };
  annotations?: Record<string, string>;
}

/** How each event begins; none of this level of detail has another one in it. */
const BEGIN = '{"kind":"Event"';

/**
 * An API server that is killed may leave its last line half written, and the next one goes on in it. Undefined: the half that is
 * left says nothing.
 */
function eventOf(line: string): AuditEvent | undefined {
  const begin = line.lastIndexOf(BEGIN);
  if (begin > 0) return eventOf(line.slice(begin));
  try {
    return JSON.parse(line) as AuditEvent;
  } catch (error) {
    if (begin === 0) return undefined;
    throw error;
  }
}

function parseRequest(line: string, period: string): AuditedRequest | undefined {
  const event = eventOf(line);
  if (event === undefined) return undefined;
  const { verb, user, requestReceivedTimestamp, objectRef, responseStatus, annotations } = event;
  if (user?.username !== ACCOUNT) return undefined;
  // Paths of no resource, such as /version, are open to everybody.
  if (Date.parse(requestReceivedTimestamp) < Date.parse(period) || objectRef?.resource === undefined) {
    return undefined;
  }
  const { apiGroup = '', resource, subresource, namespace = '', name = '' } = objectRef;
  return {
    verb,
    apiGroup,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    namespace,
    name,
    code: responseStatus?.code ?? 0,
    forbidden: annotations?.['authorization.k8s.io/decision'] === 'forbid',
  };
}
