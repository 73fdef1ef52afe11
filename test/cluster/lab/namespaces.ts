import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import {
  BRIDGE,
  HUB_ADDRESS,
  HUB_NETNS,
  NODE_PREFIX_LENGTH,
  type NodeAddress,
  POD_NETWORK,
  SERVICE_NETWORK,
} from './addresses.ts';
import { run } from './command.ts';
import type { Tools } from './packages.ts';

const NETNS_FOLDER = '/run/netns';

function netnsPath(name: string): string {
  return `${NETNS_FOLDER}/${name}`;
}

/** The argv prefix that runs a command in a named network namespace and leaves everything else as it is. */
export function inNetns(name: string): string[] {
  // Not `ip netns exec`: that remounts /sys, which hides the cgroups.
  return ['nsenter', `--net=${netnsPath(name)}`, '--'];
}

async function ip(tools: Tools, netns: string, commands: string[]): Promise<void> {
  await run(['ip', '-netns', netns, '-batch', '-'], { env: tools.env, input: `${commands.join('\n')}\n` });
}

async function answers(tools: Tools, netns: string, question: string[]): Promise<string> {
  const { stdout, code } = await run(['ip', '-netns', netns, '-oneline', ...question], {
    env: tools.env,
    allowFailure: true,
  });
  return code === 0 ? stdout : '';
}

/**
 * A bridge that the nodes are plugged into. There is no way out: no default route, no cable to the machine
 * itself.
 */
export async function ensureHubNetwork(tools: Tools): Promise<void> {
  if (existsSync(netnsPath(HUB_NETNS))) {
    if ((await answers(tools, HUB_NETNS, ['address', 'show', BRIDGE])).includes(`${HUB_ADDRESS}/`)) {
      return;
    }
    await removeNetns(HUB_NETNS);
  }
  await run(['ip', 'netns', 'add', HUB_NETNS], { env: tools.env });
  await forward(HUB_NETNS);
  await ip(tools, HUB_NETNS, [
    'link set lo up',
    // With a fixed address: a bridge's own follows its lowest port, and changes when a node comes or goes.
    `link add ${BRIDGE} address 02:00:0a:c8:00:01 type bridge`,
    `link set ${BRIDGE} up`,
    `address add ${HUB_ADDRESS}/${NODE_PREFIX_LENGTH} dev ${BRIDGE}`,
  ]);
}

/**
 * The node's namespace, its cable to the hub, and the routes: the hub is the router between all pods, so
 * that a node that comes or goes changes routes in one place only.
 */
export async function ensureNodeNetwork(tools: Tools, node: NodeAddress): Promise<void> {
  const plugged = (await answers(tools, HUB_NETNS, ['link', 'show', node.hubLink])).includes(BRIDGE);
  const routed = (await answers(tools, HUB_NETNS, ['route', 'show', node.podNetwork])).includes(node.address);
  const addressed =
    existsSync(netnsPath(node.netns)) &&
    (await answers(tools, node.netns, ['address', 'show', 'eth0'])).includes(`${node.address}/`) &&
    (await answers(tools, node.netns, ['route', 'show', SERVICE_NETWORK])).includes(HUB_ADDRESS);
  if (plugged && routed && addressed) {
    await plug(tools, node, true);
    return;
  }
  await removeNodeNetwork(tools, node);
  await run(['ip', 'netns', 'add', node.netns], { env: tools.env });
  await forward(node.netns);
  // Both ends are born in their namespaces: the machine's own never sees them.
  await ip(tools, HUB_NETNS, [
    `link add ${node.hubLink} type veth peer name eth0 netns ${node.netns}`,
    `link set ${node.hubLink} master ${BRIDGE} up`,
    `route replace ${node.podNetwork} via ${node.address}`,
  ]);
  await ip(tools, node.netns, [
    'link set lo up',
    `address add ${node.address}/${NODE_PREFIX_LENGTH} dev eth0`,
    'link set eth0 up',
    `route add ${POD_NETWORK} via ${HUB_ADDRESS}`,
    // Only so that a process of the node itself has a route before kube-proxy's rules rewrite the
    // destination.
    `route add ${SERVICE_NETWORK} via ${HUB_ADDRESS}`,
  ]);
}

export async function plug(tools: Tools, node: NodeAddress, connected: boolean): Promise<void> {
  await ip(tools, HUB_NETNS, [
    `link set ${node.hubLink} ${connected ? 'up' : 'down'}`,
    // A link that goes down takes no route through the bridge with it, but say so in any case.
    `route replace ${node.podNetwork} via ${node.address}`,
  ]);
}

export async function isPlugged(tools: Tools, node: NodeAddress): Promise<boolean> {
  return / state UP /.test(await answers(tools, HUB_NETNS, ['link', 'show', node.hubLink]));
}

/** The cable explicitly: another mount namespace may keep the network namespace alive a little longer. */
export async function removeNodeNetwork(tools: Tools, node: NodeAddress): Promise<void> {
  const options = { env: tools.env, allowFailure: true };
  await run(['ip', '-netns', HUB_NETNS, 'link', 'delete', node.hubLink], options);
  await run(['ip', '-netns', HUB_NETNS, 'route', 'delete', node.podNetwork], options);
  await removeNetns(node.netns);
}

/** What `ip netns delete` does, for when it is not known which `ip` there is. */
export async function removeNetns(name: string): Promise<void> {
  const path = netnsPath(name);
  if (existsSync(path)) {
    await run(['umount', '--lazy', path], { allowFailure: true });
    rmSync(path, { force: true });
  }
}

export function netnsNames(): string[] {
  const names = existsSync(NETNS_FOLDER) ? readdirSync(NETNS_FOLDER) : [];
  return names.filter((name) => name === HUB_NETNS || name.startsWith(`${HUB_NETNS}-node-`));
}

/** `ip netns add` makes /run/netns a mount of its own; whoever has no namespace there has no use for it. */
export async function removeEmptyNetnsFolder(): Promise<void> {
  if (!existsSync(NETNS_FOLDER)) {
    return;
  }
  await run(['umount', NETNS_FOLDER], { allowFailure: true });
  try {
    rmdirSync(NETNS_FOLDER);
  } catch {
    // Somebody else's namespaces are there: umount has refused as well, they are in use.
  }
}

async function forward(netns: string): Promise<void> {
  const settings =
    'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects; '.concat(
      'echo 0 > /proc/sys/net/ipv4/conf/default/send_redirects',
    );
  await run([...inNetns(netns), 'sh', '-c', settings]);
}
