import type { Deployment } from '../hold/deployment.ts';
import { parseHold } from '../hold/hold.ts';
import { awaitedPreload } from '../hold/preload-name.ts';
import { HOLD_ANNOTATION } from '../names.ts';
import { templateHash } from '../template/template-hash.ts';
import type { ImagePreload } from './image-preload.ts';

/**
 * What a preload is for right now, told by what is stored and nothing else.
 * - `holding`: a rollout waits for it.
 * - `rolling`: its rollout has been let go and is under way: nodes not reached yet profit, and the pods keep the image
 *   from the kubelet's garbage collector.
 * - `standalone`: made by hand.
 * - `unserved`: made by hand where nobody opted in.
 * - `finished`: its rollout is over, or it was made by hand and has its answer.
 * - `superseded`: its Deployment has another template by now, or is gone.
 */
export type Activity = 'holding' | 'rolling' | 'standalone' | 'unserved' | 'finished' | 'superseded';

export function activityOf(
  preload: ImagePreload,
  deployment: Deployment | undefined,
  namespaceOptedIn: boolean,
): Activity {
  if (preload.owner === undefined) {
    if (preload.status?.finishedAt !== undefined) return 'finished';
    return namespaceOptedIn ? 'standalone' : 'unserved';
  }
  if (deployment === undefined || deployment.uid !== preload.owner.uid || deployment.deleting)
    return 'superseded';
  const hash = templateHash(deployment.template);
  if (hash !== preload.spec.templateHash) return 'superseded';
  const hold = parseHold(deployment.annotations[HOLD_ANNOTATION]);
  if (hold?.uid === deployment.uid) {
    return preload.name === awaitedPreload(deployment, hold) ? 'holding' : 'superseded';
  }
  // Once finished, always finished: a pod that fails later, or a scaling, is no rollout.
  const finished = preload.status?.finishedAt !== undefined || rolloutFinished(deployment);
  return finished ? 'finished' : 'rolling';
}

/** As `kubectl rollout status` judges it; one that has exceeded its progress deadline is over, too. */
function rolloutFinished({ generation, replicas, paused, status }: Deployment): boolean {
  if (paused || status.observedGeneration < generation) return false;
  if (status.progressing?.reason === 'ProgressDeadlineExceeded') return true;
  return (
    status.updatedReplicas >= replicas &&
    status.replicas <= status.updatedReplicas &&
    status.availableReplicas >= status.updatedReplicas
  );
}
