import type { ImagePreload } from '../api/image-preload.ts';
import { hasOwnName } from './pods/own-pods.ts';
import type { PullerPod } from './pods/puller-pod-status.ts';
import { trimPreload } from './trimmed-preload.ts';

/**
 * Returns what is remembered of an ImagePreload in a namespace without a mode, where no ImagePreload is served. One that a
 * Deployment owns is kept until the gate has ended it. After that, only its time to live is needed.
 */
export function preloadKeptElsewhere(preload: ImagePreload): ImagePreload | undefined {
  const { owner, status } = preload;
  if (status?.finishedAt === undefined) return owner === undefined ? undefined : preload;
  return trimPreload(preload);
}

/** Returns what is remembered of a puller pod there: all of it if it may be the gate's, because the gate then deletes it. */
export function podKeptElsewhere(pod: PullerPod): PullerPod | undefined {
  return hasOwnName(pod) ? pod : undefined;
}
