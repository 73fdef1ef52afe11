import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { HUB_NETNS, nodeAddress, nodeNumber, type RegistryName, registryAddress } from './addresses.ts';
import { ApiServer, type NodeState } from './api-server.ts';
import { type CommandResult, run } from './command.ts';
import { addNode, converge, firstFreePort, insideHub, isComplete, labComponents } from './converge.ts';
import { LabError, messageOf } from './errors.ts';
import { formatVersion, isFallback } from './flags.ts';
import { type Ground, isSameGround, KUBECONFIG, readGround, serverUrl } from './ground.ts';
import { type ImageSpec, pushImage } from './images.ts';
import { CONTEXT } from './kubeconfig.ts';
import { withLock } from './lock.ts';
import { inNetns, isPlugged, plug } from './namespaces.ts';
import { insideNode } from './node.ts';
import { state } from './paths.ts';
import { checkMachine, type PrepareOptions, prepare } from './prepare.ts';
import {
  ensureRunning,
  isListening,
  mainProcess,
  markedProcesses,
  stopProcess,
  untilListening,
} from './process-table.ts';
import { PRIVATE_CREDENTIALS, registry } from './registry.ts';
import { nodeNames, removeNode, tearDown } from './teardown.ts';

export type { ImageSpec } from './images.ts';

type Log = (line: string) => void;
const quiet: Log = () => {};

export interface LabOptions extends PrepareOptions {
  nodes?: number;
  log?: Log;
}

export interface KubectlOptions {
  input?: string;
  timeoutSeconds?: number;
}

export interface NodeProcesses {
  init: number | undefined;
  containerd: number | undefined;
  kubelet: number | undefined;
  kubeProxy: number | undefined;
}

export interface ComponentStatus {
  name: string;
  pid: number | undefined;
  /** Runs, and listens where it should. */
  alive: boolean;
}

export interface LabStatus {
  /** Anything of the lab is alive. */
  running: boolean;
  healthy: boolean;
  /** Why it is not healthy. */
  problems: string[];
  kubernetesVersion: string | undefined;
  kubeconfig: string | undefined;
  server: string | undefined;
  registries: Record<RegistryName, string>;
  components: ComponentStatus[];
  nodes: (NodeState & { connected: boolean })[];
}

/** A running cluster. */
export interface Lab {
  kubeconfig: string;
  context: string;
  server: string;
  kubernetesVersion: string;
  /** False for the fallback's Kubernetes, which a gate serves only with `--unsupported-server`. */
  isSupported: boolean;
  registry: string;
  /** The same images as `registry`, at about 10 MB/s a connection. */
  slowRegistry: string;
  privateRegistry: string;
  privateCredentials: { username: string; password: string };
  /**
   * The hub's network namespace: control plane and registries. The API server calls webhooks on 127.0.0.1
   * in there.
   */
  netns: string;
  /** The same command, run in the hub's network namespace. */
  enter(argv: string[]): string[];
  /** The same command, run inside a node: its network, mounts and processes. */
  enterNode(node: string, argv: string[]): string[];
  nodes(): string[];
  addNode(): Promise<string>;
  removeNode(node: string): Promise<void>;
  /** containerd's own client in a node; what it printed. */
  ctr(node: string, ...args: string[]): Promise<string>;
  nodeImages(node: string): Promise<string[]>;
  removeNodeImage(node: string, reference: string): Promise<void>;
  nodeProcess(node: string): NodeProcesses;
  cutOff(node: string): Promise<void>;
  reconnect(node: string): Promise<void>;
  stopRegistry(which: RegistryName): Promise<void>;
  startRegistry(which: RegistryName): Promise<void>;
  pushImage(spec: ImageSpec): Promise<string>;
  kubectl(args: string[], options?: KubectlOptions): Promise<CommandResult>;
  /** The command that `kubectl` runs, for a program that runs it by itself. */
  kubectlCommand: string[];
}

/** Brings the lab up, whatever state it is in; what runs as it should is left alone. */
export async function up(options: LabOptions = {}): Promise<Lab> {
  const { nodes = 2, log = quiet } = options;
  await checkMachine(markedProcesses().length > 0, options, log);
  return withLock(log, async () => {
    const wanted = await prepare(log, options);
    const running = markedProcesses().length > 0 ? readGround() : undefined;
    if (running !== undefined && isSameGround(running, wanted)) {
      const whole = isComplete(running);
      log(whole ? 'the lab is running' : 'healing the lab: some of its processes are gone');
      try {
        await converge(running, nodes, log);
        return handle(running);
      } catch (error) {
        log(`that did not work (${messageOf(error)}); starting over with a fresh cluster`);
      }
    } else if (running !== undefined) {
      log('a lab of another kind is running (other binaries or an older layout): replacing it');
    }
    await tearDown(quiet);
    const ground: Ground = { ...wanted, port: await firstFreePort() };
    log(`starting Kubernetes ${formatVersion(ground.version)} with ${nodes} nodes`);
    await converge(ground, nodes, log);
    return handle(ground);
  });
}

/** Builds what `up` would build, and starts nothing. Returns the environment of the lab's programs. */
export async function build(options: LabOptions = {}): Promise<Record<string, string>> {
  const { log = quiet } = options;
  await checkMachine(markedProcesses().length > 0, options, log);
  return (await withLock(log, () => prepare(log, options))).tools.env;
}

export async function down(log: Log = quiet): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new LabError('only root can end the lab (sudo, or a root shell)');
  }
  await withLock(log, () => tearDown(log));
}

/** A handle for the lab that runs; never starts anything. */
export async function attach(): Promise<Lab> {
  const { healthy, problems } = await status();
  const ground = readGround();
  if (!healthy || ground === undefined) {
    throw new LabError(`no healthy lab: ${problems.join('; ')}. Run: npm run lab -- up`);
  }
  return handle(ground);
}

