import { MODE_LABEL } from '../../../src/api/names.ts';
import type { JsonObject } from '../../../src/json.ts';
import type { ScaleCluster } from '../../cluster/simulated/cluster.ts';
import { manifestOf } from '../../support/e2e/deployment.ts';
import { until } from '../../support/e2e/until.ts';
import { inParallel } from '../../support/in-parallel.ts';

/** Deployments of one namespace that opted in. */
export interface Workloads {
  readonly names: readonly string[];
  /** Another image for each of these, one that no other has: each is held. */
  update(names: readonly string[]): Promise<void>;
}

const HOST = 'registry.sim/apps';
const RUNNING = `${HOST}/running:v1`;

export async function createWorkloads(
  { api }: Pick<ScaleCluster, 'api'>,
  namespace: string,
  count: number,
  manifest: (name: string, image: string) => JsonObject = plainManifest,
): Promise<Workloads> {
  const metadata = { name: namespace, labels: { [MODE_LABEL]: 'pause' } };
  await api.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata });
  const account = `/api/v1/namespaces/${namespace}/serviceaccounts/default`;
  await until(
    `${account} is there`,
    60,
    () => api.get(account, {}, { retry: false }),
    () => true,
  );
  const collection = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  const names = Array.from({ length: count }, (_, index) => `app-${index + 1}`);
  await inParallel(names, (name) => api.create(collection, manifest(name, RUNNING)));
  let version = 1;
  return {
    names,
    async update(chosen) {
      version += 1;
      await inParallel(chosen, (name) => {
        const image = `${HOST}/${namespace}/${name}:v${version}`;
        const template = { spec: { containers: [{ name: 'app', image }] } };
        return api.strategicPatch(`${collection}/${name}`, { spec: { template } });
      });
    },
  };
}

function plainManifest(name: string, image: string): JsonObject {
  return manifestOf(name, { image, pod: { automountServiceAccountToken: false } });
}
