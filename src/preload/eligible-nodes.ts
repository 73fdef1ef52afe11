import type { Scheduling } from '../template/scheduling.ts';
import type { Node } from './node.ts';
import { nodeAffinity } from './node-affinity.ts';
import { tolerates } from './taints.ts';
import { isVirtual } from './virtual-node.ts';

/** Why a node is left out, in the order in which the reasons are judged. */
export type ExclusionReason =
  | 'LimitExceeded'
  | 'NodeSelector'
  | 'NodeAffinity'
  | 'OperatingSystem'
  | 'VirtualNode'
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
  const reasonFor = exclusion(scheduling);
  for (const node of nodes) {
    const reason = reasonFor(node);
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
 * Returns why pods of this scheduling could not land on a node; undefined if they could. What the pods ask for comes first, because a
 * node on which they could never land is that, whatever else is wrong with it. A node of another operating system and a virtual one
 * are named as such only if the pods select them. Taints come last, as the node controller taints a node that is cordoned or not
 * ready by itself.
 */
export function exclusion(scheduling: Scheduling): (node: Node) => ExclusionReason | undefined {
  const labels = Object.entries(scheduling.nodeSelector ?? {});
  const matchesAffinity = nodeAffinity(
    scheduling.affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution,
  );
  const { tolerations = [] } = scheduling;
  return (node) => {
    if (node.refused !== undefined) return 'LimitExceeded';
    if (labels.some(([key, value]) => node.labels[key] !== value)) return 'NodeSelector';
    if (!matchesAffinity(node)) return 'NodeAffinity';
    if (node.os !== 'linux') return 'OperatingSystem';
    if (isVirtual(node)) return 'VirtualNode';
    if (node.deleting) return 'Deleting';
    if (node.unschedulable) return 'Cordoned';
    if (!node.ready) return 'NotReady';
    if (!tolerates(tolerations, node.taints)) return 'Taint';
    return undefined;
  };
}

/** By code unit: the same order on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
