import { asObject, at } from '../json.ts';
import { type BoundedReader, createBoundedReader } from '../template/bounded-reader.ts';
import { isObjectName, NAME_CHARACTERS } from '../template/object-name.ts';
import { readScheduling, type Scheduling } from '../template/scheduling.ts';
import { weighsMoreThan } from '../template/weight.ts';
import type { Deployment } from './deployment.ts';
import type { RunningTemplate } from './hold.ts';
import { imagesToPull } from './needs-pull.ts';
import { narrowed } from './node-selector.ts';
import { type Floor, settingsOf } from './settings.ts';

/** The fields of an ImagePreload's spec that say what is pulled, where, and with which account. */
export interface PreloadNeeds {
  readonly images: readonly PreloadImage[];
  readonly scheduling: Scheduling;
  readonly imagePullSecrets: readonly { readonly name: string }[];
  /** Empty for the default ServiceAccount of the namespace. */
  readonly serviceAccountName: string;
}

export interface PreloadImage {
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent';
}

/** The limits of deploy/crd.yaml. A pod that people write has a handful of each. */
export const NEEDS_LIMITS = {
  images: 100,
  /** The longest reference that a runtime accepts has 782 characters. */
  image: 1024,
  imagePullSecrets: 100,
} as const;

/**
 * Memory of the whole, as `weighsMoreThan` counts it. Each of the limits above can be reached, but not all of them at once. There is
 * room for 500 names of nodes, or for 100 images of 250 characters. Without this limit, 110 objects of 1.5 MB would fill the memory
 * of the container (deploy/deployment.yaml).
 */
export const NEEDS_BYTES = 64 * 1024;

/** The needs, or the reason why the gate refuses them. Refused needs are incomplete and must not be used. */
export interface BoundedNeeds {
  readonly needs: PreloadNeeds;
  /** In words, such as `tolerations has 200 entries, more than 100`. */
  readonly refused: string | undefined;
}

/**
 * Returns what the Deployment's template needs beyond the images of `from`. The scheduling includes the node selector of the
 * settings, if `floor` admits one.
 */
export function preloadNeeds(
  deployment: Pick<Deployment, 'annotations' | 'template' | 'templateHash'>,
  from: RunningTemplate,
  floor?: Floor,
): BoundedNeeds {
  const { template, templateHash } = deployment;
  const podSpec = asObject(template['spec']);
  const { nodeSelector } = settingsOf(deployment, floor).settings;
  const scheduling = nodeSelector === undefined ? podSpec : narrowed(podSpec, nodeSelector);
  return readNeeds({ ...podSpec, images: imagesToPull(from, template, templateHash), scheduling });
}

/** Reads the spec of an ImagePreload. */
export function readNeeds(spec: unknown): BoundedNeeds {
  const reader = createBoundedReader();
  const needs: PreloadNeeds = {
    images: readImages(at(spec, 'images'), reader),
    scheduling: readScheduling(at(spec, 'scheduling'), reader),
    imagePullSecrets: reader
      .list(at(spec, 'imagePullSecrets'), 'imagePullSecrets', NEEDS_LIMITS.imagePullSecrets)
      .flatMap((secret) => {
        const name = reader.text(at(secret, 'name'), 'the name of a pull secret', NAME_CHARACTERS);
        // API servers do not check it in a pod template. No Secret has such a name, so kubelets pull without it.
        return name && isObjectName(name) ? [{ name }] : [];
      }),
    serviceAccountName: reader.name(at(spec, 'serviceAccountName'), 'serviceAccountName') ?? '',
  };
  const refused =
    reader.refused() ??
    (weighsMoreThan(NEEDS_BYTES, needs)
      ? `its images, node affinity and other scheduling take more than ${NEEDS_BYTES / 1024} KiB`
      : undefined);
  return { needs, refused };
}

function readImages(raw: unknown, reader: BoundedReader): PreloadImage[] {
  return reader.list(raw, 'images', NEEDS_LIMITS.images).flatMap((entry): PreloadImage[] => {
    const image = reader.text(at(entry, 'image'), 'the name of an image', NEEDS_LIMITS.image);
    if (!image) return [];
    return [
      { image, imagePullPolicy: at(entry, 'imagePullPolicy') === 'Always' ? 'Always' : 'IfNotPresent' },
    ];
  });
}
