import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/clock.ts';
import { type ApiClient, createApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { freePort } from '../../support/free-port.ts';
import { inParallel } from '../../support/in-parallel.ts';
import { formatVersion } from '../lab/flags.ts';
import { goPrograms } from '../lab/go-modules.ts';
import { withLock } from '../lab/lock.ts';
import { cacheFolder } from '../lab/paths.ts';
import { isPrepared, prepare } from '../lab/prepare.ts';
import { GiveUp, until } from '../lab/until.ts';
import { type BoundProcess, type Program, startBound } from './bound-process.ts';
import { apiServer, controllerManager, etcd, type Plan } from './control-plane.ts';
import { writeCredentials } from './credentials.ts';
import { hollowNode, nodesReady } from './hollow-nodes.ts';
import { type Kubelets, type KubeletsOptions, type SimulatedNode, startKubelets } from './kubelets.ts';
import { plainNode } from './node-object.ts';

export interface ScaleOptions extends Pick<KubeletsOptions, 'backoffMs'> {
  readonly nodes: number;
  /** Beyond what every node has. Counted from 0. */
  readonly labelsOf?: (index: number) => Readonly<Record<string, string>>;
  /** What each node says it has. */
  readonly images?: readonly string[];
  /** So many more, of kubemark. Their images are there at once. */
  readonly hollowNodes?: number;
  readonly log?: (line: string) => void;
}

/**
 * A control plane of its own, real, on free ports of the loopback address, with simulated nodes: it can run beside the lab,
 * and ends with this process.
 */
export interface ScaleCluster {
  /** `https://127.0.0.1:port` */
  readonly server: string;
  /** Of its admin, a file. */
  readonly kubeconfig: string;
  readonly api: ApiClient;
  readonly kubelets: Kubelets;
  readonly nodes: readonly SimulatedNode[];
  readonly kubernetesVersion: string;
  /** For who measures what they take: etcd, the API server, the controller manager. */
  readonly processes: readonly BoundProcess[];
  /** For files of who uses it; gone with it. */
  readonly folder: string;
  stop(): Promise<void>;
}

/** On a busy machine with two cores; 5 to 8 s alone. */
const START_SECONDS = 60;

export async function startScaleCluster(options: ScaleOptions): Promise<ScaleCluster> {
  const { log = () => undefined } = options;
  // With all of it there nothing is written, and nobody has to wait for a lab that is starting.
  const ground = await (isPrepared() ? prepare(log) : withLock(log, () => prepare(log)));
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-scale-'));
  const processes: BoundProcess[] = [];
  const ends: (() => Promise<unknown>)[] = [];
  // etcd may still be writing when it is killed.
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  const onExit = () => {
    for (const one of processes) one.kill().catch(() => undefined);
    remove();
  };
  process.once('exit', onExit);

  /** The last that began first, and all of them. */
  async function stop(): Promise<void> {
    const errors: unknown[] = [];
    for (const end of ends.splice(0).reverse()) await end().catch((error: unknown) => errors.push(error));
    await Promise.all(processes.map((one) => one.kill()));
    remove();
    process.off('exit', onExit);
    if (errors.length > 0) throw errors[0];
  }

  try {
    const ports = { etcd: await freePort(), peer: await freePort(), api: await freePort() };
    const credentials = await writeCredentials(folder, `https://127.0.0.1:${ports.api}`);
    const plan: Plan = { ground, folder, credentials, ports };
    const start = (program: Program) => processes.push(startBound(program, folder));
    start(etcd(plan));
    start(apiServer(plan));
    const cluster = await loadKubeconfig(credentials.kubeconfig, undefined);
    const api = createApiClient(cluster, { clock: systemClock, random: Math.random });
    ends.push(() => api.close());
    await served(ROLES, api, processes);
    // Earlier it would give up: it waits 10 s for an API server.
    start(controllerManager(plan));
    await served(ACCOUNT, api, processes);
    const version = formatVersion(ground.version);
    log(`Kubernetes ${version} at ${cluster.server}, its logs in ${folder}`);

    const nodes = await createNodes(api, options);
    log(`${nodes.length} nodes`);
    const others = Array.from({ length: options.hollowNodes ?? 0 }, (_, index) => ({
      name: `hollow-${index + 1}`,
      labels: {},
    }));
    if (others.length > 0) {
      const folder = await withLock(log, () =>
        goPrograms(cacheFolder(), 'kubernetes-1.37', ['kubemark'], log),
      );
      const kubemark = join(folder, 'kubemark');
      for (const { name } of others) start(await hollowNode(name, kubemark, plan));
    }
    await nodesReady(api, nodes.length + others.length);
    const { backoffMs } = options;
    const kubelets = await startKubelets({
      api,
      nodes,
      others,
      ...(backoffMs !== undefined && { backoffMs }),
    });
    ends.push(() => kubelets.stop());
    const { kubeconfig } = credentials;
    const { server } = cluster;
    return {
      server,
      kubeconfig,
      api,
      kubelets,
      nodes: [...nodes, ...others],
      kubernetesVersion: version,
      processes,
      folder,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What the API server makes for itself when it starts, and the controllers' first work. */
const ROLES = '/apis/rbac.authorization.k8s.io/v1/clusterroles/view';
const ACCOUNT = '/api/v1/namespaces/default/serviceaccounts/default';

async function served(path: string, api: ApiClient, processes: readonly BoundProcess[]): Promise<void> {
  await until(`${path} is there`, START_SECONDS, async () => {
    for (const one of processes) {
      const ended = one.ended();
      if (ended !== undefined) throw new GiveUp(ended);
    }
    await api.get(path, {}, { retry: false, deadlineMs: 5000 });
    return true as const;
  });
}

async function createNodes(api: ApiClient, options: ScaleOptions): Promise<SimulatedNode[]> {
  const nodes = Array.from({ length: options.nodes }, (_, index) => ({
    name: `scale-${index + 1}`,
    labels: options.labelsOf?.(index) ?? {},
  }));
  const listed = new Map((options.images ?? []).map((image) => [image, '']));
  await inParallel(nodes, ({ name, labels }) => api.create('/api/v1/nodes', plainNode(name, labels, listed)));
  return nodes;
}
