import { asArray, asString, at } from '../../json.ts';
import { parseImageReference } from './image-reference.ts';

export type ImagePullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** One place of a pod template that names an image. */
export interface TemplateImage {
  /** A container's name (init containers share the containers' name space), or `volume/<name>` for an image volume. */
  readonly place: string;
  readonly image: string;
  readonly imagePullPolicy: ImagePullPolicy;
}

/** The images that the kubelet would pull for a pod of this template: init containers, containers, image volumes. */
export function templateImages(template: unknown): TemplateImage[] {
  const images: TemplateImage[] = [];
  for (const list of ['initContainers', 'containers']) {
    for (const container of asArray(at(template, 'spec', list))) {
      const image = asString(at(container, 'image'));
      // An empty image is allowed by the API where a controller fills it in later; there is nothing to pull.
      if (!image) continue;
      const place = asString(at(container, 'name')) ?? '';
      images.push({
        place,
        image,
        imagePullPolicy: effectivePolicy(at(container, 'imagePullPolicy'), image),
      });
    }
  }
  for (const volume of asArray(at(template, 'spec', 'volumes'))) {
    const image = asString(at(volume, 'image', 'reference'));
    if (!image) continue;
    const place = `volume/${asString(at(volume, 'name')) ?? ''}`;
    images.push({ place, image, imagePullPolicy: effectivePolicy(at(volume, 'image', 'pullPolicy'), image) });
  }
  return images;
}

/** As the API server defaults it: Always for the tag `latest`, said or implied, and no digest. */
function effectivePolicy(policy: unknown, image: string): ImagePullPolicy {
  if (policy === 'Always' || policy === 'IfNotPresent' || policy === 'Never') return policy;
  const reference = parseImageReference(image);
  if (reference === undefined || reference.digest !== undefined) return 'IfNotPresent';
  return reference.tag === undefined || reference.tag === 'latest' ? 'Always' : 'IfNotPresent';
}
