import { isNotFound } from '../../../src/cluster/api-error.ts';
import type { JsonObject } from '../../../src/json.ts';
import type { Namespace, Scope } from './namespace.ts';

const GROUP = '/apis/admissionregistration.k8s.io/v1';
type Rule = { readonly group: string; readonly resource: string; readonly operation: 'CREATE' | 'UPDATE' };

/** A ValidatingAdmissionPolicy of somebody else's, for this namespace alone. What it returns takes it away. */
export async function policy(
  scope: Scope,
  { api, name }: Namespace,
  rule: Rule,
  validation: { readonly expression: string; readonly message: string },
): Promise<() => Promise<void>> {
  const end = removal(scope, api, [
    `validatingadmissionpolicybindings/${name}`,
    `validatingadmissionpolicies/${name}`,
  ]);
  const kind = (kind: string, spec: JsonObject) => ({
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind,
    metadata: { name },
    spec,
  });
  await api.create(
    `${GROUP}/validatingadmissionpolicies`,
    kind('ValidatingAdmissionPolicy', {
      matchConstraints: { resourceRules: [ruleOf(rule)] },
      validations: [validation],
    }),
  );
  await api.create(
    `${GROUP}/validatingadmissionpolicybindings`,
    kind('ValidatingAdmissionPolicyBinding', {
      policyName: name,
      validationActions: ['Deny'],
      matchResources: { namespaceSelector: onlyIn(name) },
    }),
  );
  return end;
}

/** A webhook whose server is down, for this namespace alone: the API server takes nothing that it has to ask it about. */
export async function deadWebhook(
  scope: Scope,
  { api, name }: Namespace,
  rule: Rule,
): Promise<() => Promise<void>> {
  const end = removal(scope, api, [`validatingwebhookconfigurations/${name}`]);
  await api.create(`${GROUP}/validatingwebhookconfigurations`, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name },
    webhooks: [
      {
        name: 'down.policy.test',
        clientConfig: { url: 'https://127.0.0.1:1/' },
        namespaceSelector: onlyIn(name),
        rules: [ruleOf(rule)],
        failurePolicy: 'Fail',
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
      },
    ],
  });
  return end;
}

function removal(scope: Scope, api: Namespace['api'], paths: readonly string[]): () => Promise<void> {
  const end = async () => {
    for (const path of paths)
      await api.delete(`${GROUP}/${path}`).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  };
  scope.after(end);
  return end;
}

function ruleOf({ group, resource, operation }: Rule): JsonObject {
  return { apiGroups: [group], apiVersions: ['*'], resources: [resource], operations: [operation] };
}

function onlyIn(namespace: string): JsonObject {
  return { matchLabels: { 'kubernetes.io/metadata.name': namespace } };
}
