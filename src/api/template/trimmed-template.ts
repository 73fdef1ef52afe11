import { asArray, asObject, at, type JsonObject } from '../../json.ts';
import { weighsMoreThan } from './weight.ts';

/** Fields of a pod's spec that say where its pods may land, and as whom they pull. */
const POD_FIELDS = [
  'nodeSelector',
  'tolerations',
  'runtimeClassName',
  'nodeName',
  'imagePullSecrets',
  'serviceAccountName',
];
const CONTAINER_FIELDS = ['name', 'image', 'imagePullPolicy'];

/**
 * Memory that a template may take in the cache, as `weighsMoreThan` counts it. What is needed of one with 20 containers takes a
 * sixth of that, and most templates that people write fit in whole.
 */
export const TEMPLATE_BYTES = 64 * 1024;

/** Of a pod template what has to be known to preload for it, a tenth or so of the whole; its hash is another one. */
export function trimTemplate(template: JsonObject): JsonObject {
  const spec = asObject(template['spec']);
  const required = at(spec, 'affinity', 'nodeAffinity', REQUIRED);
  const volumes = asArray(spec['volumes']).filter((volume) => at(volume, 'image') !== undefined);
  return {
    spec: {
      ...pick(spec, POD_FIELDS),
      ...(required !== undefined && { affinity: { nodeAffinity: { [REQUIRED]: required } } }),
      initContainers: asArray(spec['initContainers']).map((one) => pick(asObject(one), CONTAINER_FIELDS)),
      containers: asArray(spec['containers']).map((one) => pick(asObject(one), CONTAINER_FIELDS)),
      volumes: volumes.map((one) => pick(asObject(one), ['name', 'image'])),
    },
  };
}

const REQUIRED = 'requiredDuringSchedulingIgnoredDuringExecution';

/** Returns why the cache does not take what is needed of the template. */
export function refusedTemplate(needed: JsonObject): string | undefined {
  return weighsMoreThan(TEMPLATE_BYTES, needed)
    ? `the images and the scheduling of its pod template take more than ${TEMPLATE_BYTES / 1024} KiB`
    : undefined;
}

function pick(object: JsonObject, fields: readonly string[]): JsonObject {
  return Object.fromEntries(fields.flatMap((field) => (field in object ? [[field, object[field]]] : [])));
}
