import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { createAuthority } from '../../src/certificates/authority.ts';
import {
  type Certificates,
  startCertificates,
  type TlsPair,
} from '../../src/certificates/certificate-keeper.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';
import { ApiError } from '../../src/cluster/api-error.ts';
import { at } from '../../src/json.ts';
import {
  type CertificateClient,
  CONFIGURATION,
  certificateCluster,
  SECRET,
} from '../support/unit/certificate-cluster.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { type ManualClock, manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

const HOST = 'pullgate.pullgate.svc';
const POLL_MS = 5000;
const SETTLE_MS = 60_000;

interface Started {
  readonly certificates: Certificates;
  readonly served: TlsPair[];
  readonly lines: Record<string, unknown>[];
}

function replica(
  client: CertificateClient,
  clock: ManualClock,
  onServing: (pair: TlsPair) => void = () => undefined,
): Started {
  const { log, lines } = logDouble();
  const served: TlsPair[] = [];
  const certificates = startCertificates({
    client,
    namespace: 'pullgate',
    hosts: [HOST],
    onServing(pair) {
      served.push(pair);
      onServing(pair);
    },
    clock,
    log,
  });
  return { certificates, served, lines };
}

/** Until each of `count` replicas waits for its next poll. */
const quiet = (clock: ManualClock, count = 1) =>
  until(() => clock.timers().length === count, `${count} waiting replicas`);

async function pass(ms: number, clock: ManualClock, count = 1): Promise<void> {
  for (let passed = 0; passed < ms; passed += POLL_MS) {
    clock.advance(POLL_MS);
    await quiet(clock, count);
  }
}

const count = (pem: string) => pem.split('BEGIN CERTIFICATE').length - 1;

test('the first replica creates the Secret, every webhook trusts its authority, and the certificate is served', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const { certificates, served } = replica(cluster.client, clock);
  const pair = await certificates.first;
  await quiet(clock);
  assert.deepEqual(Object.keys(cluster.secret()).sort(), ['ca.crt', 'ca.key', 'tls.crt', 'tls.key']);
  const authority = cluster.secret()['ca.crt'] ?? '';
  assert.deepEqual(cluster.bundles(), [authority, authority]);
  assert.ok(new X509Certificate(pair.cert).verify(new X509Certificate(authority).publicKey));
  assert.deepEqual(served, [pair]);
  assert.deepEqual(certificates.serving(), pair);
  const inDays = (days: number) => new Date(clock.now() + days * 24 * 3600_000);
  assert.deepEqual(certificates.expiries(), { serving: inDays(90), ca: inDays(365) });
  assert.ok(certificates.isRegistered());
  assert.ok(certificates.isBelieved());
  await certificates.stop();
});

test('replicas that start together settle on one certificate', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const replicas = Array.from({ length: 4 }, () => replica(cluster.client, clock));
  const pairs = await Promise.all(replicas.map(({ certificates }) => certificates.first));
  await quiet(clock, replicas.length);
  assert.equal(new Set(replicas.map(({ certificates }) => certificates.serving()?.cert)).size, 1);
  assert.equal(pairs.at(-1)?.cert, cluster.secret()['tls.crt']);
  assert.equal(count(cluster.secret()['ca.crt'] ?? ''), 1);
  for (const { certificates } of replicas) await certificates.stop();
});

test('without a webhook configuration the certificate is served, and published within a poll of its creation', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  const { certificates } = replica(cluster.client, clock);
  await certificates.first;
  await quiet(clock);
  assert.equal(certificates.isBelieved(), false);
  cluster.register();
  await pass(POLL_MS, clock);
  assert.ok(certificates.isBelieved());
  await certificates.stop();
});

