import { requiresApproval } from '../api/approval.ts';
import { APPROVAL_LABEL, APPROVAL_REQUIRED, MODE_LABEL, MODES, type Mode } from '../api/names.ts';
import type { GateEvent } from '../cluster/events.ts';
import { asString, asStringMap, at } from '../json.ts';
import { elide } from '../text.ts';

/** What Pullgate reads of a Namespace. */
export interface Namespace {
  readonly name: string;
  readonly uid: string;
  /** The mode label as it stands, cut at the length that API servers allow. */
  readonly mode: string | undefined;
  /** The approval label, cut in the same way. */
  readonly approval: string | undefined;
  readonly requiresApproval: boolean;
}

/** apimachinery, util/validation: LabelValueMaxLength. */
const LABEL_LIMIT = 63;

export function parseNamespace(raw: unknown): Namespace {
  const labels = asStringMap(at(raw, 'metadata', 'labels'));
  const text = (name: string) => (labels[name] === undefined ? undefined : elide(labels[name], LABEL_LIMIT));
  return {
    name: asString(at(raw, 'metadata', 'name')) ?? '',
    uid: asString(at(raw, 'metadata', 'uid')) ?? '',
    mode: text(MODE_LABEL),
    approval: text(APPROVAL_LABEL),
    requiresApproval: requiresApproval(labels),
  };
}

/** Undefined where nobody opted in, and for a label that is no mode. */
export function modeOf(namespace: Namespace | undefined): Mode | undefined {
  return MODES.find((mode) => mode === namespace?.mode);
}

/** Returns an Event for a label whose value is not a mode, because the user who set it expects updates to be held. */
export function modeEvent(namespace: Namespace): GateEvent | undefined {
  const { name, uid, mode } = namespace;
  if (mode === undefined || modeOf(namespace) !== undefined) return undefined;
  return {
    type: 'Warning',
    reason: 'InvalidMode',
    action: 'OptIn',
    regarding: { apiVersion: 'v1', kind: 'Namespace', name, uid },
    note: `${MODE_LABEL}=${mode} is not a mode, so Pullgate holds nothing in this namespace; set the label to: ${MODES.join(', ')}`,
    dedupKey: `${uid} ${mode}`,
  };
}

/** Returns an Event for an approval label that does nothing, because the user who set it expects rollouts to wait. */
export function approvalLabelEvent(namespace: Namespace): GateEvent | undefined {
  const { name, uid, approval } = namespace;
  if (approval === undefined) return undefined;
  const mode = modeOf(namespace);
  const isServed = mode === 'pause' || mode === 'reject';
  if (namespace.requiresApproval && isServed) return undefined;
  const why = namespace.requiresApproval
    ? `nothing is held in a namespace ${mode === undefined ? 'without a mode' : `of mode ${mode}`}; set ${MODE_LABEL}=pause`
    : `its value does nothing; set it to: ${APPROVAL_REQUIRED}`;
  return {
    type: 'Warning',
    reason: 'InvalidApproval',
    action: 'OptIn',
    regarding: { apiVersion: 'v1', kind: 'Namespace', name, uid },
    note: `${APPROVAL_LABEL}=${approval}: no rollout waits for an approval, because ${why}`,
    dedupKey: `${uid} ${approval} ${mode}`,
  };
}
