import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { asString, at, type JsonObject } from '../../src/json.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { type GateProcess, spawnGate } from '../support/e2e/gate-process.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { createNamespace } from '../support/e2e/namespace.ts';
import { freePort } from '../support/free-port.ts';

let lab: Lab;
let api: ApiClient;
let folder: string;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  folder = mkdtempSync(join(tmpdir(), 'pullgate-bad-start-'));
});
after(async () => {
  rmSync(folder, { recursive: true });
  await api.close();
});

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The lab's kubeconfig with other values for its one cluster or its one user. */
function kubeconfig(name: string, change: { cluster?: JsonObject; user?: JsonObject }): string {
  const config = JSON.parse(readFileSync(lab.kubeconfig, 'utf8')) as {
    clusters: { cluster: JsonObject }[];
    users: { user: JsonObject }[];
  };
  for (const entry of config.clusters) entry.cluster = { ...entry.cluster, ...change.cluster };
  for (const entry of config.users) entry.user = change.user ?? entry.user;
  return file(name, JSON.stringify(config));
}

async function listenOn(port: number): Promise<string[]> {
  return ['--listen', `127.0.0.1:${port || (await freePort())}`];
}

/** One line, with a code and what to do about it, and nothing that only a programmer could read. */
async function assertRefused(gate: GateProcess, code: ErrorCode, words: RegExp): Promise<void> {
  assert.equal(await gate.ended, 1);
  const fatal = gate.lines.filter(({ level }) => level === 60);
  assert.equal(fatal.length, 1, JSON.stringify(gate.lines));
  assert.equal(fatal[0]?.['code'], code, asString(fatal[0]?.['msg']));
  assert.match(asString(fatal[0]?.['msg']) ?? '', words);
  assert.equal(at(fatal[0], 'err'), undefined);
  assert.deepEqual(gate.text, []);
}

/** What commander says of a flag, in a line or two. */
async function assertUsageError(gate: GateProcess, words: RegExp): Promise<void> {
  assert.equal(await gate.ended, 1);
  assert.deepEqual(gate.lines, []);
  assert.match(gate.text.join('\n'), words);
  assert.ok(gate.text.length <= 3, gate.text.join('\n'));
}

describe('a gate that cannot start says why and what to do', { concurrency: 2 }, () => {
  test('no kubeconfig is named: an ambient one is never taken', async () => {
    const gate = spawnGate([], { KUBECONFIG: lab.kubeconfig });
    await assertUsageError(gate, /option '--kubeconfig <file>' is needed outside of a cluster/);
  });

  test('the kubeconfig is not there', async () => {
    const gate = spawnGate(['--kubeconfig', join(folder, 'none')]);
    await assertRefused(gate, 'PG_KUBECONFIG_MISSING', /none cannot be read: .*ENOENT.* Give the path/);
  });

  for (const [what, content] of [
    ['not YAML', 'clusters: [}'],
    ['no kubeconfig', 'hello: world'],
    ['empty', ''],
  ] as const) {
    test(`the kubeconfig is ${what}`, async () => {
      const gate = spawnGate(['--kubeconfig', file(`${what}.yaml`, content)]);
      assert.equal(await gate.ended, 1);
      const codes = gate.lines.map(({ code }) => code);
      assert.match(String(codes), /^PG_KUBECONFIG_(INVALID|CONTEXT)$/);
      assert.deepEqual(gate.text, []);
    });
  }

  test('the context is not in the kubeconfig', async () => {
    const gate = spawnGate(['--kubeconfig', lab.kubeconfig, '--context', 'production']);
    await assertRefused(gate, 'PG_KUBECONFIG_CONTEXT', /no context production; it has: pullgate-lab/);
  });

  test('the port is taken', async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const address = server.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const gate = spawnGate(['--kubeconfig', lab.kubeconfig, ...(await listenOn(port))]);
    await assertRefused(gate, 'PG_LISTEN', /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE.* --listen/);
  });

  for (const [flag, value, words] of [
    ['--listen', 'everywhere', /It must be host:port/],
    ['--listen', '127.0.0.1:99999', /It must be host:port/],
    ['--url', 'http://gate:9443', /It must be https:/],
    ['--min-nodes', '0', /It must be a count such as 3, or a percentage/],
    ['--min-nodes', '101%', /It must be a count such as 3, or a percentage/],
    ['--parallelism', '-1', /It must be a count such as 3, or a percentage/],
    ['--max-concurrent-pulls', '0', /whole number from 1/],
    ['--node-timeout-seconds', '1.5', /whole number of seconds from 1/],
    ['--deadline-seconds', '99999999', /whole number of seconds from 1/],
    ['--ttl-seconds', 'soon', /whole number of seconds from 1/],
    ['--failure-policy', 'Maybe', /Allowed choices are Ignore, Fail/],
    ['--log-level', 'loud', /Allowed choices are/],
  ] as const) {
    test(`${flag} ${value} is out of range`, async () => {
      await assertUsageError(spawnGate(['--kubeconfig', lab.kubeconfig, `${flag}=${value}`]), words);
    });
  }

  test('a value from the environment is out of range', async () => {
    const gate = spawnGate(['--kubeconfig', lab.kubeconfig], { PULLGATE_MIN_NODES: 'most' });
    await assertUsageError(gate, /PULLGATE_MIN_NODES.*It must be a count such as 3/);
  });

  test('the API server cannot be reached', async () => {
    const cluster = { server: `https://127.0.0.1:${await freePort()}` };
    const gate = spawnGate(['--kubeconfig', kubeconfig('unreachable', { cluster })]);
    await assertRefused(gate, 'PG_API_UNREACHABLE', /cannot be reached: .*ECONNREFUSED/);
  });

  test('the API server is not the one that the kubeconfig trusts', async () => {
    const cluster = { 'certificate-authority-data': undefined };
    const gate = spawnGate(['--kubeconfig', kubeconfig('untrusted', { cluster })]);
    await assertRefused(gate, 'PG_API_TLS', /Check the certificate authority/);
  });

  test('the user may not register it', async (t) => {
    const namespace = await createNamespace(t, lab, api);
    const path = `/api/v1/namespaces/${namespace.name}/serviceaccounts/default/token`;
    const answer = await api.create(path, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 600 },
    });
    const user = { token: at(answer, 'status', 'token') };
    const gate = spawnGate(['--kubeconfig', kubeconfig('few-rights', { user }), ...(await listenOn(0))]);
    await assertRefused(gate, 'PG_REGISTRATION_RBAC', /no permission to \w+ \S+: .*forbidden/);
  });

  test('a gate is installed in the cluster already', async (t) => {
    const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
    await api.create(path, {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: 'pullgate' },
    });
    t.after(() => api.delete(`${path}/pullgate`));
    const gate = spawnGate(['--kubeconfig', lab.kubeconfig, ...(await listenOn(0))]);
    await assertRefused(gate, 'PG_ALREADY_INSTALLED', /no Pullgate process outside the cluster created/);
    assert.ok(await api.get(`${path}/pullgate`), 'left alone');
  });
});
