import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createAuthority } from '../../src/certificates/authority.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';

const SCRIPT = fileURLToPath(new URL('../../certs/certificates.sh', import.meta.url));
const HOST = 'pullgate.pullgate.svc';
const now = new Date();
const [a, b] = [await createAuthority({ now, days: 300 }), await createAuthority({ now, days: 300 })];
const pair = await createServingCertificate(a, { hosts: [HOST], now, days: 90 });
const serial = (pem: string) => new X509Certificate(pem).serialNumber;

/** Answers what the script asks for from files, and writes down the rest. */
const KUBECTL = `#!/bin/sh
echo "$*" >>"$WORLD/calls"
case "$*" in
  *'{.data.ca\\.crt}') openssl base64 -A -in "$WORLD/ca.crt" ;;
  *'{.data.tls\\.crt}') openssl base64 -A -in "$WORLD/tls.crt" ;;
  *'get mutatingwebhookconfiguration/pullgate '*) cat "$WORLD/webhooks" ;;
  *'get secret pullgate-certificates') test -e "$WORLD/ca.crt" ;;
  *'--dry-run=client'*) echo 'the manifest' ;;
  *'-f -') cat >"$WORLD/applied" ;;
esac
`;

interface World {
  readonly ca?: string;
  readonly tls?: string;
  /** What each webhook trusts. */
  readonly bundles?: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
}

function run(args: readonly string[], { ca, tls = pair.certificatePem, bundles = [], files = {} }: World) {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-script-'));
  try {
    const webhooks = bundles.map(
      (pem, index) => `${index}.pullgate.io ${Buffer.from(pem).toString('base64')}\n`,
    );
    const all = { ...files, kubectl: KUBECTL, 'tls.crt': tls, webhooks: webhooks.join('') };
    for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
    if (ca !== undefined) writeFileSync(join(folder, 'ca.crt'), ca);
    chmodSync(join(folder, 'kubectl'), 0o755);
    const env = { ...process.env, WORLD: folder, KUBECTL: `${folder}/kubectl --context test` };
    const { status, stdout, stderr } = spawnSync('sh', [SCRIPT, ...args], {
      cwd: folder,
      encoding: 'utf8',
      env,
    });
    const read = (name: string) =>
      existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '';
    return { status, stdout, stderr, calls: read('calls').split('\n'), applied: read('applied') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const there = spawnSync('openssl', ['version']).status === 0;
const options = { skip: !there && 'no openssl' };

test('the script is one that a POSIX shell can read', () => {
  assert.equal(spawnSync('sh', ['-n', SCRIPT]).status, 0);
});

test('inspect shows what is served, the authorities, and that each webhook trusts it', options, () => {
  const both = b.certificatePem + a.certificatePem;
  const { status, stdout, stderr, calls } = run(['inspect'], { ca: both, bundles: [both, a.certificatePem] });
  assert.equal(status, 0, stderr);
  assert.match(
    stdout,
    new RegExp(`^Served:\n {2}CN *= *pullgate, serial ${serial(pair.certificatePem)}, valid`),
  );
  assert.match(stdout, /for DNS:pullgate\.pullgate\.svc\n/);
  assert.match(stdout, new RegExp(`serial ${serial(b.certificatePem)}, valid from .*GMT\n`));
  assert.match(
    stdout,
    new RegExp(`serial ${serial(a.certificatePem)}.*\\(signed the served certificate\\)\n`),
  );
  assert.match(
    stdout,
    /0\.pullgate\.io trusts the served certificate[\s\S]*1\.pullgate\.io trusts the served certificate/,
  );
  assert.doesNotMatch(calls.join(), /\.key/);
  assert.ok(calls[0]?.startsWith('--context test -n pullgate get secret pullgate-certificates'));
});

test('inspect fails if one of the webhooks does not trust what is served', options, () => {
  for (const bundle of [b.certificatePem, '']) {
    const { status, stdout } = run(['inspect'], {
      ca: a.certificatePem,
      bundles: [a.certificatePem, bundle],
    });
    assert.equal(status, 1);
    assert.match(stdout, /0\.pullgate\.io trusts the served certificate/);
    assert.match(stdout, /1\.pullgate\.io DOES NOT TRUST the served certificate/);
  }
});

test('renew annotates the Secret', () => {
  for (const [args, what] of [
    [['renew'], 'serving'],
    [['renew', 'serving'], 'serving'],
    [['renew', 'authority'], 'authority'],
  ] as const) {
    const { status, calls } = run(args, {});
    assert.equal(status, 0);
    const annotate = '-n pullgate annotate secret pullgate-certificates --overwrite';
    assert.equal(calls[0], `--context test ${annotate} pullgate.io/renew=${what}`);
  }
});

test('forget leaves the authority that signed the served certificate', options, () => {
  const { status, calls, stderr } = run(['forget'], { ca: b.certificatePem + a.certificatePem });
  assert.equal(status, 0, stderr);
  const [, base64 = ''] = /\{"data":\{"ca\.crt":"([^"]+)"\}\}/.exec(calls.join('\n')) ?? [];
  const kept = Buffer.from(base64, 'base64').toString();
  assert.equal(new X509Certificate(kept).serialNumber, serial(a.certificatePem));
  assert.equal(kept.split('BEGIN').length, 2);
});

test('forget changes nothing if no authority of the Secret signed the served certificate', options, () => {
  const { status, stderr, calls } = run(['forget'], { ca: b.certificatePem });
  assert.equal(status, 1);
  assert.match(stderr, /nothing was changed/);
  assert.doesNotMatch(calls.join(), /patch/);
});

const mine = { 'my.crt': pair.certificatePem, 'my.key': pair.keyPem, 'my-ca.crt': a.certificatePem };
const BRING = ['bring', 'my.crt', 'my.key', 'my-ca.crt'];

test('bring replaces the Secret, and creates it where there is none', options, () => {
  for (const [ca, verb] of [
    [a.certificatePem, 'replace'],
    [undefined, 'create'],
  ] as const) {
    const { status, calls, stderr, applied } = run(BRING, { files: mine, ...(ca !== undefined && { ca }) });
    assert.equal(status, 0, stderr);
    assert.ok(calls.includes(`--context test -n pullgate ${verb} -f -`), calls.join('\n'));
    assert.equal(applied, 'the manifest\n');
  }
});

test('bring refuses what the gate would refuse, and changes nothing', options, async () => {
  const other = await createServingCertificate(a, { hosts: ['localhost'], now, days: 1 });
  const refused: readonly [Readonly<Record<string, string>>, RegExp][] = [
    [{ ...mine, 'my-ca.crt': b.certificatePem }, /my\.crt was not signed by an authority of my-ca\.crt/],
    [{ ...mine, 'my.key': other.keyPem }, /my\.key is not the key of my\.crt/],
    [{ ...mine, 'my.crt': other.certificatePem }, /my\.crt is not for pullgate\.pullgate\.svc/],
  ];
  for (const [files, wanted] of refused) {
    const { status, stderr, calls } = run(BRING, { files, ca: a.certificatePem });
    assert.equal(status, 1);
    assert.match(stderr, wanted);
    assert.deepEqual(calls, ['']);
  }
});

test('anything else prints how it is used, and nothing is done', () => {
  for (const args of [[], ['help'], ['renew', 'everything'], ['bring', 'my.crt'], ['inspect', 'more']]) {
    const { status, stderr, calls } = run(args, {});
    assert.equal(status, 2);
    assert.match(stderr, /certificates\.sh inspect/);
    assert.deepEqual(calls, ['']);
  }
});
