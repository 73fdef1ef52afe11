import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { asObject, asString, at, type JsonObject } from '../json.ts';

/** The manifests of `deploy/` that a gate beside a cluster applies, in the order in which it applies them. */
export interface Manifests {
  /** Namespace, ServiceAccount, RBAC, PriorityClass. */
  readonly base: readonly JsonObject[];
  readonly crd: JsonObject;
  /** ValidatingAdmissionPolicies and their bindings. */
  readonly policies: readonly JsonObject[];
  readonly webhookConfiguration: JsonObject;
}

// Both src/install and dist/install are two levels below the root of the package.
const DEPLOY = new URL('../../deploy/', import.meta.url);

/** The files are part of the package, so any error here is a bug or a broken installation. */
export async function readManifests(): Promise<Manifests> {
  const [base, crd, policies, webhooks] = await Promise.all([
    readFiles('service-account', 'rbac', 'priority-class'),
    readFiles('crd'),
    readFiles('puller-pod-policy', 'status-policy', 'marks-policy', 'made-for-policy'),
    readFiles('webhook-configuration'),
  ]);
  return { base, crd: asObject(crd[0]), policies, webhookConfiguration: asObject(webhooks[0]) };
}

async function readFiles(...names: readonly string[]): Promise<JsonObject[]> {
  const texts = await Promise.all(names.map((name) => readFile(new URL(`${name}.yaml`, DEPLOY), 'utf8')));
  return texts.flatMap((text) => [...parseAllDocuments(text)].map((document) => asObject(document.toJS())));
}

const COLLECTIONS: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  ServiceAccount: 'serviceaccounts',
  Role: 'roles',
  RoleBinding: 'rolebindings',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  PriorityClass: 'priorityclasses',
  CustomResourceDefinition: 'customresourcedefinitions',
  MutatingWebhookConfiguration: 'mutatingwebhookconfigurations',
  ValidatingAdmissionPolicy: 'validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding: 'validatingadmissionpolicybindings',
};

/** Where the API server serves the object of a manifest, and what kubectl calls it. */
export function locate(object: JsonObject): { readonly path: string; readonly resource: string } {
  const apiVersion = asString(object['apiVersion']) ?? '';
  const kind = asString(object['kind']) ?? '';
  const name = asString(at(object, 'metadata', 'name'));
  const namespace = asString(at(object, 'metadata', 'namespace'));
  const collection = COLLECTIONS[kind];
  if (collection === undefined || name === undefined)
    throw new TypeError(`a manifest of kind ${kind}: ${name}`);
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`;
  return { path: `${root}${scope}/${collection}/${name}`, resource: `${collection}/${name}` };
}
