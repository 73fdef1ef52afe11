import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { listPages } from '../../../src/cluster/list-pages.ts';
import { asArray, at } from '../../../src/json.ts';
import { freePort } from '../../support/free-port.ts';
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
      // It has a runtime of its own, but would ask containerd of this machine for images.
      '--use-host-image-service=false',
    ],
    // It makes its own folders there.
    env: { ...ground.tools.env, TMPDIR: folder },
  };
}

const READY_SECONDS = 120;

export async function nodesReady(api: ApiClient, count: number): Promise<void> {
  await until(`${count} nodes are ready`, READY_SECONDS, async () => {
    let ready = 0;
    await listPages(api, '/api/v1/nodes', {
      onPage(nodes) {
        ready += nodes.filter(isReady).length;
      },
    });
    return ready === count || `${ready} are`;
  });
}

function isReady(node: unknown): boolean {
  return asArray(at(node, 'status', 'conditions')).some(
    (condition) => at(condition, 'type') === 'Ready' && at(condition, 'status') === 'True',
  );
}
