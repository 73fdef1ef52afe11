import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { freePort } from '../free-port.ts';
import { registerApi } from './aggregated-api.ts';
import type { Scope } from './namespace.ts';
import { startNeighbour } from './neighbour-process.ts';

/** The shortest that metrics-server takes. */
const RESOLUTION_SECONDS = 10;

/** Starts metrics-server until the scope ends, and returns when it answers. It has its first numbers after two resolutions. */
export async function startMetricsServer(scope: Scope, lab: Lab, api: ApiClient): Promise<void> {
  const port = await freePort();
  const certificates = mkdtempSync(join(tmpdir(), 'pullgate-metrics-server-'));
  const kubeconfig = ['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'];
  await registerApi(scope, lab, api, { group: 'metrics.k8s.io', version: 'v1beta1', port });
  await startNeighbour(
    scope,
    'metrics-server',
    [
      ...kubeconfig.map((flag) => `--${flag}=${lab.kubeconfig}`),
      `--cert-dir=${certificates}`,
      `--bind-address=${HUB_ADDRESS}`,
      `--secure-port=${port}`,
      // The lab's kubelets have certificates of their own making, and no names.
      '--kubelet-insecure-tls',
      '--kubelet-preferred-address-types=InternalIP',
      '--kubelet-use-node-status-port',
      '--kubelet-request-timeout=5s',
      `--metric-resolution=${RESOLUTION_SECONDS}s`,
    ],
    async () => {
      await api.get('/apis/metrics.k8s.io/v1beta1', {}, { retry: false });
      return true;
    },
  );
  scope.after(() => rmSync(certificates, { recursive: true }));
}
