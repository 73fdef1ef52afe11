import { IMAGES_NOT_READY_TAINT } from '../../api/names.ts';
import type { Toleration } from '../../api/template/scheduling.ts';
import { asArray, asString, at } from '../../json.ts';

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
function matches({ key, operator, value = '', effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  if (operator === 'Exists') return true;
  if (operator === 'Gt' || operator === 'Lt') return compares(operator, taint.value, value);
  return (!operator || operator === 'Equal') && value === taint.value;
}

/** A decimal integer of 64 bits at most, without a plus sign or leading zeros: what the scheduler compares. */
const DECIMAL = /^(0|-?[1-9][0-9]{0,18})$/;
const INT64_MAX = 2n ** 63n - 1n;

/** Returns whether the value of the taint is greater, or less, than the value of the toleration. */
function compares(operator: 'Gt' | 'Lt', taint: string, toleration: string): boolean {
  const [actual, bound] = [parseInt64(taint), parseInt64(toleration)];
  if (actual === undefined || bound === undefined) return false;
  return operator === 'Gt' ? actual > bound : actual < bound;
}

function parseInt64(text: string): bigint | undefined {
  if (!DECIMAL.test(text)) return undefined;
  const number = BigInt(text);
  return number > INT64_MAX || number < -INT64_MAX - 1n ? undefined : number;
}

/**
 * Taints that a node has until something on it is set up. Pods land there soon, so the images should be there by then.
 * The prefixes are those of the cluster autoscaler (FAQ, "How can I make Cluster Autoscaler work with startup taints").
 */
const STARTUP_KEYS: readonly string[] = [IMAGES_NOT_READY_TAINT];
const STARTUP_PREFIXES: readonly string[] = [
  'startup-taint.cluster-autoscaler.kubernetes.io/',
  'ignore-taint.cluster-autoscaler.kubernetes.io/',
];

export type IsStartupTaint = (taint: Taint) => boolean;

/** @param keys those that the operator has set: --startup-taints */
export function startupTaints(keys: readonly string[] = []): IsStartupTaint {
  const known = new Set([...STARTUP_KEYS, ...keys]);
  return ({ key }) => known.has(key) || STARTUP_PREFIXES.some((prefix) => key.startsWith(prefix));
}

/** Returns the tolerations with which a pod may be on a node with these taints, whatever their values. */
export function tolerationsFor(taints: readonly Taint[]): Toleration[] {
  return taints.map(({ key, effect }) => ({ key, operator: 'Exists', effect }));
}
