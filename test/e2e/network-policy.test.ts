import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { HUB_ADDRESS, REGISTRY_HOSTS } from '../cluster/lab/addresses.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { deploy } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { createNamespace, type Scope } from '../support/e2e/namespace.ts';
import { enforceNetworkPolicies } from '../support/e2e/network-policy-engine.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { execIn, type Origin, reaches } from '../support/e2e/reaches.ts';
import { nameServer } from '../support/e2e/registry-double.ts';
import { askReplicas } from '../support/e2e/scrape.ts';
import { serverPod } from '../support/e2e/server-pod.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';
import { sectionOf } from '../support/unit/markdown.ts';

const scope = suiteScope();
const ROOT = join(import.meta.dirname, '../..');
const POLICY = join(ROOT, 'deploy/network-policy.yaml');
const GATE_PODS = '/api/v1/namespaces/pullgate/pods';
const OTHER_PORT = 7000;
let lab: Lab;
let api: ApiClient;
/** One of the two replicas. */
let gate: Origin & { address: string };
/** A pod that has nothing to do with Pullgate. It serves a port. */
let stranger: Origin & { address: string; port: number };

before(async () => {
  lab = await attach();
  api = await connect(lab);
  await enforceNetworkPolicies(scope, lab, api);
  const installed = await inClusterGate(scope, lab);
  await kubectl('apply', '-f', join(ROOT, 'deploy/service-account.yaml'));
  await applyPolicies();
  await installed.install();
  const [pod] = await gatePods();
  const name = asString(at(pod, 'metadata', 'name')) ?? '';
  const address = asString(at(pod, 'status', 'podIP')) ?? '';
  gate = { namespace: 'pullgate', pod: name, tool: 'node', address };
  stranger = await serverPod(await createNamespace(scope, lab, api, {}));
});
after(() => api.close());

async function kubectl(...args: string[]): Promise<void> {
  const { code, stderr } = await lab.kubectl(args, { timeoutSeconds: 60 });
  assert.equal(code, 0, stderr);
}

async function gatePods(): Promise<readonly unknown[]> {
  const list = await api.get(GATE_PODS, { labelSelector: 'app.kubernetes.io/component=gate' });
  return asArray(at(list, 'items'));
}

/** The shipped policy. Where the lab's API server listens at none of its ports, another policy adds that port. */
async function applyPolicies(): Promise<void> {
  await kubectl('apply', '-f', POLICY);
  const shipped = parse(readFileSync(POLICY, 'utf8')) as unknown;
  const ports = asArray(at(shipped, 'spec', 'egress')).flatMap((rule) => asArray(at(rule, 'ports')));
  const port = Number(new URL(lab.server).port);
  if (ports.some((one) => at(one, 'port') === port)) return;
  await api.create('/apis/networking.k8s.io/v1/namespaces/pullgate/networkpolicies', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'api-server' },
    spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{ ports: [{ port, protocol: 'TCP' }] }] },
  });
}

/** Until the engine has heard of a change, every connection is as before. */
async function untilReaches(origin: Origin, address: string, port: number, expected: boolean): Promise<void> {
  const words = `${origin.namespace}/${origin.pod} ${expected ? 'reaches' : 'does not reach'} ${address}:${port}`;
  await until(
    words,
    30,
    () => reaches(lab, origin, address, port),
    (result) => result === expected,
  );
}

test('under the policy a rollout is held and released, probes pass and scrapes get their numbers', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const web = await deploy(shop, 'web');
  const asked = await web.setImage(await shop.push('v2', { megabytes: 5 }));
  assert.match(asked.stderr, /is held until its nodes have/);
  await web.released(60);
  await web.rolledOut(60);

  const texts = await askReplicas(api, '/metrics');
  assert.equal(texts.length, 2);
  for (const text of texts) assert.match(text, /^pullgate_/m);
  for (const pod of await gatePods()) {
    const [status] = asArray(at(pod, 'status', 'containerStatuses'));
    assert.deepEqual([at(status, 'ready'), at(status, 'restartCount')], [true, 0]);
  }
});

