import { at, type JsonObject } from '../../src/json.ts';

/** What an API server sends for the update of a Deployment. `request` replaces fields of the request. */
export function admissionReview(
  oldObject: JsonObject,
  object: JsonObject,
  request: JsonObject = {},
): JsonObject {
  const kind = { group: 'apps', version: 'v1', kind: 'Deployment' };
  const resource = { group: 'apps', version: 'v1', resource: 'deployments' };
  return {
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
      kind,
      resource,
      requestKind: kind,
      requestResource: resource,
      name: at(oldObject, 'metadata', 'name'),
      namespace: at(oldObject, 'metadata', 'namespace'),
      operation: 'UPDATE',
      userInfo: { username: 'a-developer', groups: ['developers', 'system:authenticated'] },
      object,
      oldObject,
      dryRun: false,
      options: { kind: 'UpdateOptions', apiVersion: 'meta.k8s.io/v1', fieldManager: 'kubectl-set' },
      ...request,
    },
  };
}