export async function status(): Promise<LabStatus> {
  const ground = readGround();
  const table = markedProcesses();
  const components = (ground === undefined ? [] : labComponents(ground)).map((component) => {
    const running = mainProcess(component.name, table);
    const alive = running !== undefined && isListening(component, running);
    return { name: component.name, pid: running?.pid, alive };
  });
  const problems = components.filter(({ alive }) => !alive).map(({ name }) => `${name} is not running`);
  let nodes: LabStatus['nodes'] = [];
  if (ground === undefined || table.length === 0) {
    const visible = process.getuid?.() === 0;
    problems.splice(0, problems.length, visible ? 'no lab is running' : 'only root can see a lab');
  } else {
    try {
      const server = new ApiServer(serverUrl(ground));
      // Tests add objects of nodes that are none of the lab's.
      const registered = (await server.nodes()).filter(({ name }) => nodeNumber(name) !== undefined);
      nodes = await Promise.all(
        registered.map(async (node) => ({
          ...node,
          connected: await isPlugged(ground.tools, nodeAddress(node.name)),
        })),
      );
      const readiness = await server.isReady();
      problems.push(...(readiness === true ? [] : [readiness]));
    } catch (error) {
      problems.push(`the API server does not answer: ${messageOf(error)}`);
    }
    for (const name of nodeNames().filter((one) => !nodes.some((node) => node.name === one && node.ready))) {
      problems.push(`${name} is not Ready`);
    }
  }
  return {
    running: table.length > 0,
    healthy: problems.length === 0,
    problems,
    kubernetesVersion: ground && formatVersion(ground.version),
    kubeconfig: ground && existsSync(KUBECONFIG) ? KUBECONFIG : undefined,
    server: ground && serverUrl(ground),
    registries: {
      registry: registryAddress('registry'),
      slow: registryAddress('slow'),
      private: registryAddress('private'),
    },
    components,
    nodes,
  };
}

function handle(ground: Ground): Lab {
  let pushing: Promise<unknown> = Promise.resolve();
  const known = (name: string) => {
    if (!nodeNames().includes(name)) {
      throw new LabError(`the lab has no ${name}, but ${nodeNames().join(', ')}`);
    }
    return nodeAddress(name);
  };
  const inNode = (name: string, argv: string[]) => [...insideNode(known(name)), ...argv];
  const ctr = async (name: string, ...args: string[]) => {
    const argv = inNode(name, ['ctr', '--namespace', 'k8s.io', ...args]);
    return (await run(argv, { env: ground.tools.env, timeoutSeconds: 60 })).stdout;
  };
  const pidOf = (component: string) => mainProcess(component)?.pid;
  const kubectl = kubectlOf(ground);
  return {
    kubeconfig: KUBECONFIG,
    context: CONTEXT,
    server: serverUrl(ground),
    kubernetesVersion: formatVersion(ground.version),
    isSupported: !isFallback(ground.version),
    registry: registryAddress('registry'),
    slowRegistry: registryAddress('slow'),
    privateRegistry: registryAddress('private'),
    privateCredentials: PRIVATE_CREDENTIALS,
    netns: HUB_NETNS,
    enter: (argv) => [...inNetns(HUB_NETNS), ...argv],
    enterNode: inNode,
    nodes: nodeNames,
    addNode: () => withLock(quiet, () => addNode(ground)),
    removeNode: (name) => withLock(quiet, () => removeNode(ground, known(name))),
    ctr,
    nodeImages: async (name) => (await ctr(name, 'images', 'ls', '-q')).split('\n').filter(Boolean),
    removeNodeImage: async (name, reference) => {
      await ctr(name, 'images', 'rm', '--sync', reference);
    },
    nodeProcess: (name) => ({
      init: pidOf(`${name}/init`),
      containerd: pidOf(`${name}/containerd`),
      kubelet: pidOf(`${name}/kubelet`),
      kubeProxy: pidOf(`${name}/kube-proxy`),
    }),
    cutOff: (name) => plug(ground.tools, known(name), false),
    reconnect: (name) => plug(ground.tools, known(name), true),
    stopRegistry: async (which) => {
      const running = mainProcess(`hub/${which}`);
      if (running !== undefined) {
        await stopProcess(running.pid);
      }
    },
    startRegistry: async (which) => {
      const component = registry(ground, which);
      await ensureRunning(component, insideHub(component));
      await untilListening(component, 20);
    },
    pushImage(spec) {
      // One after the other: of two uploads of the same layer at once, docker-registry 2.8 can lose one ("blob unknown").
      const pushed = pushing.catch(() => undefined).then(() => pushImage(ground, spec));
      pushing = pushed;
      return pushed;
    },
    kubectlCommand: [kubectl, '--kubeconfig', KUBECONFIG],
    kubectl: (args, { input, timeoutSeconds } = {}) =>
      run([kubectl, '--kubeconfig', KUBECONFIG, ...args], {
        // A HOME of its own: its discovery cache must not mix with that of the user's clusters.
        env: { PATH: ground.tools.env['PATH'] ?? '', HOME: state('home') },
        allowFailure: true,
        ...(input === undefined ? {} : { input }),
        ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
      }),
  };
}

/** The kubectl of the cluster's release; with programs of somebody's choice, whatever comes first on PATH. */
function kubectlOf({ tools }: Ground): string {
  const folders = [tools.env['PATH'], process.env['PATH']].join(delimiter).split(delimiter);
  return folders.map((folder) => join(folder, 'kubectl')).find((path) => existsSync(path)) ?? 'kubectl';
}
