import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asString, at } from '../../../src/json.ts';
import { HUB_ADDRESS, nodeAddress } from '../../cluster/lab/addresses.ts';
import { run } from '../../cluster/lab/command.ts';
import { readGround } from '../../cluster/lab/ground.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { inNetns } from '../../cluster/lab/namespaces.ts';
import { neighbour } from '../../cluster/lab/neighbours.ts';
import { createNamespace, type Scope } from './namespace.ts';
import { until } from './until.ts';

const QUEUE = '100';
/** The engine takes 5 s for its end. */
const END_SECONDS = 15;
/**
 * The engine knows its API server only as a pod does, so it gets a file system of its own with the files of a ServiceAccount.
 * They vanish with the process.
 */
const AS_IN_A_POD = `
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io
cp -r "$1" /run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"`;

/** An engine that outlived its test would go on dropping packets. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Enforces every NetworkPolicy of the cluster, by the real kube-network-policies on each node, as long as the scope lasts. */
export async function enforceNetworkPolicies(scope: Scope, lab: Lab, api: ApiClient): Promise<void> {
  const credentials = await serviceAccountFiles(scope, lab, api);
  await Promise.all(
    lab.nodes().map(async (node) => {
      const stop = await startEngine(lab, node, credentials);
      const removeRules = await queuePackets(lab, node);
      scope.after(async () => {
        await removeRules();
        await stop();
      });
    }),
  );
}

/** Returns the folder with the files of a ServiceAccount that may read pods, namespaces and policies everywhere. */
async function serviceAccountFiles(scope: Scope, lab: Lab, api: ApiClient): Promise<string> {
  const { name } = await createNamespace(scope, lab, api, {});
  const bindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
  await api.create(bindings, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    subjects: [{ kind: 'ServiceAccount', name: 'default', namespace: name }],
  });
  scope.after(() => api.delete(`${bindings}/${name}`));
  const core = `/api/v1/namespaces/${name}`;
  const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
  const token = at(await api.create(`${core}/serviceaccounts/default/token`, request), 'status', 'token');
  const authority = at(await api.get(`${core}/configmaps/kube-root-ca.crt`), 'data', 'ca.crt');
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-engine-'));
  scope.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'token'), asString(token) ?? '');
  writeFileSync(join(folder, 'ca.crt'), asString(authority) ?? '');
  return folder;
}

/** Returns what ends the engine. It runs in the node's network, where it decides about the packets of the queue. */
async function startEngine(lab: Lab, node: string, credentials: string): Promise<() => Promise<void>> {
  const engine = [
    neighbour('kube-network-policies'),
    `--hostname-override=${node}`,
    `--nfqueue-id=${QUEUE}`,
    '--metrics-bind-address=127.0.0.1:9080',
  ];
  const isolated = ['unshare', '--mount', '--', 'sh', '-ec', AS_IN_A_POD, 'sh', credentials, ...engine];
  const [program = '', ...args] = [...inNetns(nodeAddress(node).netns), ...isolated];
  const child = spawn(program, args, {
    env: {
      PATH: process.env['PATH'] ?? '',
      KUBERNETES_SERVICE_HOST: HUB_ADDRESS,
      KUBERNETES_SERVICE_PORT: new URL(lab.server).port,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  running.add(child);
  const ended = once(child, 'close').then(() => running.delete(child));
  const lines: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => lines.splice(0, lines.length - 50, text));
  await until(
    `the engine of ${node} listens to its queue`,
    30,
    () => ({ queues: readFileSync(`/proc/${child.pid}/net/netfilter/nfnetlink_queue`, 'utf8'), lines }),
    ({ queues }) => new RegExp(`^ *${QUEUE} `, 'm').test(queues),
  );
  return async () => {
    // The only signal upon which it takes its own rules away.
    child.kill('SIGINT');
    const late = setTimeout(() => child.kill('SIGKILL'), END_SECONDS * 1000);
    await ended;
    clearTimeout(late);
  };
}

/**
 * Hands the first packet of each connection from or to a pod of the node to the engine, and returns what ends that. The rules
 * are those of the engine itself, which makes them by nftables: not every kernel has the queue there (CONFIG_NFT_QUEUE).
 */
async function queuePackets(lab: Lab, node: string): Promise<() => Promise<void>> {
  const { podNetwork } = nodeAddress(node);
  const queue = ['-j', 'NFQUEUE', '--queue-num', QUEUE];
  const rules = [
    // The node's own processes, such as the kubelet with its probes. A packet out of a pod has no owner in the node's network.
    ['-m', 'owner', '--uid-owner', '0', '-j', 'ACCEPT'],
    ['-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'],
    ['--source', podNetwork, ...queue],
    ['--destination', podNetwork, ...queue],
  ];
  const change = async (action: string, rule: readonly string[]) => {
    const argv = ['iptables', '-w', '-t', 'mangle', action, 'POSTROUTING', ...rule];
    await run(lab.enterNode(node, argv), { env: readGround()?.tools.env ?? {} });
  };
  for (const rule of rules) await change('-A', rule);
  return async () => {
    for (const rule of rules.toReversed()) await change('-D', rule);
  };
}
