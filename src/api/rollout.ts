import type { Deployment } from './deployment.ts';

/** What the gate writes into the condition Progressing begins with this, so that it knows its own. */
export const CONDITION_PREFIX = 'pullgate: ';

/** Whether a waiting `kubectl rollout status` fails. Any client may have written the condition. */
export function isFailed({ status }: Deployment): boolean {
  return status.progressing?.reason === 'ProgressDeadlineExceeded';
}

/** Whether a waiting `kubectl rollout status` has been made to fail by the gate. */
export function isFailedByGate(deployment: Deployment): boolean {
  return isFailed(deployment) && deployment.status.progressing?.message.startsWith(CONDITION_PREFIX) === true;
}

/**
 * Returns why the image of the held version is unavailable, as the condition Progressing says, or undefined if Pullgate has not
 * written a failure. The condition is stored, so every replica and the uninstall Job know it without asking.
 */
export function knownFailure(deployment: Deployment): string | undefined {
  return isFailedByGate(deployment)
    ? deployment.status.progressing?.message.slice(CONDITION_PREFIX.length)
    : undefined;
}

/** Returns whether pods are wanted and none is ready. */
export function servesNothing({ replicas, status }: Pick<Deployment, 'replicas' | 'status'>): boolean {
  return replicas > 0 && status.readyReplicas === 0;
}

/** As `kubectl rollout status` judges it. A rollout that has exceeded its progress deadline is finished as well. */
export function isRolloutFinished(deployment: Deployment): boolean {
  const { replicas, paused, status } = deployment;
  if (paused || !isObserved(deployment)) return false;
  if (isFailed(deployment) && !isFailedByGate(deployment)) return true;
  return (
    status.updatedReplicas >= replicas &&
    status.replicas <= status.updatedReplicas &&
    status.availableReplicas >= status.updatedReplicas
  );
}

/**
 * Whether a rollout is in progress. A pod that fails later, or a scaling, is not a rollout: the controller keeps the reason
 * NewReplicaSetAvailable then. Without a progress deadline there is no condition, and nothing is known.
 */
export function isRolloutUnderWay(deployment: Deployment): boolean {
  const { progressing } = deployment.status;
  const complete = progressing === undefined || progressing.reason === 'NewReplicaSetAvailable';
  return isObserved(deployment) && !complete && !deployment.paused && !isRolloutFinished(deployment);
}

/** Whether the Deployment controller has acted on what is stored: the revision is this template's then. */
function isObserved({ generation, status }: Deployment): boolean {
  return status.observedGeneration >= generation;
}