test('a quiet poll is two reads by name, and writes nothing', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const { certificates } = replica(cluster.client, clock);
  await quiet(clock);
  cluster.calls.splice(0);
  await pass(3 * POLL_MS, clock);
  assert.deepEqual(
    cluster.calls,
    Array(3)
      .fill([`get ${CONFIGURATION}`, `get ${SECRET}`])
      .flat(),
  );
  await certificates.stop();
});

test('an overwritten caBundle is put right at the next poll', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const { certificates } = replica(cluster.client, clock);
  await quiet(clock);
  const foreign = await createAuthority({ now: new Date(clock.now()), days: 1 });
  for (const pem of ['', 'not a certificate', foreign.certificatePem]) {
    cluster.overwriteBundles(pem);
    await pass(POLL_MS, clock);
    const authority = cluster.secret()['ca.crt'] ?? '';
    assert.deepEqual(cluster.bundles(), [authority, authority]);
  }
  await certificates.stop();
});

test('an authority that is asked for signs what is served a minute after it was published, and the wish is gone', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const { certificates, served } = replica(cluster.client, clock);
  await quiet(clock);
  cluster.annotateSecret({ 'pullgate.io/renew': 'authority' });
  await pass(POLL_MS, clock);
  assert.equal(at(cluster.get(SECRET), 'metadata', 'annotations', 'pullgate.io/renew'), undefined);
  assert.deepEqual(cluster.bundles().map(count), [2, 2]);
  await pass(SETTLE_MS - POLL_MS, clock);
  assert.equal(served.length, 1);
  await pass(POLL_MS, clock);
  assert.equal(served.length, 2);
  const authority = new X509Certificate(cluster.secret()['ca.crt'] ?? '');
  assert.ok(new X509Certificate(served[1]?.cert ?? '').verify(authority.publicKey));
  assert.deepEqual(cluster.bundles().map(count), [2, 2]);
  await certificates.stop();
});

test('what somebody wrote between reading and writing is never overwritten: both are read anew', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const first = replica(cluster.client, clock);
  await quiet(clock);
  await first.certificates.stop();

  let meanwhile: (() => void) | undefined;
  const interrupted: CertificateClient = {
    ...cluster.client,
    mergePatch(path, body) {
      meanwhile?.();
      meanwhile = undefined;
      return cluster.client.mergePatch(path, body);
    },
    jsonPatch(path, operations) {
      meanwhile?.();
      meanwhile = undefined;
      return cluster.client.jsonPatch(path, operations);
    },
  };
  const now = new Date(clock.now());
  const theirs = await createAuthority({ now, days: 30 });
  const pair = await createServingCertificate(theirs, { hosts: [HOST], now, days: 30 });
  const second = replica(interrupted, clock);
  await quiet(clock);

  meanwhile = () =>
    cluster.writeSecret({
      'ca.crt': theirs.certificatePem,
      'tls.crt': pair.certificatePem,
      'tls.key': pair.keyPem,
    });
  cluster.annotateSecret({ 'pullgate.io/renew': 'authority' });
  await pass(POLL_MS, clock);
  assert.equal(cluster.secret()['ca.crt'], theirs.certificatePem);

  const before = cluster.bundles();
  meanwhile = () => {
    cluster.overwriteBundles(theirs.certificatePem);
    cluster.calls.splice(0);
  };
  cluster.overwriteBundles('');
  await pass(POLL_MS, clock);
  const refusedFirst = [
    `patch ${CONFIGURATION}`,
    `get ${CONFIGURATION}`,
    `get ${SECRET}`,
    `patch ${CONFIGURATION}`,
  ];
  assert.deepEqual(cluster.calls.slice(0, 4), refusedFirst);
  assert.deepEqual(cluster.bundles(), before);
  await second.certificates.stop();
});

