import { systemClock } from '../../src/clock.ts';
import { type ApiClient, createApiClient } from '../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { actAs } from '../../src/cluster/service-account-token.ts';
import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../src/names.ts';
import type { Lab } from '../lab/lab.ts';

/** A client with a token of the gate's account: whoever gets hold of that account has no more. */
export async function gateAccount(lab: Lab, admin: ApiClient): Promise<ApiClient> {
  const cluster = await loadKubeconfig(lab.kubeconfig, lab.context);
  const account = actAs(admin, cluster, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT, systemClock);
  return createApiClient(account, { clock: systemClock, random: Math.random });
}
