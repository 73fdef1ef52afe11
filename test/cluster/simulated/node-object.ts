import type { JsonObject } from '../../../src/json.ts';
import { time } from './pod-status.ts';

/** On each simulated node, with the name of its group; its taint has the same key and value. */
export const GROUP_LABEL = 'sim.pullgate.io/group';

type Store = ReadonlyMap<string, string>;

/** As a kubelet registers itself: with its status. */
export function nodeManifest(name: string, group: string, store: Store): JsonObject {
  const taints = [{ key: GROUP_LABEL, value: group, effect: 'NoSchedule' }];
  return { ...plainNode(name, { [GROUP_LABEL]: group }, store), spec: { taints } };
}

/** Open to all pods. */
export function plainNode(name: string, labels: Readonly<Record<string, string>>, store: Store): JsonObject {
  const resources = { cpu: '8', memory: '16Gi', pods: '110' };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: {
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/hostname': name,
        ...labels,
      },
    },
    status: {
      capacity: resources,
      allocatable: resources,
      conditions: conditions(true),
      nodeInfo: { operatingSystem: 'linux', architecture: 'amd64', kubeletVersion: 'v1.37.0' },
      images: images(store),
    },
  };
}

/** Owned by its node, so that it goes with it. */
export function leaseManifest(name: string, uid: string): JsonObject {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid }] },
    spec: { holderIdentity: name, leaseDurationSeconds: 40, ...renewTime() },
  };
}

export function renewal(): JsonObject {
  return { spec: renewTime() };
}

/** A MicroTime: the API server reads six decimals, no more and no less. */
function renewTime(): JsonObject {
  return { renewTime: new Date().toISOString().replace('Z', '000Z') };
}

export function readyPatch(ready: boolean): JsonObject {
  return { status: { conditions: conditions(ready) } };
}

function conditions(ready: boolean): JsonObject[] {
  const now = time();
  const why = ready
    ? { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' }
    : { status: 'False', reason: 'KubeletNotReady', message: 'container runtime is down' };
  return [{ type: 'Ready', ...why, lastHeartbeatTime: now, lastTransitionTime: now }];
}

export function imagesPatch(store: Store): JsonObject {
  return { status: { images: images(store) } };
}

/** Kubelets report 50 at most (nodeStatusMaxImages). */
function images(store: Store): JsonObject[] {
  return [...store.keys()].slice(0, 50).map((name) => ({ names: [name], sizeBytes: 1_000_000 }));
}
