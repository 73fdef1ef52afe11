import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, at } from '../../src/json.ts';
import { freePort } from '../e2e/gate-process.ts';
import { until } from '../lab/until.ts';
import type { Program } from './bound-process.ts';
import type { Plan } from './control-plane.ts';

/** kubemark's: a real kubelet with a runtime that does nothing, one process each. */
export async function hollowNode(
  name: string,
  kubemark: string,
  { ground, folder, credentials }: Plan,
): Promise<Program> {
  const [port, readOnly] = [await freePort(), await freePort()];
  return {
    name,
    argv: [
      kubemark,
      '--morph=kubelet',
      `--name=${name}`,
      `--kubeconfig=${credentials.kubeconfig}`,
      `--kubelet-port=${port}`,
      `--kubelet-read-only-port=${readOnly}`,
    ],
    // It makes its own folders there.
    env: { ...ground.tools.env, TMPDIR: folder },
  };
}

const READY_SECONDS = 120;

export async function nodesReady(api: ApiClient, count: number): Promise<void> {
  await until(`${count} nodes are ready`, READY_SECONDS, async () => {
    const ready = asArray(at(await api.get('/api/v1/nodes'), 'items')).filter((node) =>
      asArray(at(node, 'status', 'conditions')).some(
        (condition) => at(condition, 'type') === 'Ready' && at(condition, 'status') === 'True',
      ),
    );
    return ready.length === count || `${ready.length} are`;
  });
}
