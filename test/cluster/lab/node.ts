import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  CLUSTER_DNS,
  HUB_ADDRESS,
  type NodeAddress,
  POD_NETWORK,
  REGISTRY_HOSTS,
  REGISTRY_NAMES,
  registryAddress,
} from './addresses.ts';
import { identityFiles } from './certificates.ts';
import { CGROUP, createCgroups } from './cgroups.ts';
import { flags, isFallback } from './flags.ts';
import { type Ground, serverUrl } from './ground.ts';
import { PAUSE_IMAGE } from './images.ts';
import { kubeconfig } from './kubeconfig.ts';
import { inNetns } from './namespaces.ts';
import { state } from './paths.ts';
import { type Component, ensureRunning, existsIn, mainProcess, type Outcome } from './process-table.ts';
import { GiveUp, until } from './until.ts';

const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

/** What a kubelet and libcni insist on, whatever they are told; nodes see folders of their own there. */
export const MACHINE_FOLDERS = ['/var/lib/kubelet', '/var/lib/cni'];

/**
 * The kernel settings that a kubelet changes when it starts, with the values it wants (setupKernelTunables
 * in pkg/kubelet/cm/container_manager_linux.go). They are the machine's: a node gets files in their place.
 */
const KUBELET_SYSCTLS: Record<string, string> = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

export function nodeFolder(node: NodeAddress, ...parts: string[]): string {
  return state('nodes', node.name, ...parts);
}

/**
 * The first process of the node's own pid namespace. When it ends, the kernel ends every shim and container
 * of the node, and all their mounts vanish with the mount namespace: that is how nothing is left behind.
 */
function nodeInit(ground: Ground, node: NodeAddress): Component {
  const folder = nodeFolder(node);
  const binds = [
    [join(folder, 'log'), '/var/log'],
    [join(folder, 'kubelet'), '/var/lib/kubelet'],
    [join(folder, 'cni'), '/var/lib/cni'],
    [join(folder, 'hosts'), '/etc/hosts'],
    ...Object.keys(KUBELET_SYSCTLS).map((name) => [join(folder, 'sysctl', name), `/proc/sys/${name}`]),
  ];
  const script = [
    'set -e',
    // Copies of other nodes' namespaces would keep these alive after they were removed.
    'umount --recursive --lazy /run/netns 2>/dev/null || true',
    // As after a boot: sockets, container state and pods' network namespaces, all this node's own.
    'mount -t tmpfs -o mode=755 tmpfs /run',
    'mkdir /run/lock',
    ...binds.map(([from, to]) => `mount --bind ${from} ${to}`),
    // Kubernetes' mount propagation needs it; it reaches no further than this namespace.
    'mount --make-rshared /',
    // May be a link to a file below /run that is not there any more, which is as good.
    `if [ -e /etc/resolv.conf ]; then mount --bind ${join(folder, 'resolv.conf')} /etc/resolv.conf; fi`,
    'touch /run/node-is-up',
    'exec tini -- sleep infinity',
  ];
  return {
    name: `${node.name}/init`,
    argv: ['sh', '-c', script.join('\n')],
    env: ground.tools.env,
    files: {
      [join(folder, 'hosts')]: hosts(node),
      // Refuses at once: there is no DNS in the lab, and the machine's own servers cannot be reached from
      // it.
      [join(folder, 'resolv.conf')]: `nameserver ${HUB_ADDRESS}\n`,
      ...Object.fromEntries(
        Object.entries(KUBELET_SYSCTLS).map(([name, value]) => [join(folder, 'sysctl', name), `${value}\n`]),
      ),
    },
    listens: { socket: '/run/node-is-up' },
  };
}

function hosts(node: NodeAddress): string {
  const names = REGISTRY_NAMES.map((name) => `${HUB_ADDRESS} ${REGISTRY_HOSTS[name].host}`);
  return ['127.0.0.1 localhost', `${node.address} ${node.name}`, ...names, ''].join('\n');
}

/** The argv prefix of the init: makes the namespaces that `insideNode` enters later. */
function aroundInit(node: NodeAddress): string[] {
  return [
    ...inNetns(node.netns),
    'unshare',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    '--',
  ];
}

/** The argv prefix that leads into all of a running node's namespaces. */
export function insideNode(node: NodeAddress): string[] {
  const init = mainProcess(`${node.name}/init`);
  if (init === undefined) {
    throw new GiveUp(`${node.name} has no running init`);
  }
  return ['nsenter', `--target=${init.pid}`, '--net', '--mount', '--pid', '--'];
}

/** For the fallback's containerd 1.6; containerd 2 has other names for the same settings. */
function oldRuntimeSettings(root: string, { cniConf, registryHosts }: RuntimeFolders): string {
  return `[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${root}/usr/lib/cni"
    conf_dir = "${cniConf}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${registryHosts}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "${root}/usr/sbin/runc"
`;
}

interface RuntimeFolders {
  cniConf: string;
  registryHosts: string;
}

function runtimeSettings(root: string, { cniConf, registryHosts }: RuntimeFolders): string {
  return `[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "${PAUSE_IMAGE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "${registryHosts}"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj: pods would die with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["${root}/usr/lib/cni"]
    conf_dir = "${cniConf}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "${root}/usr/sbin/runc"
`;
}

/** Plugins that would make a folder on the machine (the first two), or only warn that they cannot work. */
const DISABLED_PLUGINS = [
  'internal.v1.opt',
  'nri.v1.nri',
  'snapshotter.v1.btrfs',
  'snapshotter.v1.devmapper',
].concat('snapshotter.v1.zfs');

