import { asArray, asObject, at, type JsonObject } from '../json.ts';

/** Fields of a pod's spec that say where its pods may land, and as whom they pull. */
const POD_FIELDS = [
  'nodeSelector',
  'affinity',
  'tolerations',
  'runtimeClassName',
  'imagePullSecrets',
  'serviceAccountName',
];
const CONTAINER_FIELDS = ['name', 'image', 'imagePullPolicy'];

/** Of a pod template what has to be known to preload for it, a tenth or so of the whole; its hash is another one. */
export function neededTemplate(template: JsonObject): JsonObject {
  const spec = asObject(template['spec']);
  const volumes = asArray(spec['volumes']).filter((volume) => at(volume, 'image') !== undefined);
  return {
    spec: {
      ...pick(spec, POD_FIELDS),
      initContainers: asArray(spec['initContainers']).map((one) => pick(asObject(one), CONTAINER_FIELDS)),
      containers: asArray(spec['containers']).map((one) => pick(asObject(one), CONTAINER_FIELDS)),
      volumes,
    },
  };
}

function pick(object: JsonObject, fields: readonly string[]): JsonObject {
  return Object.fromEntries(fields.flatMap((field) => (field in object ? [[field, object[field]]] : [])));
}
