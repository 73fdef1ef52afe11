import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { HUB_NETNS, MOST_NODES, type NodeAddress, nodeAddress, REGISTRY_NAMES } from './addresses.ts';
import { ApiServer } from './api-server.ts';
import { ensureCertificates, ensureNodeCertificate } from './certificates.ts';
import { apiServer, apiServerDoor, controllerManager, etcd, scheduler } from './control-plane.ts';
import { LabError } from './errors.ts';
import { type Ground, KUBECONFIG, serverUrl, writeGround } from './ground.ts';
import { PAUSE, pushImage } from './images.ts';
import { kubeconfig } from './kubeconfig.ts';
import { ensureHubNetwork, ensureNodeNetwork, inNetns } from './namespaces.ts';
import {
  containerd,
  MACHINE_FOLDERS,
  nodeComponents,
  nodeFolder,
  startKubelet,
  startRuntime,
} from './node.ts';
import { STATE } from './paths.ts';
import {
  type Component,
  ensureRunning,
  logTail,
  mainProcess,
  type Outcome,
  startedAt,
  untilListening,
} from './process-table.ts';
import { registry } from './registry.ts';
import { nodeNames } from './teardown.ts';
import { until } from './until.ts';

/** Seen: a node is Ready 3 to 12 s after its kubelet started; the rest is for a machine that is busy. */
const NODE_READY_SECONDS = 90;
const FIRST_PORT = 16443;

/** Everything that runs outside the nodes. */
function hubComponents(ground: Ground): Component[] {
  const door = apiServerDoor(ground);
  return [
    etcd(ground),
    apiServer(ground),
    controllerManager(ground),
    scheduler(ground),
    ...REGISTRY_NAMES.map((name) => registry(ground, name)),
    door.inside,
    door.outside,
  ];
}

export function labComponents(ground: Ground): Component[] {
  return [
    ...hubComponents(ground),
    ...nodeNames().flatMap((name) => nodeComponents(ground, nodeAddress(name))),
  ];
}

/** The argv prefix into a hub component's namespaces. */
export function insideHub(component: Component): string[] {
  return component.name.startsWith('machine/') ? [] : inNetns(HUB_NETNS);
}

export async function firstFreePort(): Promise<number> {
  for (let port = FIRST_PORT; port < FIRST_PORT + 50; port++) {
    if (await isFree(port)) {
      return port;
    }
  }
  throw new LabError(
    `no free port on 127.0.0.1 from ${FIRST_PORT} to ${FIRST_PORT + 49}: end what uses them`,
  );
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Starts whatever does not run as it should, and returns once all of it works. */
export async function converge(
  ground: Ground,
  wantedNodes: number,
  log: (line: string) => void,
): Promise<void> {
  mkdirSync(STATE, { recursive: true, mode: 0o700 });
  for (const folder of MACHINE_FOLDERS) {
    mkdirSync(folder, { recursive: true });
  }
  await ensureCertificates();
  writeGround(ground);
  writeFileSync(KUBECONFIG, kubeconfig(serverUrl(ground)), { mode: 0o600 });
  await ensureHubNetwork(ground.tools);
  const wanted = Array.from({ length: wantedNodes }, (_, index) => `node-${index + 1}`);
  const names = [...new Set([...nodeNames(), ...wanted])];
  const nodes = names.map(nodeAddress);
  const started: string[] = [];
  const ensure = async (component: Component) => {
    if ((await ensureRunning(component, insideHub(component))) !== 'kept') {
      started.push(component.name);
    }
    await untilListening(component, 60);
  };

  const runtimes = Promise.all(nodes.map((node) => prepareNode(ground, node)));
  const registries = Promise.all(REGISTRY_NAMES.map((name) => ensure(registry(ground, name)))).then(() =>
    pushImage(ground, PAUSE),
  );
  const controlPlane = (async () => {
    const door = apiServerDoor(ground);
    await ensure(etcd(ground));
    await Promise.all([ensure(apiServer(ground)), ensure(door.inside), ensure(door.outside)]);
    const server = new ApiServer(serverUrl(ground));
    await until('the API server is ready', 60, () => server.isReady());
    await Promise.all([ensure(controllerManager(ground)), ensure(scheduler(ground))]);
  })();
  const [outcomes] = await Promise.all([runtimes, registries, controlPlane]);
  if (started.length > 0) {
    log(`started ${started.join(', ')}`);
  }
  await Promise.all(
    nodes.map(async (node, index) => {
      if (await finishNode(ground, node, outcomes[index] ?? [])) {
        log(`${node.name} is Ready`);
      }
    }),
  );
  const server = new ApiServer(serverUrl(ground));
  // Without it no pod can be created: the controller manager makes it some moments after it started.
  const account = '/api/v1/namespaces/default/serviceaccounts/default';
  await until(
    'the default service account exists',
    30,
    async () => (await server.exists(account)) || 'not yet',
  );
  log(nodes.length === 1 ? '1 node Ready' : `all ${nodes.length} nodes Ready`);
}

/** A further node on a lab that works. */
export async function addNode(ground: Ground): Promise<string> {
  const taken = new Set(nodeNames());
  const number = Array.from({ length: MOST_NODES }, (_, index) => index + 1).find(
    (one) => !taken.has(`node-${one}`),
  );
  if (number === undefined) {
    throw new LabError(`the lab has ${MOST_NODES} nodes already`);
  }
  const node = nodeAddress(`node-${number}`);
  await finishNode(ground, node, await prepareNode(ground, node));
  return node.name;
}

async function prepareNode(ground: Ground, node: NodeAddress): Promise<Outcome[]> {
  // First of all: from here on the node exists, and `down` or the next `up` finds what there is of it.
  mkdirSync(nodeFolder(node), { recursive: true });
  await ensureNodeCertificate(node.name);
  await ensureNodeNetwork(ground.tools, node);
  return startRuntime(ground, node);
}

/** True if anything had to be started. */
async function finishNode(ground: Ground, node: NodeAddress, runtime: Outcome[]): Promise<boolean> {
  await untilListening(containerd(ground, node), 30);
  const outcomes = runtime.concat(await startKubelet(ground, node));
  await Promise.all(nodeComponents(ground, node).map((component) => untilListening(component, 60)));
  const server = new ApiServer(serverUrl(ground));
  await until(`${node.name} is Ready`, NODE_READY_SECONDS, async () => {
    const said = (await server.nodes()).find(({ name }) => name === node.name);
    if (!said?.ready) {
      return `not Ready\n${logTail(`${node.name}/kubelet`)}`;
    }
    // What a kubelet said before it was killed stands for 40 s; the one that runs now has to say so itself.
    const pid = mainProcess(`${node.name}/kubelet`)?.pid;
    const since = pid === undefined ? Number.POSITIVE_INFINITY : startedAt(pid);
    return said.saidAt >= Math.floor(since / 1000) * 1000 || 'that was an earlier kubelet';
  });
  return outcomes.some((outcome) => outcome !== 'kept');
}

/** Do all of its processes run? The cheap half of being healthy. */
export function isComplete(ground: Ground): boolean {
  return existsSync(KUBECONFIG) && labComponents(ground).every(({ name }) => mainProcess(name) !== undefined);
}