test('a missing right is named once, and all goes on when it is granted', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  let granted = false;
  const forbidden: CertificateClient = {
    ...cluster.client,
    async get(path) {
      if (granted || path !== SECRET) return cluster.client.get(path);
      throw new ApiError(403, { reason: 'Forbidden', message: 'cannot get resource "secrets"' });
    },
  };
  const { certificates, lines } = replica(forbidden, clock);
  await quiet(clock);
  await pass(3 * POLL_MS, clock);
  const errors = lines.filter(({ code }) => code === 'PG_RBAC');
  assert.equal(errors.length, 1);
  assert.match(String(errors[0]?.['msg']), /not allowed to read secrets\/pullgate-certificates/);
  assert.equal(certificates.serving(), undefined);
  granted = true;
  await pass(POLL_MS, clock);
  assert.ok(certificates.isBelieved());
  await certificates.stop();
});

test('brought certificates that cannot be served are an error with its code, and what was served goes on', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const { certificates, served, lines } = replica(cluster.client, clock);
  await quiet(clock);
  const { 'tls.crt': tls = '', 'tls.key': key = '' } = cluster.secret();
  cluster.writeSecret({ 'tls.crt': tls, 'tls.key': key });
  await pass(2 * POLL_MS, clock);
  const errors = lines.filter(({ code }) => code === 'PG_CERTIFICATE_SECRET');
  assert.equal(errors.length, 1);
  assert.match(
    String(errors[0]?.['msg']),
    /pullgate\/pullgate-certificates cannot be served: tls\.crt was not/,
  );
  assert.equal(served.length, 1);
  assert.ok(certificates.isBelieved());
  await certificates.stop();
});

test('no key is ever logged', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  cluster.register();
  const { certificates, lines } = replica(cluster.client, clock);
  await quiet(clock);
  cluster.annotateSecret({ 'pullgate.io/renew': 'authority' });
  await pass(2 * SETTLE_MS, clock);
  await certificates.stop();
  const text = JSON.stringify(lines);
  assert.ok(text.length > 100);
  assert.doesNotMatch(text, /PRIVATE KEY|BEGIN/);
  for (const key of ['ca.key', 'tls.key']) {
    const secret = Buffer.from(cluster.secret()[key] ?? '').toString('base64');
    assert.ok(secret.length > 100 && !text.includes(secret), key);
  }
});

test('stopped before there is a certificate, it says so and does nothing more', async () => {
  const [cluster, clock] = [certificateCluster(), manualClock()];
  const { certificates } = replica(
    { ...cluster.client, get: () => Promise.reject(new Error('unreachable')) },
    clock,
  );
  await quiet(clock);
  await certificates.stop();
  await assert.rejects(certificates.first, /stopped/);
  assert.deepEqual(clock.timers(), []);
});

/** A connection to `port` that trusts `ca`, and the serial number of the certificate that it met. */
async function dial(port: number, ca: string): Promise<{ socket: TLSSocket; serial: string }> {
  const socket = connect({ host: '127.0.0.1', port, ca, servername: HOST });
  await once(socket, 'secureConnect');
  return { socket, serial: socket.getPeerCertificate().serialNumber };
}

test('a TLS server changes to the new certificate without a restart; open connections go on', async () => {
  // The client of this test looks at the real clock.
  const [cluster, clock] = [certificateCluster(), manualClock(Date.now())];
  cluster.register();
  const server = createServer((socket) => socket.pipe(socket));
  const { certificates, served } = replica(cluster.client, clock, (pair) => server.setSecureContext(pair));
  await certificates.first;
  await quiet(clock);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;

  const before = await dial(port, cluster.bundles()[0] ?? '');
  cluster.annotateSecret({ 'pullgate.io/renew': 'authority' });
  await pass(2 * SETTLE_MS, clock);
  assert.equal(served.length, 2);
  const after = await dial(port, cluster.bundles()[0] ?? '');
  assert.notEqual(after.serial, before.serial);
  before.socket.write('still there');
  const [answer] = await once(before.socket, 'data');
  assert.equal(String(answer), 'still there');
  before.socket.destroy();
  after.socket.destroy();
  server.close();
  await certificates.stop();
});
