import type { Deployment } from '../hold/deployment.ts';
import type { Hold } from '../hold/hold.ts';
import { imagesToPull } from '../hold/needs-pull.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../json.ts';
import { API_VERSION, IMAGE_PRELOAD_KIND } from '../names.ts';
import { templateHash } from '../template/template-hash.ts';
import type { CountOrPercent } from './count-or-percent.ts';
import { schedulingOf } from './eligible-nodes.ts';
import type { ImagePreloadSpec } from './image-preload.ts';

/** What the operator sets for every preload that the gate makes. */
export interface PreloadSettings {
  readonly parallelism: CountOrPercent | undefined;
  readonly minNodes: CountOrPercent;
  readonly nodeTimeoutSeconds: number;
  readonly deadlineSeconds: number;
  readonly ttlSecondsAfterFinished: number;
}

/**
 * The spec of the preload that a held Deployment waits for: the images that its stored template needs beyond what runs, on
 * the nodes where its pods may land, pulled as its pods would pull them.
 */
export function preloadSpec(deployment: Deployment, hold: Hold, settings: PreloadSettings): ImagePreloadSpec {
  const podSpec = asObject(at(deployment.template, 'spec'));
  const hash = templateHash(deployment.template);
  const { parallelism, ...rest } = settings;
  return {
    images: imagesToPull(hold.from, deployment.template, hash).map(({ image, imagePullPolicy }) => ({
      image,
      imagePullPolicy: imagePullPolicy === 'Always' ? 'Always' : 'IfNotPresent',
    })),
    scheduling: schedulingOf(podSpec),
    imagePullSecrets: asArray(podSpec['imagePullSecrets']).flatMap((secret) => {
      const name = asString(at(secret, 'name'));
      return name ? [{ name }] : [];
    }),
    serviceAccountName: asString(podSpec['serviceAccountName']) ?? '',
    templateHash: hash,
    ...(parallelism !== undefined && { parallelism }),
    ...rest,
  };
}

/** The object to create. Its name makes a repeated create answer AlreadyExists. */
export function preloadManifest(deployment: Deployment, name: string, spec: ImagePreloadSpec): JsonObject {
  const { namespace, uid } = deployment;
  return {
    apiVersion: API_VERSION,
    kind: IMAGE_PRELOAD_KIND,
    metadata: {
      name,
      namespace,
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
    spec,
  };
}

/** Whether this is the preload that would be made: what is pulled, where and as whom; not how fast. */
export function preloadsTheSame(a: ImagePreloadSpec, b: ImagePreloadSpec): boolean {
  return whatAndWhere(a) === whatAndWhere(b);
}

function whatAndWhere(spec: ImagePreloadSpec): string {
  const { images, scheduling, imagePullSecrets, serviceAccountName } = spec;
  return `${spec.templateHash ?? ''} ${templateHash({ images, scheduling, imagePullSecrets, serviceAccountName })}`;
}
