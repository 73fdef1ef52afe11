import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../../src/api/names.ts';
import { asArray, asString, at, type JsonObject } from '../../../src/json.ts';
import type { AuditedRequest } from '../../cluster/lab/audit-log.ts';

/** One thing that the gate may do, by one rule of one role. */
export interface Right {
  /** Such as `ClusterRole pullgate`. */
  readonly role: string;
  /** Empty is the whole cluster. */
  readonly namespace: string;
  readonly verb: string;
  readonly apiGroup: string;
  readonly resource: string;
  /** Undefined is any. */
  readonly name: string | undefined;
}

/** What the manifests bind to the gate's account. Roles that are for others, such as aggregated ones, are left out. */
export function rightsOfTheGate(manifests: readonly JsonObject[]): Right[] {
  const bindings = manifests.filter(
    ({ kind, subjects }) => isBinding(kind) && asArray(subjects).some(isGate),
  );
  return bindings.flatMap((binding) => {
    const kind = asString(at(binding, 'roleRef', 'kind'));
    const name = asString(at(binding, 'roleRef', 'name'));
    const role = manifests.find((one) => one['kind'] === kind && at(one, 'metadata', 'name') === name);
    if (role === undefined) throw new Error(`the manifests bind ${kind} ${name}, but have none`);
    const namespace = asString(at(binding, 'metadata', 'namespace')) ?? '';
    return asArray(role['rules']).flatMap((rule) => rightsOf(rule, `${kind} ${name}`, namespace));
  });
}

function isBinding(kind: unknown): boolean {
  return kind === 'ClusterRoleBinding' || kind === 'RoleBinding';
}

function isGate(subject: unknown): boolean {
  return (
    at(subject, 'kind') === 'ServiceAccount' &&
    at(subject, 'name') === GATE_SERVICE_ACCOUNT &&
    at(subject, 'namespace') === GATE_NAMESPACE
  );
}

function rightsOf(rule: unknown, role: string, namespace: string): Right[] {
  const list = (key: string) => asArray(at(rule, key)).map(String);
  const names = list('resourceNames');
  return list('apiGroups').flatMap((apiGroup) =>
    list('resources').flatMap((resource) =>
      list('verbs').flatMap((verb) =>
        (names.length === 0 ? [undefined] : names).map((name) => ({
          ...{ role, namespace, verb, apiGroup, resource, name },
        })),
      ),
    ),
  );
}

/** Those that no request needed which was granted. A wildcard is needed by none. */
export function unused(rights: readonly Right[], requests: readonly AuditedRequest[]): Right[] {
  const granted = requests.filter(({ code }) => code >= 200 && code < 300);
  return rights.filter((right) => !granted.some((request) => allows(right, request)));
}

/** Requests that were refused and that no right was meant for: where one was, somebody has taken it away for a while. */
export function neverGranted(
  rights: readonly Right[],
  requests: readonly AuditedRequest[],
): AuditedRequest[] {
  return requests.filter((request) => request.forbidden && !rights.some((right) => allows(right, request)));
}

function allows(right: Right, request: AuditedRequest): boolean {
  return (
    right.verb === request.verb &&
    right.apiGroup === request.apiGroup &&
    right.resource === request.resource &&
    (right.namespace === '' || right.namespace === request.namespace) &&
    (right.name === undefined || right.name === request.name)
  );
}

/** Such as `patch deployments/status.apps (ClusterRole pullgate-workloads)`. */
export function spelled({ role, verb, apiGroup, resource, name }: Right): string {
  const kind = apiGroup === '' ? resource : `${resource}.${apiGroup}`;
  return `${verb} ${kind}${name === undefined ? '' : ` ${name}`} (${role})`;
}
