import { after, before } from 'node:test';
import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../../src/api/names.ts';
import { systemClock } from '../../../src/clock.ts';
import { type ApiClient, createApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { attach, type Lab } from '../../cluster/lab/lab.ts';
import { type GateOptions, type GateProcess, startGate } from './gate-process.ts';
import { createNamespace, type Namespace, type Scope } from './namespace.ts';

/** The lab, a gate for it, and the lab's admin at the API server. */
export interface GatedLab {
  readonly lab: Lab;
  readonly api: ApiClient;
  /** A test that ends it puts another one here, or leaves it ended. */
  gate: GateProcess;
  namespace(scope: Scope, labels?: Readonly<Record<string, string>>): Promise<Namespace>;
}

/** For all tests of a file: begins before the first and ends after the last one. */
export function gatedLab(options: GateOptions = {}): GatedLab {
  let begun: { lab: Lab; api: ApiClient; gate: GateProcess } | undefined;
  const here = () => {
    if (begun === undefined) throw new Error('only inside a test');
    return begun;
  };
  before(async () => {
    const lab = await attach();
    begun = { lab, api: await connect(lab), gate: await startGate(lab, options) };
  });
  after(async () => {
    await begun?.gate.stop();
    await begun?.api.close();
  });
  return {
    get lab() {
      return here().lab;
    },
    get api() {
      return here().api;
    },
    get gate() {
      return here().gate;
    },
    set gate(gate) {
      here().gate = gate;
    },
    namespace: (scope, labels) =>
      createNamespace(scope, here().lab, here().api, labels, () => here().gate.lines),
  };
}

/** A client of the lab's admin, or of a user whom the admin impersonates, as `kubectl --as` does. */
export async function connect(lab: Lab, user?: string): Promise<ApiClient> {
  const admin = await loadKubeconfig(lab.kubeconfig, lab.context);
  const cluster = user === undefined ? admin : { ...admin, headers: { 'Impersonate-User': user } };
  return createApiClient(cluster, { clock: systemClock, random: Math.random });
}

/** A client with the rights of the gate's account and no others. The audit log does not take its requests for the gate's. */
export async function gateAccount(lab: Lab): Promise<ApiClient> {
  return await connect(lab, `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`);
}
