import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { createAuthority } from '../../src/certificates/authority.ts';
import type { CertificateAndKey } from '../../src/certificates/issue.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';

const DAY_MS = 24 * 3600_000;
const HOSTS = ['pullgate.pullgate.svc', 'localhost', '127.0.0.1', '::1'];

/** What a client that dials 127.0.0.1 and expects `host` says: undefined when it accepts, else its error code. */
async function handshake(serving: CertificateAndKey, ca: string, host: string): Promise<string | undefined> {
  const server = createServer({ cert: serving.certificatePem, key: serving.keyPem });
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  // An empty server name makes Node check the certificate against `host`, which it does for addresses too.
  const servername = isIP(host) === 0 ? { servername: host } : { servername: '' };
  const socket = connect({ host: '127.0.0.1', port, ca, ...servername }, () => resolve(undefined));
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  const result = await promise;
  socket.destroy();
  server.close();
  return result;
}

function withFiles<T>(files: Readonly<Record<string, string>>, use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-certs-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a client that trusts the authority accepts the certificate for its names and addresses', async () => {
  const now = new Date();
  const authority = await createAuthority({ now, days: 365 });
  const serving = await createServingCertificate(authority, { hosts: HOSTS, now, days: 90 });
  assert.equal(await handshake(serving, authority.certificatePem, 'localhost'), undefined);
  assert.equal(await handshake(serving, authority.certificatePem, 'pullgate.pullgate.svc'), undefined);
  assert.equal(await handshake(serving, authority.certificatePem, '127.0.0.1'), undefined);
});

test('it is refused for a name or an address that it does not have', async () => {
  const now = new Date();
  const authority = await createAuthority({ now, days: 365 });
  const named = await createServingCertificate(authority, { hosts: ['localhost'], now, days: 90 });
  assert.equal(
    await handshake(named, authority.certificatePem, 'pullgate.pullgate.svc'),
    'ERR_TLS_CERT_ALTNAME_INVALID',
  );
  assert.equal(await handshake(named, authority.certificatePem, '127.0.0.1'), 'ERR_TLS_CERT_ALTNAME_INVALID');
});

test('it is refused by a client that trusts another authority of the same name', async () => {
  const now = new Date();
  const [old, renewed] = await Promise.all([
    createAuthority({ now, days: 1 }),
    createAuthority({ now, days: 1 }),
  ]);
  const serving = await createServingCertificate(old, { hosts: ['localhost'], now, days: 1 });
  assert.notEqual(await handshake(serving, renewed.certificatePem, 'localhost'), undefined);
});

test('while an old and a new authority are published together, certificates of both are accepted', async () => {
  const now = new Date();
  const [old, renewed] = await Promise.all([
    createAuthority({ now, days: 1 }),
    createAuthority({ now, days: 1 }),
  ]);
  const both = old.certificatePem + renewed.certificatePem;
  for (const authority of [old, renewed]) {
    const serving = await createServingCertificate(authority, { hosts: ['localhost'], now, days: 1 });
    assert.equal(await handshake(serving, both, 'localhost'), undefined);
  }
});

test('addresses are IP entries of the certificate, never names', async () => {
  const now = new Date();
  const authority = await createAuthority({ now, days: 365 });
  const { certificatePem } = await createServingCertificate(authority, { hosts: HOSTS, now, days: 90 });
  const certificate = new X509Certificate(certificatePem);
  assert.equal(
    certificate.subjectAltName,
    'DNS:pullgate.pullgate.svc, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
  );
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
  assert.equal(certificate.checkIP('127.0.0.2'), undefined);
});

test('validity begins 5 minutes ago and lasts the days asked for', async () => {
  const now = new Date('2030-01-01T12:00:00Z');
  const authority = await createAuthority({ now, days: 365 });
  const serving = await createServingCertificate(authority, { hosts: ['localhost'], now, days: 90 });
  for (const [pem, days] of [
    [authority.certificatePem, 365],
    [serving.certificatePem, 90],
  ] as const) {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    assert.equal(validFromDate.toISOString(), '2030-01-01T11:55:00.000Z');
    assert.equal(validToDate.getTime() - now.getTime(), days * DAY_MS);
  }
});

