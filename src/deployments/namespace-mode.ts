import { requiresApproval } from '../api/approval.ts';
import { MODE_LABEL, MODES, type Mode } from '../api/names.ts';
import type { GateEvent } from '../cluster/events.ts';
import { asString, asStringMap, at } from '../json.ts';
import { elide } from '../text.ts';

/** What Pullgate reads of a Namespace. */
export interface Namespace {
  readonly name: string;
  readonly uid: string;
  /** The mode label as it stands, cut at the length that API servers allow. */
  readonly mode: string | undefined;
  readonly requiresApproval: boolean;
}

/** apimachinery, util/validation: LabelValueMaxLength. */
const LABEL_LIMIT = 63;

export function parseNamespace(raw: unknown): Namespace {
  const labels = at(raw, 'metadata', 'labels');
  const mode = asString(at(labels, MODE_LABEL));
  return {
    name: asString(at(raw, 'metadata', 'name')) ?? '',
    uid: asString(at(raw, 'metadata', 'uid')) ?? '',
    mode: mode === undefined ? undefined : elide(mode, LABEL_LIMIT),
    requiresApproval: requiresApproval(asStringMap(labels)),
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
