/**
 * The lab's address plan. It exists only inside the lab's own network namespaces, which have no way out, so
 * it cannot collide with the machine's networks.
 */
export const HUB_NETNS = 'pullgate-lab';
export const HUB_ADDRESS = '10.200.0.1';
export const NODE_PREFIX_LENGTH = 24;
export const BRIDGE = 'lab0';
export const POD_NETWORK = '10.201.0.0/16';
export const SERVICE_NETWORK = '10.202.0.0/16';
/** The first service address is always `kubernetes.default`. */
export const KUBERNETES_SERVICE = '10.202.0.1';
/**
 * Nothing answers there (the lab has no DNS), but without it every pod gets a MissingClusterDNS warning.
 */
export const CLUSTER_DNS = '10.202.0.10';

/** Node N has the hub-side address 10.200.0.(10+N) and the pods 10.201.N.0/24. */
export const MOST_NODES = 200;

export const REGISTRY_HOSTS = {
  registry: { host: 'registry.lab', port: 5000 },
  slow: { host: 'slow.registry.lab', port: 5001 },
  private: { host: 'private.registry.lab', port: 5002 },
} as const;

export type RegistryName = keyof typeof REGISTRY_HOSTS;
export const REGISTRY_NAMES = ['registry', 'slow', 'private'] as const satisfies RegistryName[];

export function registryAddress(name: RegistryName): string {
  const { host, port } = REGISTRY_HOSTS[name];
  return `${host}:${port}`;
}

export interface NodeAddress {
  name: string;
  number: number;
  netns: string;
  address: string;
  podNetwork: string;
  /** The end of the node's cable that is plugged into the hub's bridge. */
  hubLink: string;
}

export function nodeAddress(name: string): NodeAddress {
  const number = nodeNumber(name);
  if (number === undefined) {
    throw new Error(`not a node of the lab: ${name} (they are called node-1, node-2, ...)`);
  }
  return {
    name,
    number,
    netns: `pullgate-lab-${name}`,
    address: `10.200.0.${10 + number}`,
    podNetwork: `10.201.${number}.0/24`,
    hubLink: `to-${name}`,
  };
}

export function nodeNumber(name: string): number | undefined {
  const match = /^node-([1-9][0-9]{0,2})$/.exec(name);
  const number = Number(match?.[1]);
  return number <= MOST_NODES ? number : undefined;
}
