import { approve } from './commands.ts';
import type { Deployment } from './deployment.ts';
import { type Hold, ownHold } from './hold.ts';
import { APPROVAL_LABEL, APPROVAL_REQUIRED, NOT_BEFORE_ANNOTATION } from './names.ts';
import { settingsOf } from './settings.ts';

/**
 * What a hold waits for in addition to its images. `until`, in ms since the epoch, is infinite if the annotation cannot be read.
 */
export type Awaited =
  | {
      readonly kind: 'Approval';
      /** The `templateDigest` to approve. */
      readonly template: string;
    }
  | { readonly kind: 'Time'; readonly until: number };

/** Returns whether the label of a Namespace or a Deployment asks for approvals. */
export function requiresApproval(labels: Readonly<Record<string, string>>): boolean {
  return labels[APPROVAL_LABEL] === APPROVAL_REQUIRED;
}

/**
 * Returns what the hold of this Deployment waits for besides its images; undefined if nothing, or if there is no hold.
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
  // A user may have changed the template while no replica answered.
  const isApproved = hold.approved?.template === deployment.templateDigest;
  if (!isApproved && (inNamespace || requiresApproval(deployment.labels)))
    return { kind: 'Approval', template: deployment.templateDigest };
  const { notBefore } = settingsOf(deployment);
  return notBefore !== undefined && notBefore > now ? { kind: 'Time', until: notBefore } : undefined;
}

/** Returns when an approval or a time has last allowed the rollout, in ms since the epoch; undefined if it waits for none. */
export function allowedAt(deployment: Deployment, hold: Hold | undefined, now: number): number | undefined {
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

/** Returns when to look again, in ms since the epoch; undefined if only a change of the Deployment can end the wait. */
export function lookAgainAt(awaited: Awaited, now: number): number | undefined {
  if (awaited.kind === 'Approval' || !Number.isFinite(awaited.until)) return undefined;
  return Math.min(awaited.until, now + LOOK_AGAIN_MS);
}

/** Returns what the rollout waits for in addition to its images. */
export function describeAwaited(awaited: Awaited): string {
  return awaited.kind === 'Approval' ? 'the rollout waits for an approval' : describeTime(awaited.until);
}

/** Returns the command that approves the rollout; undefined if it does not wait for that. */
export function approveCommand(
  awaited: Awaited,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): string | undefined {
  if (awaited.kind !== 'Approval') return undefined;
  return `approve: ${approve({ namespace, name, templateDigest: awaited.template })}`;
}

function describeTime(until: number): string {
  return Number.isFinite(until)
    ? `the rollout waits until ${new Date(until).toISOString()} (${NOT_BEFORE_ANNOTATION})`
    : `the rollout waits until the annotation ${NOT_BEFORE_ANNOTATION} is corrected or removed`;
}
