import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { type ErrorCode, GateError } from '../../src/errors.ts';

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'pullgate-credentials-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const refuses = (code: ErrorCode, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof GateError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, words);
  return true;
};

/** A context per user, each of the user's name. */
async function kubeconfig(
  folder: string,
  users: Record<string, unknown>,
  cluster: unknown = {},
): Promise<string> {
  const file = join(folder, 'kubeconfig');
  const names = Object.keys(users);
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': names[0],
    clusters: [{ name: 'lab', cluster: { server: 'https://10.0.0.1:6443', ...Object(cluster) } }],
    users: names.map((name) => ({ name, user: users[name] })),
    contexts: names.map((name) => ({ name, context: { cluster: 'lab', user: name } })),
  };
  await writeFile(file, stringify(content));
  return file;
}

test('a kubeconfig gives server, authority and client certificate, from data and from files beside it', () =>
  withFolder(async (folder) => {
    await writeFile(join(folder, 'ca.crt'), 'the ca');
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const file = await kubeconfig(
      folder,
      { admin: { 'client-certificate-data': base64('the cert'), 'client-key-data': base64('the key') } },
      { 'certificate-authority': 'ca.crt', 'tls-server-name': 'kubernetes' },
    );
    const cluster = await loadKubeconfig(file, undefined);
    assert.deepEqual(
      [
        cluster.name,
        cluster.server,
        cluster.ca,
        cluster.cert,
        cluster.key,
        cluster.serverName,
        cluster.skipTlsVerify,
      ],
      ['admin', 'https://10.0.0.1:6443', 'the ca', 'the cert', 'the key', 'kubernetes', false],
    );
    assert.equal(await cluster.token(), undefined);
    assert.deepEqual(cluster.headers, {});
  }));

test('the context that is named counts, and tokens, passwords and impersonation are understood', () =>
  withFolder(async (folder) => {
    const file = await kubeconfig(folder, {
      first: {},
      token: { token: 'abc' },
      basic: { username: 'somebody-else', password: 'secret' },
      other: { token: 'abc', as: 'john' },
    });
    assert.equal(await (await loadKubeconfig(file, 'token')).token(), 'abc');
    const basic = await loadKubeconfig(file, 'basic');
    assert.equal(await basic.token(), undefined);
    assert.equal(
      basic.headers?.['authorization'],
      `Basic ${Buffer.from('somebody-else:secret').toString('base64')}`,
    );
    assert.deepEqual((await loadKubeconfig(file, 'other')).headers, { 'Impersonate-User': 'john' });
  }));

test('an exec plugin is asked, and again after its token was refused', () =>
  withFolder(async (folder) => {
    const answer = (token: string) =>
      writeFile(
        join(folder, 'answer'),
        JSON.stringify({
          apiVersion: 'client.authentication.k8s.io/v1',
          kind: 'ExecCredential',
          status: { token },
        }),
      );
    await answer('one');
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'cat',
      args: [join(folder, 'answer')],
    };
    const cluster = await loadKubeconfig(await kubeconfig(folder, { plugin: { exec } }), undefined);
    assert.equal(await cluster.token(), 'one');
    await answer('two');
    assert.equal(await cluster.token(), 'one');
    cluster.invalidateToken?.('one');
    assert.equal(await cluster.token(), 'two');
  }));

test('what is wrong with a kubeconfig is told', () =>
  withFolder(async (folder) => {
    const load = loadKubeconfig;
    await assert.rejects(load(join(folder, 'none'), undefined), refuses('PG_KUBECONFIG_MISSING', /ENOENT/));
    await writeFile(join(folder, 'bad'), 'clusters: [');
    await assert.rejects(load(join(folder, 'bad'), undefined), refuses('PG_KUBECONFIG_INVALID', /bad/));
    await writeFile(join(folder, 'empty'), '');
    await assert.rejects(load(join(folder, 'empty'), undefined), refuses('PG_KUBECONFIG_INVALID', /empty/));
    await writeFile(join(folder, 'hollow'), '{}');
    await assert.rejects(load(join(folder, 'hollow'), undefined), refuses('PG_KUBECONFIG_CONTEXT', /none/));

    const users = { one: {}, two: { exec: { command: join(folder, 'no-such-plugin') } } };
    const file = await kubeconfig(folder, users);
    await assert.rejects(load(file, 'three'), refuses('PG_KUBECONFIG_CONTEXT', /three; it has: one, two/));
    await assert.rejects(load(file, 'two'), refuses('PG_KUBECONFIG_CREDENTIALS', /no-such-plugin/));
    const plain = await kubeconfig(folder, users, { server: 'http://10.0.0.1' });
    await assert.rejects(load(plain, 'one'), refuses('PG_KUBECONFIG_INVALID', /http:/));
    const proxied = await kubeconfig(folder, users, { 'proxy-url': 'http://proxy' });
    await assert.rejects(load(proxied, 'one'), refuses('PG_KUBECONFIG_INVALID', /proxy-url/));
    const lost = await kubeconfig(folder, users, { 'certificate-authority': 'gone.crt' });
    await assert.rejects(load(lost, 'one'), refuses('PG_KUBECONFIG_CREDENTIALS', /gone\.crt/));
  }));
