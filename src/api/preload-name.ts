import type { Deployment } from './deployment.ts';
import type { Hold } from './hold.ts';
import { shortHash } from './template/template-hash.ts';

/** Room for a label value (63) with the hash, a hyphen, and what a puller pod's name adds. */
const PREFIX_LIMIT = 40;

/**
 * Name of the ImagePreload of one transition: the same each time the same template is asked for on the same revision, new
 * for each rollout that began in between.
 */
export function preloadName(
  deployment: { name: string; uid: string; revision: string },
  template: string,
): string {
  const prefix = deployment.name.slice(0, PREFIX_LIMIT).replace(/(?<![^a-z0-9])[^a-z0-9]+$/, '');
  return `${prefix}-${shortHash(`${deployment.uid} ${deployment.revision} ${template}`)}`;
}

/**
 * The preload that a held Deployment waits for: the one that admission named, unless another template is stored than
 * it judged (an update while the webhook was down). It is not computed anew as long as that is so: the Deployment
 * controller counts the revision up during a hold when it finds an old ReplicaSet of the held template.
 */
export function awaitedPreload(deployment: Deployment, hold: Hold): string {
  const { templateHash } = deployment;
  return hold.template === templateHash ? hold.preload : preloadName(deployment, templateHash);
}
