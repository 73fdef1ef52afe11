import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { API_GROUP_PATH, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../../src/api/names.ts';
import { systemClock } from '../../../src/clock.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { actAs } from '../../../src/cluster/service-account-token.ts';
import { locate, readManifests } from '../../../src/install/manifests.ts';
import { asArray, asObject, at, type JsonObject } from '../../../src/json.ts';
import type { ScaleCluster } from '../../cluster/simulated/cluster.ts';
import { until } from '../../support/e2e/until.ts';

const RBAC = new URL('../../../deploy/rbac-in-cluster.yaml', import.meta.url);

/**
 * Puts the manifests into the cluster, without the Deployment: no pod runs there. Its Service leads to this port of this machine.
 * Returns a folder with what the kubelet would put into the gate's pod.
 */
export async function install(
  { api, kubeconfig, folder }: Pick<ScaleCluster, 'api' | 'kubeconfig' | 'folder'>,
  port: number,
): Promise<string> {
  const { base, crd, webhookConfiguration } = await readManifests();
  const rights = [...parseAllDocuments(readFileSync(RBAC, 'utf8'))].map((document) =>
    asObject(document.toJS()),
  );
  for (const object of [...base, crd, ...rights]) await api.apply(locate(object).path, object);
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: GATE_NAMESPACE } };
  await api.create(`/api/v1/namespaces/${GATE_NAMESPACE}/services`, {
    ...service,
    spec: { type: 'ExternalName', externalName: 'localhost' },
  });
  await until(
    'ImagePreloads are served',
    60,
    () => api.get(`${API_GROUP_PATH}/imagepreloads`, {}, { retry: false }),
    () => true,
  );
  await api.apply(locate(webhookConfiguration).path, atPort(webhookConfiguration, port));

  const account = join(folder, 'account');
  mkdirSync(account, { recursive: true });
  const cluster = await loadKubeconfig(kubeconfig, undefined);
  const gate = actAs(api, cluster, GATE_NAMESPACE, GATE_SERVICE_ACCOUNT, systemClock);
  writeFileSync(join(account, 'token'), (await gate.token()) ?? '');
  writeFileSync(join(account, 'ca.crt'), cluster.ca ?? '');
  writeFileSync(join(account, 'namespace'), GATE_NAMESPACE);
  return account;
}

function atPort(configuration: JsonObject, port: number): JsonObject {
  const webhooks = asArray(configuration['webhooks']).map((webhook) => {
    const service = { ...asObject(at(webhook, 'clientConfig', 'service')), port };
    return { ...asObject(webhook), clientConfig: { service } };
  });
  return { ...configuration, webhooks };
}
