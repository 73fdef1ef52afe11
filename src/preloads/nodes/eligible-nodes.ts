import type { Scheduling } from '../../api/template/scheduling.ts';
import { lacks } from './capacity.ts';
import type { Node } from './node.ts';
import { nodeAffinity } from './node-affinity.ts';
import { type Taint, tolerates } from './taints.ts';
import { isVirtual } from './virtual-node.ts';

/**
 * Why a node is excluded, in the order in which the reasons are judged. `npm run docs` writes them to docs/reference/failures.md.
 */
export const EXCLUSION_REASONS = {
  LimitExceeded: 'The node has more labels or taints than Pullgate [reads](../security.md#limits).',
  NodeName: 'The pods name another node.',
  NodeSelector:
    'The node does not have the labels that the pods select, or that the annotation `pullgate.io/node-selector` selects.',
  NodeAffinity:
    'The node does not match the required node affinity of the pods, or a set-based part of `pullgate.io/node-selector`.',
  OperatingSystem: 'The pods select the node, and it does not run Linux.',
  VirtualNode:
    'The pods select the node, and it stands for a service such as AWS Fargate or for another cluster. Pullgate recognizes the labels and taints of Virtual Kubelet, EKS Fargate, TKE super nodes and Liqo.',
  Resources:
    'The capacity of the node can never hold what the pods request: the node does not have such a resource, such as `nvidia.com/gpu`, or it has too little CPU or memory.',
  Deleting: 'The Node object is being deleted.',
  Cordoned: 'The node is marked unschedulable.',
  NotReady: 'The node is not ready.',
  Taint: 'The pods do not tolerate a taint of the node.',
} as const;
export type ExclusionReason = keyof typeof EXCLUSION_REASONS;

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
export function describeExcluded(excluded: readonly ExcludedNodes[]): string {
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
export function exclusion(scheduling: Scheduling): Exclusion {
  const notSelected = selection(scheduling);
  const unavailable = availability(scheduling);
  const lacksResources = lacks(scheduling.requests);
  const isBarred = bars(scheduling);
  return (node) => {
    if (node.refused !== undefined) return 'LimitExceeded';
    const reason = notSelected(node);
    if (reason !== undefined) return reason;
    if (node.os !== 'linux') return 'OperatingSystem';
    if (isVirtual(node)) return 'VirtualNode';
    if (!lacksResources(node.capacity)) return unavailable(node);
    return isBarred(node.taints.filter(isLasting)) ? 'Taint' : 'Resources';
  };
}

type Exclusion = (node: Node) => ExclusionReason | undefined;

function selection({ nodeName, nodeSelector = {}, affinity }: Scheduling): Exclusion {
  const labels = Object.entries(nodeSelector);
  const matchesAffinity = nodeAffinity(affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution);
  return (node) => {
    if (nodeName !== undefined && node.name !== nodeName) return 'NodeName';
    if (labels.some(([key, value]) => node.labels[key] !== value)) return 'NodeSelector';
    return matchesAffinity(node) ? undefined : 'NodeAffinity';
  };
}

function availability(scheduling: Scheduling): Exclusion {
  const isBarred = bars(scheduling);
  return (node) => {
    if (node.deleting) return 'Deleting';
    if (node.unschedulable && scheduling.nodeName === undefined) return 'Cordoned';
    if (!node.ready) return 'NotReady';
    return isBarred(node.taints) ? 'Taint' : undefined;
  };
}

/** No scheduler binds a pod that names its node: a cordon and NoSchedule are nothing to it, and the kubelet asks for NoExecute. */
function bars({ nodeName, tolerations = [] }: Scheduling): (taints: readonly Taint[]) => boolean {
  return (taints) => {
    const barring = nodeName === undefined ? taints : taints.filter(({ effect }) => effect === 'NoExecute');
    return !tolerates(tolerations, barring);
  };
}

/** Returns whether the taint is not one that the node controller sets for as long as something is wrong with the node. */
function isLasting({ key }: Taint): boolean {
  return !key.startsWith('node.kubernetes.io/');
}

/** By code unit: the same order on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
