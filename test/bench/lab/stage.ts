import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../../src/json.ts';
import { attach, type Lab } from '../../cluster/lab/lab.ts';
import { connect } from '../../support/e2e/gated-lab.ts';
import type { Scope } from '../../support/e2e/namespace.ts';
import { withEnds } from '../ends.ts';

/** What a bench on the lab works with; what it made is taken away when it ends, the last first. */
export interface Stage extends Scope {
  readonly lab: Lab;
  readonly api: ApiClient;
}

export async function onLab<T>(work: (stage: Stage) => Promise<T>): Promise<T> {
  const lab = await attach();
  return await withEnds(async (after) => {
    const api = await connect(lab);
    after(() => api.close());
    return await work({ lab, api, after });
  });
}

/** As the nodes themselves say. */
export async function labVersions({ lab, api }: Stage): Promise<Record<string, string>> {
  const [node] = asArray(at(await api.get('/api/v1/nodes'), 'items'));
  const containerd = asString(at(node, 'status', 'nodeInfo', 'containerRuntimeVersion')) ?? '';
  return { kubernetes: lab.kubernetesVersion, containerd: containerd.replace('containerd://', '') };
}
