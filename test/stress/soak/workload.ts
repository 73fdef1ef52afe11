import { type Deployment, parseDeployment } from '../../../src/api/deployment.ts';
import { BYPASS_ANNOTATION, MODE_LABEL } from '../../../src/api/names.ts';
import { isFailedByGate, isRolloutFinished } from '../../../src/api/rollout.ts';
import { isNotFound } from '../../../src/cluster/api-error.ts';
import type { JsonObject } from '../../../src/json.ts';
import type { ScaleCluster } from '../../cluster/simulated/cluster.ts';
import type { Answers } from '../../cluster/simulated/kubelets.ts';
import { isHeld, manifestOf } from '../../support/e2e/deployment.ts';
import { imagesOf } from '../../support/e2e/timeline.ts';
import { until } from '../../support/e2e/until.ts';
import type { Followed } from './followed.ts';

export interface World {
  readonly cluster: ScaleCluster;
  readonly followed: Followed;
  /** Images whose pulls do not end before their name is taken off: whatever is done about such a hold is done in time. */
  readonly hanging: Set<string>;
}

/** `hanging`: until the Deployment asks for something else. */
export type ImageKind = 'good' | 'missing' | 'flaky' | 'hanging';

/** One Deployment whose pods may land on a few nodes, and what its owner does. What is not as promised throws. */
export interface Workload {
  /** Creates it, and waits until it runs. */
  deploy(): Promise<void>;
  /** Another image than any before: see `registryOf`. */
  newImage(kind?: ImageKind): string;
  /** Sets it, which must not go through at once. */
  setHeld(image: string, annotations?: Readonly<Record<string, string>>): Promise<void>;
  /** Sets the image that runs again, which must end the hold in that very request. */
  goBack(): Promise<void>;
  /** Likewise. */
  bypass(): Promise<void>;
  /** Until its hold is over, on at least so many nodes with the image. */
  released(image: string, leastNodes?: number): Promise<void>;
  rolledOut(image: string): Promise<void>;
  /** Until a waiting `kubectl rollout status` fails. */
  toldFailed(): Promise<void>;
  /** Until it is gone. */
  remove(): Promise<void>;
}

/** On each node, with the name of its group. */
export const GROUP_LABEL = 'soak.pullgate.io/group';
export const NODES_IN_GROUP = 4;

const HOST = 'registry.sim';
/** All images that there are here; of one length, so that no part of a name is another. */
export const IMAGE_PATTERN = /registry\.sim\/[a-z]+\/[a-z0-9-]+\/[a-z0-9-]+:v[0-9]{6}/g;

/** A pull takes between a third of a second and one. A missing image is not found; a flaky one is, at the third try or so. */
export function registryOf(hanging: ReadonlySet<string>): Answers {
  return (image) => {
    if (hanging.has(image)) return { hangs: true };
    if (image.startsWith(`${HOST}/missing/`)) return undefined;
    if (image.startsWith(`${HOST}/flaky/`) && Math.random() < 0.3) {
      return { fails: 'unexpected status code [manifests v1]: 503 Service Unavailable' };
    }
    return { seconds: 0.3 + 0.7 * Math.random() };
  };
}

/** A flaky pull backs off for half a minute a time, and everything waits for its turn on a busy machine. */
const PATIENCE_SECONDS = 180;

/** Opted in, and with its ServiceAccount: without it no pod can be made. */
export async function createNamespace({ cluster: { api } }: World, name: string): Promise<void> {
  const metadata = { name, labels: { [MODE_LABEL]: 'pause' } };
  await api.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata });
  const account = `/api/v1/namespaces/${name}/serviceaccounts/default`;
  await until(
    `${account} is there`,
    PATIENCE_SECONDS,
    () => api.get(account, {}, { retry: false }),
    () => true,
  );
}

/** Until it is gone with all that is in it. */
export async function deleteNamespace({ cluster: { api }, hanging }: World, name: string): Promise<void> {
  const path = `/api/v1/namespaces/${name}`;
  await api.delete(path);
  for (const image of hanging) if (image.includes(`/${name}/`)) hanging.delete(image);
  await until(
    `namespace ${name} is gone`,
    PATIENCE_SECONDS,
    () => api.get(path).then(String, (error: unknown) => error),
    isNotFound,
  );
}

