import { asString, asStringMap, at, isObject, type JsonObject } from '../json.ts';
import type { Node } from './node.ts';
import { matchesNodeAffinity } from './node-affinity.ts';
import { parseTolerations, type Toleration, tolerates } from './taints.ts';

/** What of a pod spec says where its pods may land. The shape is that of `ImagePreload.spec.scheduling`. */
export interface Scheduling {
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** As in a pod spec; only `nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution` is kept and read. */
  readonly affinity?: JsonObject;
  readonly tolerations?: readonly Toleration[];
  readonly runtimeClassName?: string;
}

/** Reads a pod spec, or `ImagePreload.spec.scheduling`: the fields have the same names. */
export function schedulingOf(podSpec: JsonObject): Scheduling {
  const nodeSelector = asStringMap(podSpec['nodeSelector']);
  const required = requiredNodeAffinity(podSpec['affinity']);
  const tolerations = parseTolerations(podSpec['tolerations']);
  const runtimeClassName = asString(podSpec['runtimeClassName']);
  return {
    ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    ...(isObject(required) && {
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } },
    }),
    ...(tolerations.length > 0 && { tolerations }),
    ...(runtimeClassName && { runtimeClassName }),
  };
}

function requiredNodeAffinity(affinity: unknown): unknown {
  return at(affinity, 'nodeAffinity', 'requiredDuringSchedulingIgnoredDuringExecution');
}

/** Why a node is left out, in the order in which the reasons are judged. */
export type ExclusionReason =
  | 'OperatingSystem'
  | 'NodeSelector'
  | 'NodeAffinity'
  | 'Deleting'
  | 'Cordoned'
  | 'NotReady'
  | 'Taint';

export interface EligibleNodes {
  /** Sorted by name. */
  readonly eligible: Node[];
  /** Sorted by reason; a reason without a node is not listed. */
  readonly excluded: readonly (ExcludedNodes & { readonly reason: ExclusionReason })[];
}

export interface ExcludedNodes {
  readonly reason: string;
  readonly count: number;
  /** One of them, always the same. */
  readonly node: string;
}

/** `2 Cordoned (such as node-1), 1 NotReady (node-3)`. */
export function wordsAboutExcluded(excluded: readonly ExcludedNodes[]): string {
  return excluded
    .map(({ reason, count, node }) => `${count} ${reason} (${count === 1 ? node : `such as ${node}`})`)
    .join(', ');
}

/** The nodes where pods of this scheduling could land now, and how many are left out for which reason. */
export function eligibleNodes(nodes: Iterable<Node>, scheduling: Scheduling): EligibleNodes {
  const eligible: Node[] = [];
  const left = new Map<ExclusionReason, { count: number; node: string }>();
  for (const node of nodes) {
    const reason = exclusionReason(node, scheduling);
    if (reason === undefined) {
      eligible.push(node);
      continue;
    }
    const { count, node: first } = left.get(reason) ?? { count: 0, node: node.name };
    left.set(reason, { count: count + 1, node: compare(node.name, first) < 0 ? node.name : first });
  }
  return {
    eligible: eligible.sort((a, b) => compare(a.name, b.name)),
    excluded: [...left]
      .map(([reason, some]) => ({ reason, ...some }))
      .sort((a, b) => compare(a.reason, b.reason)),
  };
}

/**
 * What the pods ask for comes first: a node they could never land on is that, whatever else is wrong with it. Taints
 * come last, as the node controller taints a node that is cordoned or not ready by itself.
 */
function exclusionReason(node: Node, scheduling: Scheduling): ExclusionReason | undefined {
  const { nodeSelector = {}, affinity, tolerations = [] } = scheduling;
  if (node.os !== 'linux') return 'OperatingSystem';
  if (Object.entries(nodeSelector).some(([key, value]) => node.labels[key] !== value)) return 'NodeSelector';
  if (!matchesNodeAffinity(requiredNodeAffinity(affinity), node)) return 'NodeAffinity';
  if (node.deleting) return 'Deleting';
  if (node.unschedulable) return 'Cordoned';
  if (!node.ready) return 'NotReady';
  if (!tolerates(tolerations, node.taints)) return 'Taint';
  return undefined;
}

/** By code unit: the same order on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