export function containerd(ground: Ground, node: NodeAddress): Component {
  const { root } = ground.tools;
  const folder = nodeFolder(node);
  const cniConf = join(folder, 'cni-conf');
  const registryHosts = join(folder, 'registry-hosts');
  const old = isFallback(ground.version);
  const settings = (old ? oldRuntimeSettings : runtimeSettings)(root, { cniConf, registryHosts });
  const config = `version = ${old ? 2 : 3}
root = "${folder}/containerd"
state = "/run/containerd"
disabled_plugins = ${JSON.stringify(DISABLED_PLUGINS.map((name) => `io.containerd.${name}`))}
[grpc]
  address = "${CONTAINERD_SOCKET}"
${settings}`;
  const network = {
    cniVersion: '0.4.0',
    name: 'lab',
    plugins: [
      {
        type: 'ptp',
        ipMasq: false,
        ipam: {
          type: 'host-local',
          // With the pods' network namespaces: both go when the node's init goes.
          dataDir: '/run/pod-addresses',
          ranges: [[{ subnet: node.podNetwork }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
  const plainHttp = REGISTRY_NAMES.map((name) => {
    const address = registryAddress(name);
    const url = `http://${address}`;
    const text = `server = "${url}"\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`;
    return [join(registryHosts, address, 'hosts.toml'), text];
  });
  return {
    name: `${node.name}/containerd`,
    argv: ['containerd', '--config', join(folder, 'containerd.toml')],
    env: ground.tools.env,
    files: {
      [join(folder, 'containerd.toml')]: config,
      [join(cniConf, '10-lab.conflist')]: JSON.stringify(network, null, 2),
      ...Object.fromEntries(plainHttp),
    },
    listens: { socket: CONTAINERD_SOCKET },
  };
}

function kubelet(ground: Ground, node: NodeAddress): Component {
  const folder = nodeFolder(node);
  const dependent = flags(ground.version, `unix://${CONTAINERD_SOCKET}`);
  const configuration = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    // All pods below a cgroup of the node's own, which can be removed with it.
    cgroupRoot: `/${CGROUP}/${node.name}`,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    clusterDNS: [CLUSTER_DNS],
    clusterDomain: 'cluster.local',
    resolvConf: join(folder, 'resolv.conf'),
    volumePluginDir: '/var/lib/kubelet/volume-plugins',
    // By default 10 s pass between a node that could be Ready and one that says so.
    nodeStatusUpdateFrequency: '2s',
    // The disk is the machine's: how full it is says nothing about the lab.
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'nodefs.available': '1%', 'imagefs.available': '1%', 'memory.available': '50Mi' },
    ...dependent.kubeletConfiguration,
  };
  const kubeconfigFile = join(folder, 'kubelet.kubeconfig');
  const configFile = join(folder, 'kubelet.json');
  return {
    name: `${node.name}/kubelet`,
    argv: [
      'kubelet',
      `--config=${configFile}`,
      `--kubeconfig=${kubeconfigFile}`,
      `--hostname-override=${node.name}`,
      `--node-ip=${node.address}`,
      ...dependent.kubelet,
    ],
    env: ground.tools.env,
    files: {
      [configFile]: JSON.stringify(configuration, null, 2),
      [kubeconfigFile]: kubeconfig(hubServer(ground), identityFiles(node.name)),
    },
    listens: { port: 10250 },
  };
}

function kubeProxy(ground: Ground, node: NodeAddress): Component {
  const folder = nodeFolder(node);
  const kubeconfigFile = join(folder, 'kube-proxy.kubeconfig');
  const configFile = join(folder, 'kube-proxy.json');
  const configuration = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: kubeconfigFile },
    hostnameOverride: node.name,
    clusterCIDR: POD_NETWORK,
    mode: 'iptables',
    // The table's size is a setting of the whole machine, not of a network namespace: left alone.
    conntrack: { maxPerCore: 0, min: 0 },
  };
  return {
    name: `${node.name}/kube-proxy`,
    argv: ['kube-proxy', `--config=${configFile}`],
    env: ground.tools.env,
    files: {
      [configFile]: JSON.stringify(configuration, null, 2),
      [kubeconfigFile]: kubeconfig(hubServer(ground), identityFiles('kube-proxy')),
    },
    listens: { port: 10256 },
  };
}

/** The API server as nodes see it. */
function hubServer(ground: Ground): string {
  return serverUrl(ground).replace('127.0.0.1', HUB_ADDRESS);
}

export function nodeComponents(ground: Ground, node: NodeAddress): Component[] {
  return [nodeInit(ground, node), containerd(ground, node), kubelet(ground, node), kubeProxy(ground, node)];
}

/** Everything of a node that does not need the API server yet. */
export async function startRuntime(ground: Ground, node: NodeAddress): Promise<Outcome[]> {
  const folder = nodeFolder(node);
  for (const part of ['log', 'kubelet', 'cni', 'containerd']) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  createCgroups(`${CGROUP}/${node.name}`);
  const init = nodeInit(ground, node);
  const outcome = await ensureRunning(init, aroundInit(node));
  await until(`${node.name} is up`, 10, () => isUp(node) || 'its mounts are not there yet', 20);
  if (outcome !== 'kept') {
    // What its kubelet remembers of devices and mounts is from before this "boot".
    rmSync(join(folder, 'kubelet', 'device-plugins'), { recursive: true, force: true });
  }
  return [outcome, await ensureRunning(containerd(ground, node), insideNode(node))];
}

function isUp(node: NodeAddress): boolean {
  const init = mainProcess(`${node.name}/init`);
  return init !== undefined && existsIn(init.pid, '/run/node-is-up');
}

export function startKubelet(ground: Ground, node: NodeAddress): Promise<Outcome[]> {
  const inside = insideNode(node);
  return Promise.all([
    ensureRunning(kubelet(ground, node), inside),
    ensureRunning(kubeProxy(ground, node), inside),
  ]);
}
