import { type CountOrPercent, isAtLeast } from '../api/count-or-percent.ts';
import type { Deployment } from '../api/deployment.ts';
import type { RunningTemplate } from '../api/hold.ts';
import type { ImagePreload, ImagePreloadSpec } from '../api/image-preload.ts';
import { API_VERSION, IMAGE_PRELOAD_KIND, MADE_FOR_ANNOTATION } from '../api/names.ts';
import { preloadNeeds } from '../api/preload-needs.ts';
import { type Floor, settingsOf } from '../api/settings.ts';
import { templateHash } from '../api/template/template-hash.ts';
import type { JsonObject } from '../json.ts';
import { isMadeFor, madeFor } from './made-for.ts';

/** What the operator sets for every preload that the gate makes, unless its Deployment says otherwise. */
export interface PreloadSettings {
  readonly parallelism: CountOrPercent | undefined;
  readonly minNodes: CountOrPercent;
  readonly nodeTimeoutSeconds: number;
  readonly deadlineSeconds: number;
  readonly ttlSecondsAfterFinished: number;
  /** Whether a Deployment may only be stricter than this: to loosen is to bypass, and that needs a permission. */
  readonly tightenOnly: boolean;
  /** See `PullRules`. */
  readonly alwaysPullImages: boolean;
}

/** What a Deployment may not be looser than; undefined if it may. */
export function floorOf(settings: PreloadSettings): Floor | undefined {
  return settings.tightenOnly ? settings : undefined;
}

/**
 * The spec of the preload for a Deployment's template: the images that it needs beyond those of `from`, on the nodes
 * where its pods may land, pulled as its pods would pull them.
 *
 * @param podSpec of its pods as admission makes it; the template's if it is absent
 */
export function preloadSpec(
  deployment: Deployment,
  from: RunningTemplate,
  settings: PreloadSettings,
  podSpec?: JsonObject,
): ImagePreloadSpec {
  const floor = floorOf(settings);
  const { nodeSelector: _, ...own } = settingsOf(deployment, floor).settings;
  const { parallelism, tightenOnly: __, alwaysPullImages, ...rest } = { ...settings, ...own };
  return {
    ...preloadNeeds(deployment, from, { floor, alwaysPullImages, podSpec }).needs,
    templateHash: deployment.templateHash,
    ...(parallelism !== undefined && { parallelism }),
    ...rest,
  };
}

/** Returns whether an ImagePreload can carry what is needed of this pod spec. */
export function isUsablePodSpec(
  deployment: Deployment,
  from: RunningTemplate,
  settings: PreloadSettings,
  podSpec: JsonObject,
): boolean {
  const { alwaysPullImages } = settings;
  const { needs, refused } = preloadNeeds(deployment, from, { alwaysPullImages, podSpec });
  return refused === undefined && needs.images.length > 0;
}

/** The object to create. Its name makes a repeated create answer AlreadyExists. */
export function preloadManifest(
  deployment: Deployment,
  name: string,
  spec: ImagePreloadSpec,
  settings: PreloadSettings,
): JsonObject {
  const { namespace, uid } = deployment;
  const { serviceAccountName, ...rest } = spec;
  return {
    apiVersion: API_VERSION,
    kind: IMAGE_PRELOAD_KIND,
    metadata: {
      name,
      namespace,
      annotations: { [MADE_FOR_ANNOTATION]: madeFor(spec, deployment, floorOf(settings)) },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          name: deployment.name,
          uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    // Without a name the namespace's default account is used.
    spec: { ...rest, ...(serviceAccountName !== '' && { serviceAccountName }) },
  };
}

/**
 * Returns whether an existing preload is the one that is needed: made for this template, or, by a gate of an earlier version, with what
 * the template says (`needed`). How fast it is counts as far as the Deployment says so itself: a user who sets that during a hold
 * wants it now. What else differs are the gate's flags of an earlier start. They are no reason to begin anew, unless they would
 * release earlier: anybody who may edit in the namespace may have made such a preload.
 */
export function isNeededPreload(
  stored: Pick<ImagePreload, 'spec' | 'madeFor'>,
  needed: ImagePreloadSpec,
  deployment: Deployment,
  settings: PreloadSettings,
): boolean {
  const { nodeSelector: _, ...own } = settingsOf(deployment).settings;
  const there = stored.spec;
  return (
    (isMadeFor(stored, deployment, floorOf(settings)) || whatAndWhere(there) === whatAndWhere(needed)) &&
    Object.keys(own).every((name) => there[name as keyof typeof own] === needed[name as keyof typeof own]) &&
    isAtLeast(there.minNodes, needed.minNodes) &&
    there.nodeTimeoutSeconds >= needed.nodeTimeoutSeconds &&
    there.deadlineSeconds >= needed.deadlineSeconds
  );
}

function whatAndWhere(spec: ImagePreloadSpec): string {
  const { images, scheduling, imagePullSecrets, serviceAccountName } = spec;
  return `${spec.templateHash ?? ''} ${templateHash({ images, scheduling, imagePullSecrets, serviceAccountName })}`;
}
