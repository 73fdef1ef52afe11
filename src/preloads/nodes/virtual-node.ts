import type { Node } from './node.ts';

/**
 * Labels of nodes that stand for a service, such as AWS Fargate or Azure Container Instances. Each pod there gets a machine of its
 * own, so no image can be there before its pod is.
 */
const LABELS: readonly (readonly [key: string, value: string])[] = [
  // Virtual Kubelet and what is built on it: ACI, Alibaba ECI, Huawei CCI, interLink.
  ['type', 'virtual-kubelet'],
  ['eks.amazonaws.com/compute-type', 'fargate'],
  // Super nodes of the Tencent Kubernetes Engine.
  ['node.kubernetes.io/instance-type', 'eklet'],
  // Another cluster behind a node of this one.
  ['liqo.io/type', 'virtual-node'],
];

/** The default taint of Virtual Kubelet. */
const TAINT = 'virtual-kubelet.io/provider';

export function isVirtual({ labels, taints }: Pick<Node, 'labels' | 'taints'>): boolean {
  return LABELS.some(([key, value]) => labels[key] === value) || taints.some(({ key }) => key === TAINT);
}
