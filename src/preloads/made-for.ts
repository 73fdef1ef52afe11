import type { Deployment } from '../api/deployment.ts';
import type { ImagePreload, ImagePreloadSpec } from '../api/image-preload.ts';
import { NODE_SELECTOR_ANNOTATION } from '../api/names.ts';
import { type Floor, settingsOf } from '../api/settings.ts';
import { templateHash } from '../api/template/template-hash.ts';

/**
 * Returns the annotation of an ImagePreload whose spec was made for this Deployment's template and node selector. What admission has
 * added to its pods is a part of the spec alone: a dry run that would give another answer today does not make it a wrong one. The
 * annotation holds a hash of both, so that an edited spec does not match it. The second hash is that of the fields that an older
 * CRD prunes.
 */
export function madeFor(spec: ImagePreloadSpec, deployment: Deployment, floor: Floor | undefined): string {
  return `${hashOf(spec, deployment, floor)}-${templateHash(newFields(spec))}`;
}

/** Returns whether the stored spec was made for this Deployment's template and node selector, and has not been edited since. */
export function isMadeFor(
  { madeFor: annotation, spec }: Pick<ImagePreload, 'madeFor' | 'spec'>,
  deployment: Deployment,
  floor: Floor | undefined,
): boolean {
  const [first, second] = annotation?.split('-') ?? [];
  if (first !== hashOf(spec, deployment, floor)) return false;
  const fields = newFields(spec);
  // Without these fields more nodes count, never fewer.
  return fields === undefined || second === templateHash(fields);
}

function hashOf(spec: ImagePreloadSpec, deployment: Deployment, floor: Floor | undefined): string {
  const { images, imagePullSecrets, serviceAccountName } = spec;
  const { requests: _, nodeName: __, ...scheduling } = spec.scheduling;
  const selects = settingsOf(deployment, floor).settings.nodeSelector !== undefined;
  return templateHash({
    template: deployment.templateHash,
    stored: spec.templateHash,
    nodeSelector: selects ? deployment.annotations[NODE_SELECTOR_ANNOTATION] : undefined,
    spec: { images, scheduling, imagePullSecrets, serviceAccountName },
  });
}

function newFields({ scheduling: { requests, nodeName } }: ImagePreloadSpec) {
  return requests === undefined && nodeName === undefined ? undefined : { requests, nodeName };
}
