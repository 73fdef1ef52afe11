import { asArray, asString, at } from '../json.ts';
import type { Toleration } from '../template/scheduling.ts';

export interface Taint {
  readonly key: string;
  readonly value: string;
  readonly effect: string;
}

export function parseTaints(raw: unknown): Taint[] {
  return asArray(raw).map((taint) => ({
    key: asString(at(taint, 'key')) ?? '',
    value: asString(at(taint, 'value')) ?? '',
    effect: asString(at(taint, 'effect')) ?? '',
  }));
}

/** PreferNoSchedule is a wish of the node's, not a bar. */
const EXCLUDING_EFFECTS: ReadonlySet<string> = new Set(['NoSchedule', 'NoExecute']);

/** Whether pods with these tolerations may land on a node with these taints. */
export function tolerates(tolerations: readonly Toleration[], taints: readonly Taint[]): boolean {
  return taints
    .filter((taint) => EXCLUDING_EFFECTS.has(taint.effect))
    .every((taint) => tolerations.some((toleration) => matches(toleration, taint)));
}

/** As `ToleratesTaint` of k8s.io/api/core/v1; an operator it does not know tolerates nothing. */
function matches({ key, operator, value, effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  if (operator === 'Exists') return true;
  return (!operator || operator === 'Equal') && (value ?? '') === taint.value;
}