test('a serving certificate never outlives its authority', async () => {
  const authority = await createAuthority({ now: new Date('2030-01-01T00:00:00Z'), days: 10 });
  const now = new Date('2030-01-05T00:00:00Z');
  const serving = await createServingCertificate(authority, { hosts: ['localhost'], now, days: 90 });
  assert.equal(
    new X509Certificate(serving.certificatePem).validToDate.toISOString(),
    '2030-01-11T00:00:00.000Z',
  );
});

test('the key is an unencrypted P-256 key that belongs to the certificate', async () => {
  const now = new Date();
  const authority = await createAuthority({ now, days: 365 });
  const serving = await createServingCertificate(authority, { hosts: ['localhost'], now, days: 90 });
  for (const { certificatePem, keyPem } of [authority, serving]) {
    const key = createPrivateKey(keyPem);
    assert.deepEqual(key.asymmetricKeyDetails, { namedCurve: 'prime256v1' });
    assert.ok(new X509Certificate(certificatePem).checkPrivateKey(key));
  }
});

test('serial numbers differ, are positive and have at most 20 octets', async () => {
  const now = new Date();
  const authorities = await Promise.all(Array.from({ length: 8 }, () => createAuthority({ now, days: 1 })));
  const serials = authorities.map(({ certificatePem }) => new X509Certificate(certificatePem).serialNumber);
  assert.equal(new Set(serials).size, serials.length);
  for (const serial of serials) assert.match(serial, /^[0-9A-F]{2,40}$/);
});

test('hosts that are no host are refused with a code', async () => {
  const now = new Date();
  const authority = await createAuthority({ now, days: 1 });
  for (const hosts of [
    [],
    [''],
    ['https://localhost'],
    ['[::1]'],
    ['a b'],
    ['a..b'],
    ['localhost', '127.0.0.1:8443'],
  ]) {
    await assert.rejects(createServingCertificate(authority, { hosts, now, days: 1 }), {
      code: 'PG_CERTIFICATE_HOST',
    });
  }
});

const openssl = spawnSync('openssl', ['version']).status === 0;
test('openssl accepts the chain, strictly, for the purpose and the host', {
  skip: !openssl && 'no openssl',
}, async () => {
  const now = new Date();
  const authority = await createAuthority({ now, days: 365 });
  const serving = await createServingCertificate(authority, { hosts: HOSTS, now, days: 90 });
  const files = { 'ca.pem': authority.certificatePem, 'serving.pem': serving.certificatePem };
  withFiles(files, (folder) => {
    const verify = (...args: string[]) =>
      spawnSync(
        'openssl',
        ['verify', '-x509_strict', '-purpose', 'sslserver', ...args, '-CAfile', 'ca.pem', 'serving.pem'],
        { cwd: folder, encoding: 'utf8' },
      );
    for (const args of [
      ['-verify_ip', '127.0.0.1'],
      ['-verify_ip', '::1'],
      ['-verify_hostname', 'localhost'],
    ]) {
      const { status, stderr } = verify(...args);
      assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    }
    assert.notEqual(verify('-verify_ip', '127.0.0.2').status, 0);
    // Signing with a serving certificate has to be impossible: it is no authority.
    assert.match(
      spawnSync(
        'openssl',
        ['x509', '-in', 'serving.pem', '-noout', '-ext', 'basicConstraints,keyUsage,extendedKeyUsage'],
        {
          cwd: folder,
          encoding: 'utf8',
        },
      ).stdout,
      /CA:FALSE[\s\S]*Digital Signature\n[\s\S]*TLS Web Server Authentication/,
    );
  });
});
