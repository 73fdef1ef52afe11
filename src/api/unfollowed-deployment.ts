import { type Deployment, isMarked, parseDeployment } from './deployment.ts';
import { isFailedByGate } from './rollout.ts';

/**
 * Returns what is remembered of a Deployment in a namespace without a mode: all of it while the gate still has to remove something
 * that it wrote, and otherwise nothing. Such namespaces may have tens of thousands of Deployments.
 */
export function deploymentKeptElsewhere(deployment: Deployment): Deployment | undefined {
  return isMarked(deployment) || isFailedByGate(deployment) ? deployment : undefined;
}

/** Returns whether anything is remembered, without hashing the template, which may have a megabyte. */
export function isDeploymentKeptElsewhere(raw: unknown): boolean {
  return deploymentKeptElsewhere(parseDeployment(raw)) !== undefined;
}
