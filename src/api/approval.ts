import type { Deployment } from './deployment.ts';
import { ownHold } from './hold.ts';
import { APPROVAL_LABEL, APPROVAL_REQUIRED, NOT_BEFORE_ANNOTATION } from './names.ts';
import { settingsOf } from './settings.ts';

/**
 * What a hold waits for once the images are on the nodes. `until`, in ms since the epoch, is infinite if the annotation cannot be
 * read.
 */
export type Awaited = { readonly kind: 'Approval' } | { readonly kind: 'Time'; readonly until: number };

/** Returns whether the label of a Namespace or a Deployment asks for approvals. */
export function requiresApproval(labels: Readonly<Record<string, string>>): boolean {
  return labels[APPROVAL_LABEL] === APPROVAL_REQUIRED;
}

/**
 * Returns what the hold of this Deployment waits for besides its images; undefined also without a hold.
 * @param inNamespace whether the namespace requires approvals
 * @param now ms since the epoch
 */
export function awaitedBeforeRelease(
  deployment: Deployment,
  inNamespace: boolean,
  now: number,
): Awaited | undefined {
  const hold = ownHold(deployment);
  if (hold === undefined) return undefined;
  // Somebody may have changed the template while no gate was asked.
  const isApproved = hold.approved?.template === deployment.templateDigest;
  if (!isApproved && (inNamespace || requiresApproval(deployment.labels))) return { kind: 'Approval' };
  const { notBefore } = settingsOf(deployment);
  return notBefore !== undefined && notBefore > now ? { kind: 'Time', until: notBefore } : undefined;
}

/** Returns when an approval or a time has last allowed the rollout, in ms since the epoch; undefined if it waits for none. */
export function allowedAt(deployment: Deployment, now: number): number | undefined {
  const hold = ownHold(deployment);
  if (hold === undefined) return undefined;
  const { notBefore } = settingsOf(deployment);
  const times = [
    ...(hold.approved === undefined ? [] : [Date.parse(hold.approved.at)]),
    ...(notBefore !== undefined && notBefore <= now ? [notBefore] : []),
  ];
  return times.length === 0 ? undefined : Math.max(...times);
}

/** A system clock may be set meanwhile. */
const LOOK_AGAIN_MS = 3600_000;

/** Returns when to look again, in ms since the epoch; undefined if a change of the Deployment tells. */
export function lookAgainAt(awaited: Awaited, now: number): number | undefined {
  if (awaited.kind === 'Approval' || !Number.isFinite(awaited.until)) return undefined;
  return Math.min(awaited.until, now + LOOK_AGAIN_MS);
}

/** Returns when a hold that waits for a time is released. */
export function describeTime(until: number): string {
  return Number.isFinite(until)
    ? `the rollout waits until ${new Date(until).toISOString()} (${NOT_BEFORE_ANNOTATION})`
    : `the rollout waits until the annotation ${NOT_BEFORE_ANNOTATION} is corrected or removed`;
}
