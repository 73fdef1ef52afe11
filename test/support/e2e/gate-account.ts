import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../../src/api/names.ts';
import { systemClock } from '../../../src/clock.ts';
import { type ApiClient, createApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import type { Lab } from '../../cluster/lab/lab.ts';

/**
 * A client that acts as the gate's account and has no more rights. It impersonates the account, as `kubectl --as` does, so that
 * the audit log does not take its requests for the gate's.
 */
export async function gateAccount(lab: Lab): Promise<ApiClient> {
  const admin = await loadKubeconfig(lab.kubeconfig, lab.context);
  const headers = { 'Impersonate-User': `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}` };
  return createApiClient({ ...admin, headers }, { clock: systemClock, random: Math.random });
}