export function createWorkload(
  { cluster, followed, hanging }: World,
  namespace: string,
  name: string,
  group: string,
): Workload {
  const { api, kubelets } = cluster;
  const key = `${namespace}/${name}`;
  const collection = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  const path = `${collection}/${name}`;
  const nodes = cluster.nodes.filter(({ labels }) => labels[GROUP_LABEL] === group);
  let version = 0;
  let runs = '';

  function newImage(kind: ImageKind = 'good'): string {
    version += 1;
    const image = `${HOST}/${kind}/${namespace}/${name}:v${String(version).padStart(6, '0')}`;
    if (kind === 'hanging') hanging.add(image);
    return image;
  }

  function letGo(held?: Deployment): void {
    for (const image of hanging) {
      const isOurs = image.startsWith(`${HOST}/hanging/${namespace}/${name}:`);
      if (isOurs && !(held !== undefined && isHeld(held) && hasImage(held, image))) hanging.delete(image);
    }
  }

  async function set(image: string, annotations: Readonly<Record<string, string>> = {}): Promise<Deployment> {
    const template = { spec: { containers: [{ name: 'app', image }] } };
    return await patch({ metadata: { annotations }, spec: { template } });
  }

  async function patch(body: JsonObject): Promise<Deployment> {
    const stored = parseDeployment(await api.strategicPatch(path, body));
    letGo(stored);
    return stored;
  }

  const expect = (is: boolean, what: string, seen: unknown) => {
    if (!is) throw new Error(`${key} ${what}: ${JSON.stringify(seen)}`);
  };

  async function rolledOut(image: string): Promise<void> {
    await followed.until(key, `runs ${image}`, PATIENCE_SECONDS, (state) => {
      return state !== undefined && hasImage(state, image) && !isHeld(state) && isRolloutFinished(state);
    });
    runs = image;
  }

  return {
    async deploy() {
      const image = newImage();
      const pod = { nodeSelector: { [GROUP_LABEL]: group }, automountServiceAccountToken: false };
      const manifest = manifestOf(name, { image, pod });
      const spec = { ...(manifest['spec'] as JsonObject), revisionHistoryLimit: 1 };
      await api.create(collection, { ...manifest, spec });
      await rolledOut(image);
    },
    newImage,
    async setHeld(image, annotations) {
      const stored = await set(image, annotations);
      expect(isHeld(stored) && stored.paused, 'was not held', stored);
    },
    async goBack() {
      const stored = await set(runs);
      expect(!isHeld(stored) && !stored.paused, 'is held although it went back', stored);
      await rolledOut(runs);
    },
    async bypass() {
      // Another reason each time: only one that changes counts.
      const stored = await patch({ metadata: { annotations: { [BYPASS_ANNOTATION]: `urgent ${version}` } } });
      expect(!isHeld(stored) && !stored.paused, 'is held in spite of its bypass', stored);
    },
    async released(image, leastNodes = nodes.length) {
      await followed.until(key, `is released with ${image}`, PATIENCE_SECONDS, (state) => {
        return state !== undefined && hasImage(state, image) && !isHeld(state);
      });
      const having = nodes.filter((node) => kubelets.has(node.name, image)).length;
      expect(having >= leastNodes, `was released too early, for ${leastNodes} nodes`, having);
    },
    rolledOut,
    async toldFailed() {
      await followed.until(key, 'is told to have failed', PATIENCE_SECONDS, (state) => {
        return state !== undefined && isFailedByGate(state);
      });
    },
    async remove() {
      await api.delete(path, { propagationPolicy: 'Background' });
      await followed.until(key, 'is gone', PATIENCE_SECONDS, (state) => state === undefined);
      letGo();
    },
  };
}

function hasImage(state: Deployment, image: string): boolean {
  return imagesOf({ spec: { template: state.template } }).includes(image);
}
