import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { get } from 'node:https';
import { text } from 'node:stream/consumers';
import { before, test } from 'node:test';
import { identityFiles, PKI_FILES } from '../../cluster/lab/certificates.ts';
import { attach, type Lab, status, up } from '../../cluster/lab/lab.ts';
import { mainProcess } from '../../cluster/lab/process-table.ts';

let lab: Lab;
let machineBefore: string;

/** What the lab must leave alone, as far as this machine has the commands to show it. */
function machineNetwork(): string {
  const shown = [
    ['ip', '-oneline', 'link'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', 'netns', 'identify', String(process.pid)],
    ['iptables-save'],
  ].map(([command = '', ...args]) => {
    try {
      // Counters and flags of the machine's own traffic are nobody's change.
      return execFileSync(command, args, { encoding: 'utf8' }).replace(/\[\d+:\d+\]|^#.*$/gm, '');
    } catch {
      return '';
    }
  });
  const settings = ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops', 'net/ipv4/ip_forward'];
  return [...shown, ...settings.map((name) => readFileSync(`/proc/sys/${name}`, 'utf8'))].join('\n');
}

function ask(
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; type: string; body: string }> {
  const admin = identityFiles('admin');
  const options = {
    headers,
    ca: readFileSync(PKI_FILES.ca),
    cert: readFileSync(admin.certificate),
    key: readFileSync(admin.key),
  };
  return new Promise((resolve, reject) => {
    get(`${lab.server}${path}`, options, (response) => {
      const type = response.headers['content-type'] ?? '';
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, type, body }), reject);
    }).on('error', reject);
  });
}

function kill(component: string): number {
  const pid = mainProcess(component)?.pid;
  assert.ok(pid, `${component} runs`);
  process.kill(pid, 'SIGKILL');
  return pid;
}

before(async () => {
  machineBefore = machineNetwork();
  lab = await up();
});

test('the lab is healthy and says so', async () => {
  const current = await status();
  assert.deepEqual(current.problems, []);
  assert.equal(current.healthy, true);
  assert.ok(current.components.length >= 17);
  assert.ok(current.nodes.length >= 2);
  assert.ok(current.nodes.every(({ ready, connected }) => ready && connected));
  assert.equal((await attach()).kubeconfig, lab.kubeconfig);
});

test('the API server answers pretty JSON and YAML', async () => {
  const pretty = await ask('/api/v1/namespaces?pretty=true');
  assert.equal(pretty.status, 200);
  assert.match(pretty.body, /^\{\n {2}"kind": "NamespaceList"/);
  const yaml = await ask('/api/v1/nodes', { accept: 'application/yaml' });
  assert.equal(yaml.status, 200);
  assert.equal(yaml.type, 'application/yaml');
  assert.match(yaml.body, /^apiVersion: v1\nitems:\n/);
});

test('up on a running lab changes nothing and is quick', async () => {
  const pids = (await status()).components.map(({ name, pid }) => `${name} ${pid}`);
  const began = performance.now();
  await up();
  const seconds = (performance.now() - began) / 1000;
  assert.ok(seconds < 5, `${seconds} s`);
  assert.deepEqual(
    (await status()).components.map(({ name, pid }) => `${name} ${pid}`),
    pids,
  );
});

test('up heals what was killed, and keeps the cluster and its data', async () => {
  const uid = async () => JSON.parse((await ask('/api/v1/namespaces/default')).body).metadata.uid as string;
  const before = await uid();
  for (const component of ['node-2/kubelet', 'hub/etcd', 'hub/slow', 'machine/socat']) {
    kill(component);
  }
  assert.equal((await status()).healthy, false);
  await assert.rejects(attach(), /npm run lab -- up/);
  await up();
  assert.deepEqual((await status()).problems, []);
  assert.equal(await uid(), before);
});

test('up heals a node whose every process was killed', async () => {
  kill('node-2/init');
  await up();
  assert.deepEqual((await status()).problems, []);
});

test('an image is pushed once, and a registry can be stopped', async () => {
  const image = { repository: 'lab-test', tag: 'v1', base: 'scratch' } as const;
  assert.equal(await lab.pushImage(image), 'registry.lab:5000/lab-test:v1');
  assert.equal(await lab.pushImage(image), 'registry.lab:5000/lab-test:v1');
  await lab.stopRegistry('private');
  await assert.rejects(lab.pushImage({ ...image, registry: 'private' }), /ECONNREFUSED/);
  await lab.startRegistry('private');
  assert.equal(
    await lab.pushImage({ ...image, registry: 'private' }),
    'private.registry.lab:5002/lab-test:v1',
  );
});

test('the machine itself is as it was before', () => {
  assert.equal(machineNetwork(), machineBefore);
  assert.equal(existsSync('/run/containerd/containerd.sock'), false);
});
