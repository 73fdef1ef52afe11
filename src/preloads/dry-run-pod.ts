import type { Deployment } from '../api/deployment.ts';
import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../json.ts';

/** As long as a generated name can be without being cut, with the hash and two hyphens (apiserver/pkg/storage/names: 58 in all). */
const PREFIX_CHARACTERS = 44;

/**
 * Returns a pod as the Deployment's ReplicaSet would create it from this template, to be created by dry run. The ReplicaSet does not
 * exist yet, so the Deployment is its owner: policies that ask for a controller find one.
 */
export function dryRunPod(
  { namespace, name, uid, templateHash }: Deployment,
  template: JsonObject,
): JsonObject {
  const annotations = asStringMap(at(template, 'metadata', 'annotations'));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace,
      generateName: `${name.slice(0, PREFIX_CHARACTERS)}-${templateHash}-`,
      labels: { ...asStringMap(at(template, 'metadata', 'labels')), 'pod-template-hash': templateHash },
      annotations,
      // Without blockOwnerDeletion: that would need another right where OwnerReferencesPermissionEnforcement is on.
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'Deployment', name, uid, controller: true, blockOwnerDeletion: false },
      ],
    },
    spec: asObject(template['spec']),
  };
}

/** Returns the template's pod spec with the placement that admission has given to a running pod. What the template says goes first. */
export function placedAs(running: JsonObject, template: JsonObject): JsonObject {
  const { runtimeClassName = running['runtimeClassName'], overhead = running['overhead'] } = template;
  return {
    ...template,
    nodeSelector: { ...asStringMap(running['nodeSelector']), ...asStringMap(template['nodeSelector']) },
    affinity:
      at(template, 'affinity', 'nodeAffinity') === undefined ? running['affinity'] : template['affinity'],
    tolerations: distinct([...asArray(template['tolerations']), ...asArray(running['tolerations'])]),
    ...(asString(runtimeClassName) !== undefined && { runtimeClassName }),
    ...(overhead !== undefined && { overhead }),
  };
}

function distinct(values: readonly unknown[]): unknown[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
