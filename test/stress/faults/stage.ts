import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { type ImageArrivals, imageArrivals } from '../../cluster/lab/image-arrivals.ts';
import { attach, type Lab } from '../../cluster/lab/lab.ts';
import { connect } from '../../support/e2e/gated-lab.ts';
import { inClusterGate } from '../../support/e2e/in-cluster-gate.ts';
import { createNamespace } from '../../support/e2e/namespace.ts';
import { type ApiProxy, apiProxy } from './api-proxy.ts';
import { type GateReplicas, gateReplicas } from './gate-replicas.ts';
import { createLane, type Lane } from './lane.ts';
import { mountContentStore } from './small-disk.ts';

/** The lab with two replicas of the gate installed, to break things on. */
export interface Stage {
  readonly lab: Lab;
  readonly api: ApiClient;
  readonly replicas: GateReplicas;
  readonly images: ImageArrivals;
  readonly proxy: ApiProxy;
  lane(): Promise<Lane>;
  /** A node that may be lost, with little room for images; made if there is none. */
  spareNode(): Promise<string>;
  removeSpareNode(): Promise<void>;
  /** A new version of the gate that finds its API server behind the proxy. */
  upgrade(): Promise<void>;
  /** Unless it does so already. */
  throughProxy(): Promise<void>;
  /** Takes everything away, what came last first. */
  end(): Promise<void>;
}

export async function setStage(): Promise<Stage> {
  const ends: (() => unknown)[] = [];
  async function end(): Promise<void> {
    const failures: unknown[] = [];
    for (const one of ends.splice(0).reverse()) {
      try {
        await one();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'what was set up could not be taken away');
  }
  try {
    return { ...(await set({ after: (one) => ends.push(one) })), end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function set(scope: { after(end: () => unknown): void }): Promise<Omit<Stage, 'end'>> {
  const lab = await attach();
  const api = await connect(lab);
  scope.after(() => api.close());
  const proxy = await apiProxy(scope, lab);
  const images = imageArrivals(lab);
  scope.after(images.stop);
  for (const node of lab.nodes()) images.follow(node);
  const gate = await inClusterGate(scope, lab);
  await gate.install();
  const replicas = gateReplicas(lab, api);
  let spare: string | undefined;
  let proxied = false;

  async function removeSpareNode(): Promise<void> {
    const name = spare;
    spare = undefined;
    if (name !== undefined) await lab.removeNode(name);
  }
  scope.after(removeSpareNode);

  async function upgrade(): Promise<void> {
    await replicas.upgrade(proxy);
    proxied = true;
  }

  return {
    lab,
    api,
    replicas,
    images,
    proxy,
    lane: async () => await createLane(await createNamespace(scope, lab, api)),
    async spareNode() {
      if (spare !== undefined) return spare;
      const name = await lab.addNode();
      spare = name;
      await mountContentStore(lab, name);
      images.follow(name);
      return name;
    },
    removeSpareNode,
    upgrade,
    throughProxy: async () => (proxied ? undefined : await upgrade()),
  };
}
