import { parseDeployment } from '../../../src/api/deployment.ts';
import { runningTemplate } from '../../../src/api/images-to-pull.ts';
import { API_GROUP_PATH, MODE_LABEL } from '../../../src/api/names.ts';
import { preloadName } from '../../../src/api/preload-name.ts';
import { templateHash } from '../../../src/api/template/template-hash.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import type { Config } from '../../../src/config.ts';
import { asObject, type JsonObject } from '../../../src/json.ts';
import { preloadManifest, preloadSpec } from '../../../src/preloads/preload-spec.ts';
import type { ReviewCase } from './cases.ts';
import { NAMESPACE } from './review.ts';

/** What mode reject looks up, answered from memory: the network to an API server is not what is measured here. */
export function clientOf(cases: readonly ReviewCase[], settings: Config['settings']): ApiClient {
  const objects = new Map<string, JsonObject>([
    [
      `/api/v1/namespaces/${NAMESPACE}`,
      { metadata: { name: NAMESPACE, labels: { [MODE_LABEL]: 'reject' } } },
    ],
    ...cases.flatMap((one) => storedFor(one, settings)),
  ]);
  const unwanted = async () => {
    throw new Error('admission only reads');
  };
  return {
    cluster: 'bench',
    async get(path) {
      const object = objects.get(path);
      if (object === undefined) throw new ApiError(404, { reason: 'NotFound', message: path });
      return object;
    },
    create: unwanted,
    jsonPatch: unwanted,
    mergePatch: unwanted,
    strategicPatch: unwanted,
    apply: unwanted,
    delete: unwanted,
    watch: () => {
      throw new Error('admission only reads');
    },
    close: async () => undefined,
  };
}

function storedFor(
  { decision, oldObject, object }: ReviewCase,
  settings: Config['settings'],
): [string, JsonObject][] {
  const live = parseDeployment(oldObject);
  const wanted = parseDeployment(object);
  const name = preloadName(live, templateHash(wanted.template));
  const spec = preloadSpec(wanted, runningTemplate(live.template), settings);
  const manifest = preloadManifest(wanted, name, spec, settings);
  const ready = decision === 'reject, ready';
  const condition = {
    type: 'Ready',
    status: ready ? 'True' : 'False',
    reason: ready ? 'AllNodesReady' : 'Pulling',
    message: ready ? 'every node has the images' : '40 of 200 nodes have the images',
    lastTransitionTime: '2026-01-06T10:00:00Z',
  };
  const preload = {
    ...manifest,
    metadata: {
      ...asObject(manifest['metadata']),
      uid: 'c2c0a4e6-1f63-4b51-9a52-6a2f5b7d9b10',
      creationTimestamp: '2026-01-06T10:00:00Z',
    },
    status: {
      phase: ready ? 'Ready' : 'Pulling',
      desiredNodes: 200,
      readyNodes: ready ? 200 : 40,
      pullingNodes: ready ? 0 : 20,
      images: spec.images.map(({ image }) => ({ image, slowest: { node: 'node-7', seconds: 21 } })),
      conditions: [condition],
    },
  };
  return [
    [`/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${live.name}`, oldObject],
    [`${API_GROUP_PATH}/namespaces/${NAMESPACE}/imagepreloads/${name}`, preload],
  ];
}
