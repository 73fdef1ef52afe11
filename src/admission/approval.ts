import { requiresApproval } from '../api/approval.ts';
import type { Deployment } from '../api/deployment.ts';
import { type Approval, type Hold, ownHold } from '../api/hold.ts';
import { APPROVED_ANNOTATION } from '../api/names.ts';
import { settingsOf } from '../api/settings.ts';
import type { ApprovalKind, DecideInput } from './decision.ts';
import { REQUEST_MS } from './restored-marks.ts';

/** What an update says about the approval of a hold. */
export interface ApprovalUpdate {
  readonly input: Pick<DecideInput, 'username' | 'mayApprove'>;
  readonly old: Deployment;
  /** The object to decide on, parsed. */
  readonly next: Deployment;
  /** RFC 3339, when this request is decided: the same each time admission is called for it. */
  readonly at: string;
}

interface ApprovalResult {
  /** What became of an approval that the update asks for. */
  readonly kind: ApprovalKind | undefined;
  /** The hold with its approval. */
  readonly hold: Hold;
  readonly annotations: Readonly<Record<string, string | null>>;
}

/** Returns whether this update approves its own pod template, which may need a permission. */
export function approves(old: Deployment, next: Deployment): boolean {
  return approvedTemplate(old, next) === next.templateDigest;
}

/** The annotation counts in the update that sets or changes it. */
function approvedTemplate(old: Deployment, next: Deployment): string | undefined {
  const value = next.annotations[APPROVED_ANNOTATION];
  return value && value !== old.annotations[APPROVED_ANNOTATION] ? value : undefined;
}

/**
 * Decides whether a hold is approved. `given` is the hold before this update's approval. The annotation of an approval that does not
 * count is not stored, so that a user who may approve can set the same value.
 */
export function approvalOf({ input, old, next, at }: ApprovalUpdate, given: Hold): ApprovalResult {
  const { templateDigest: template } = next;
  const { approved: before, ...hold } = given;
  const result = (
    kind: ApprovalKind | undefined,
    approved: Approval | undefined,
    annotation: string | undefined,
  ): ApprovalResult => ({
    kind,
    hold: { ...hold, ...(approved && { approved }) },
    annotations: { [APPROVED_ANNOTATION]: annotation ?? null },
  });
  const kept = before?.template === template ? before : undefined;
  const brought = next.annotations[APPROVED_ANNOTATION];
  const stored = old.annotations[APPROVED_ANNOTATION];
  // A client that replaces the whole object removes the annotation as well, so that takes no approval back.
  if (kept !== undefined)
    return result(brought === stored ? undefined : 'StillApproved', kept, brought && stored);
  if (!brought) return result(undefined, undefined, undefined);
  if (brought !== template)
    return result(brought === stored ? undefined : 'OtherTemplate', undefined, undefined);
  // Left by a hold that is over, or a replica of a version that knows no approvals has dropped it from this one.
  if (brought === stored) return result('NotNew', undefined, undefined);
  if (!input.mayApprove) return result('NotAllowed', undefined, undefined);
  const by = input.username;
  return result('Approved', { template, by, at: firstTime(by, at, old, next) }, brought);
}

/** Returns the time that admission has written when it was called before for this request. */
function firstTime(by: string, at: string, { uid }: Deployment, { annotations }: Deployment): string {
  const first = ownHold({ annotations, uid })?.approved;
  const isRecent = first !== undefined && Math.abs(Date.parse(at) - Date.parse(first.at)) <= REQUEST_MS;
  return isRecent && first.by === by ? first.at : at;
}

/** Returns whether the rollout has to wait for an approval or a time by what its Deployment says. Only a hold can do that. */
export function waitsInHold({ next, at }: Pick<ApprovalUpdate, 'next' | 'at'>): boolean {
  return requiresApproval(next.labels) || (settingsOf(next).notBefore ?? 0) > Date.parse(at);
}
