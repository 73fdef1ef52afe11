import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { podCluster } from '../../src/cluster/in-cluster.ts';
import { GateError } from '../../src/errors.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

let folder: string;
const put = (name: string, text: string) => writeFileSync(join(folder, name), text);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pullgate-account-'));
  put('token', 'first\n');
  put('ca.crt', 'authority\n');
  put('namespace', 'pullgate');
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (clock = manualClock()) => podCluster({ server: 'https://10.96.0.1:443', folder }, clock);

test('the API server, its authority, the namespace and the token are those of the pod', async () => {
  const cluster = await open();
  assert.partialDeepStrictEqual(cluster, {
    server: 'https://10.96.0.1:443',
    ca: 'authority',
    namespace: 'pullgate',
  });
  assert.equal(await cluster.token(), 'first');
  assert.deepEqual([cluster.cert, cluster.key, cluster.skipTlsVerify], [undefined, undefined, undefined]);
});

test('a token that the kubelet replaces is in use a minute later', async () => {
  const clock = manualClock();
  const cluster = await open(clock);
  await cluster.token();
  put('token', 'second');
  clock.advance(59_999);
  assert.equal(await cluster.token(), 'first');
  clock.advance(1);
  assert.equal(await cluster.token(), 'second');
});

test('a token that was refused is read anew at once, one that has been replaced since is kept', async () => {
  const cluster = await open();
  await cluster.token();
  put('token', 'second');
  cluster.invalidateToken?.('first');
  assert.equal(await cluster.token(), 'second');
  put('token', 'third');
  cluster.invalidateToken?.('first');
  assert.equal(await cluster.token(), 'second');
});

for (const name of ['token', 'ca.crt', 'namespace']) {
  test(`without ${name}, or with an empty one, it says which file is missing`, async () => {
    const isNamed = (error: unknown) =>
      error instanceof GateError && error.code === 'PG_SERVICE_ACCOUNT' && error.message.includes(name);
    put(name, ' \n');
    await assert.rejects(open(), isNamed);
    rmSync(join(folder, name));
    await assert.rejects(open(), isNamed);
  });
}
