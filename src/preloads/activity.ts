import type { Deployment } from '../api/deployment.ts';
import { parseHold } from '../api/hold.ts';
import type { ImagePreload } from '../api/image-preload.ts';
import { HOLD_ANNOTATION, type Mode } from '../api/names.ts';
import { awaitedPreload, preloadName } from '../api/preload-name.ts';
import { isRolloutFinished } from '../api/rollout.ts';

/**
 * Who needs a preload now, computed from the stored objects alone.
 * - `holding`: a rollout waits for it.
 * - `requested`: an update was rejected until the images are there, and the client is expected to retry.
 * - `rolling`: its rollout was released and is in progress. Nodes that it has not reached still need the images, and the pods keep
 *   the images from the kubelet's garbage collector.
 * - `standalone`: made by hand.
 * - `unserved`: made by hand in a namespace without a mode.
 * - `finished`: its rollout is complete, or it was made by hand and has its answer, or nobody needs it any more.
 * - `superseded`: its Deployment has another template or no longer exists, or the preload exceeds a limit.
 */
export type Activity =
  | 'holding'
  | 'requested'
  | 'rolling'
  | 'standalone'
  | 'unserved'
  | 'finished'
  | 'superseded';

interface ActivityInput {
  readonly preload: ImagePreload;
  /** That owns it, as it is stored. */
  readonly deployment: Deployment | undefined;
  /** Of the namespace; undefined where nobody opted in. */
  readonly mode: Mode | undefined;
  /** The other preloads of the same owner. */
  readonly siblings: () => Iterable<ImagePreload>;
  /** ms since the epoch. */
  readonly now: number;
}

export function activityOf({ preload, deployment, mode, siblings, now }: ActivityInput): Activity {
  if (preload.owner === undefined) return activityByHand(preload, mode);
  if (preload.refused !== undefined) return 'superseded';
  if (deployment === undefined || deployment.uid !== preload.owner.uid || deployment.deleting)
    return 'superseded';
  if (mode === undefined) return 'superseded';
  if (deployment.templateHash !== preload.spec.templateHash) {
    if (mode !== 'reject' || !isRequested(preload, deployment, siblings)) return 'superseded';
    return preload.status?.finishedAt !== undefined || now >= requestEndsAt(preload)
      ? 'finished'
      : 'requested';
  }
  const hold = parseHold(deployment.annotations[HOLD_ANNOTATION]);
  if (hold?.uid === deployment.uid) {
    return preload.name === awaitedPreload(deployment, hold) ? 'holding' : 'superseded';
  }
  // Once finished, always finished: a pod that fails later, or a scaling, is no rollout.
  const finished = preload.status?.finishedAt !== undefined || isRolloutFinished(deployment);
  return finished ? 'finished' : 'rolling';
}

function activityByHand({ status, refused }: ImagePreload, mode: Mode | undefined): Activity {
  if (status?.finishedAt !== undefined) return 'finished';
  if (mode === undefined) return 'unserved';
  return refused === undefined ? 'standalone' : 'superseded';
}

/** For the revision that runs, and nobody has asked for another template since. */
function isRequested(
  preload: ImagePreload,
  deployment: Deployment,
  siblings: ActivityInput['siblings'],
): boolean {
  const isOfThisRevision = ({ name, spec }: ImagePreload) =>
    spec.templateHash !== undefined && name === preloadName(deployment, spec.templateHash);
  if (!isOfThisRevision(preload)) return false;
  for (const other of siblings()) {
    const later = other.createdAt - preload.createdAt || (other.name > preload.name ? 1 : -1);
    if (other.uid !== preload.uid && !other.deleting && later > 0 && isOfThisRevision(other)) return false;
  }
  return true;
}

/**
 * Until when a requested preload keeps the images on the nodes, in ms since the epoch: its time to live after it became
 * ready, or, if it does not, after its deadline.
 */
export function requestEndsAt({ createdAt, spec, status }: ImagePreload): number {
  const ready = status?.conditions.find(
    (condition) => condition.type === 'Ready' && condition.status === 'True',
  );
  const answeredAt =
    ready === undefined ? createdAt + spec.deadlineSeconds * 1000 : Date.parse(ready.lastTransitionTime);
  return answeredAt + spec.ttlSecondsAfterFinished * 1000;
}
