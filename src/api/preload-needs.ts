import { asObject, at, type JsonObject } from '../json.ts';
import type { Deployment } from './deployment.ts';
import type { RunningTemplate } from './hold.ts';
import { imagesToPull, type PullRules } from './images-to-pull.ts';
import { contradictsTemplate, narrowed } from './node-selector.ts';
import { type Floor, settingsOf } from './settings.ts';
import { type BoundedReader, createBoundedReader } from './template/bounded-reader.ts';
import { isObjectName, NAME_CHARACTERS } from './template/object-name.ts';
import { podRequests } from './template/pod-requests.ts';
import { readScheduling, type Scheduling } from './template/scheduling.ts';
import { weighsMoreThan } from './template/weight.ts';

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

export interface NeedsOptions extends PullRules {
  /** What the settings of the Deployment may not be looser than. */
  readonly floor?: Floor | undefined;
  /** The spec of its pods as admission makes it. Without one, the needs are those of the template, without requests. */
  readonly podSpec?: JsonObject | undefined;
}

/**
 * Returns what the Deployment's pods need beyond the images of `from`. The scheduling includes the node selector of the settings, if
 * `floor` admits one.
 */
export function preloadNeeds(
  deployment: Pick<Deployment, 'annotations' | 'template' | 'templateHash'>,
  from: RunningTemplate,
  { floor, podSpec: admitted, ...rules }: NeedsOptions = {},
): BoundedNeeds {
  const { template, templateHash } = deployment;
  const own = asObject(template['spec']);
  const podSpec = admitted ?? own;
  const { nodeSelector } = settingsOf(deployment, floor).settings;
  // Where the setting contradicts what admission has made of the pods, no pod could land on the nodes that it selects.
  const narrows = nodeSelector !== undefined && !contradictsTemplate(nodeSelector, { spec: podSpec });
  const scheduling = {
    ...(narrows ? narrowed(podSpec, nodeSelector) : podSpec),
    requests: admitted && podRequests(admitted),
  };
  return readNeeds({
    serviceAccountName: own['serviceAccountName'],
    imagePullSecrets: podSpec['imagePullSecrets'],
    images: admitted
      ? admittedImages(from, admitted, templateHash, rules)
      : imagesToPull(from, template, templateHash, rules),
    scheduling,
  });
}

/**
 * An update that is held needs an image by its template. If admission changes that into one that runs, every image of the pod is listed:
 * an ImagePreload has one at least.
 */
function admittedImages(from: RunningTemplate, podSpec: JsonObject, hash: string, rules: PullRules) {
  const needed = imagesToPull(from, { spec: podSpec }, hash, rules);
  return needed.length > 0
    ? needed
    : imagesToPull({ template: '', images: {} }, { spec: podSpec }, hash, rules);
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
