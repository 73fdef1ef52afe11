import { templateHash } from '../../../src/api/template/template-hash.ts';
import { asObject, asString, at, type JsonObject } from '../../../src/json.ts';

/** The ReplicaSet that the Deployment controller makes for this Deployment, with its path. */
export function replicaSetOf(deployment: JsonObject): [path: string, replicaSet: JsonObject] {
  const text = (...path: string[]) => asString(at(deployment, ...path)) ?? '';
  const namespace = text('metadata', 'namespace');
  const template = asObject(at(deployment, 'spec', 'template'));
  const metadata = asObject(template['metadata']);
  const added = { 'pod-template-hash': templateHash(template).slice(0, 8) };
  const labels = { ...asObject(metadata['labels']), ...added };
  const name = `${text('metadata', 'name')}-${added['pod-template-hash']}`;
  const owner = { kind: 'Deployment', uid: text('metadata', 'uid'), controller: true };
  return [
    `/apis/apps/v1/namespaces/${namespace}/replicasets/${name}`,
    {
      metadata: { namespace, name, uid: `uid-${name}`, labels, ownerReferences: [owner] },
      spec: { template: { ...template, metadata: { ...metadata, labels } } },
    },
  ];
}