test('under the policy the gate reaches the API server and a name server', async (t) => {
  assert.ok(await reaches(lab, gate, '10.202.0.1', 443));
  const { names } = await nameServer(t);
  names.add('api.test');
  const resolve = `
    const resolver = new (require('node:dns').promises.Resolver)();
    resolver.setServers(['${HUB_ADDRESS}']);
    resolver.resolve4('api.test').then(console.log);`;
  const { code, stdout, stderr } = await execIn(lab, gate, ['node', '--eval', resolve]);
  assert.equal(code, 0, stderr);
  assert.ok(stdout.includes(HUB_ADDRESS), stdout);
});

test('other connections of the gate pass without the policy and fail with it', async (t) => {
  await listenInTheGate(t, OTHER_PORT);
  const OTHERS: readonly [Origin, string, number][] = [
    [stranger, gate.address, OTHER_PORT],
    [gate, stranger.address, stranger.port],
    [gate, HUB_ADDRESS, REGISTRY_HOSTS.registry.port],
  ];
  for (const other of OTHERS) await untilReaches(...other, false);
  await kubectl('-n', 'pullgate', 'delete', 'networkpolicy', '--all');
  for (const other of OTHERS) await untilReaches(...other, true);
  await applyPolicies();
  for (const other of OTHERS) await untilReaches(...other, false);
  for (const port of [9443, 8081]) assert.ok(await reaches(lab, stranger, gate.address, port));
});

test('have deny-all network policies [deny-all-network]', async (t) => {
  const shop = await createNamespace(t, lab, api);
  const image = await shop.push('v2');
  const web = await deploy(shop, 'web');
  const server = await serverPod(shop);
  await untilReaches(stranger, server.address, server.port, true);
  await untilReaches(server, stranger.address, stranger.port, true);
  await shop.apply({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny-all' },
    spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  });
  await untilReaches(stranger, server.address, server.port, false);
  await untilReaches(server, stranger.address, stranger.port, false);

  const asked = await web.setImage(image);
  assert.match(asked.stderr, /is held until its nodes have/);
  await web.released(30);
  await assertOnEveryNode(lab, image);
  await web.rolledOut(30);
  assert.equal(await reaches(lab, stranger, server.address, server.port), false);
});

test('with the addresses of the API servers, as the security page says, 9443 is closed to all others', async (t) => {
  const page = sectionOf(readFileSync(join(ROOT, 'docs/security.md'), 'utf8'), 'NetworkPolicy');
  const block = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
  const patch = asString(at(asArray(at(parse(block), 'patches'))[0], 'patch')) ?? '';
  const operations = parse(patch.replace('192.0.2.0/28', `${HUB_ADDRESS}/32`)) as unknown;
  assert.match(JSON.stringify(operations), new RegExp(`${HUB_ADDRESS}/32`));
  const policy = ['-n', 'pullgate', 'patch', 'networkpolicy', 'pullgate', '--type=json'];
  await kubectl(...policy, '-p', JSON.stringify(operations));
  await untilReaches(stranger, gate.address, 9443, false);
  assert.ok(await reaches(lab, stranger, gate.address, 8081));

  const shop = await createNamespace(t, lab, api);
  const web = await deploy(shop, 'web');
  // A connection of its own: the API server may still have one from before.
  await kubectl('-n', 'pullgate', 'rollout', 'restart', 'deployment/pullgate');
  await kubectl('-n', 'pullgate', 'rollout', 'status', 'deployment/pullgate', '--timeout=60s');
  const asked = await web.setImage(await shop.push('v2'));
  assert.match(asked.stderr, /is held until its nodes have/);
  await web.released(60);
});

/** A port of the gate's pod that nothing of Pullgate listens to. */
async function listenInTheGate(t: Scope, port: number): Promise<void> {
  const program = `
    process.stdin.on('end', () => process.exit()).resume();
    require('node:net').createServer((socket) => socket.end()).listen(${port}, () => console.log('listening'));`;
  const [file = '', ...args] = lab.kubectlCommand;
  const exec = ['-n', 'pullgate', 'exec', '--stdin', gate.pod, '--', 'node', '--eval', program];
  const child = spawn(file, [...args, ...exec], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => {
    const ended = once(child, 'close');
    child.stdin.end();
    await ended;
  });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(said.toString().trim(), 'listening');
}
