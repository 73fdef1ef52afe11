import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createAuthority } from '../../src/certificates/authority.ts';
import type { SecretContents } from '../../src/certificates/certificate-secret.ts';
import {
  type CertificateAndKey,
  DAY_MS,
  exportKey,
  generateKeys,
  importSigningKey,
  issue,
} from '../../src/certificates/issue.ts';
import type { PublishedBundle } from '../../src/certificates/published-bundle.ts';
import {
  isBelieved,
  LIFETIMES,
  nextServing,
  nextStep,
  type RotationState,
  type Serving,
  type Step,
} from '../../src/certificates/rotation.ts';
import { secretChange } from '../../src/certificates/secret-change.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';
import {
  BasicConstraintsExtension,
  X509Certificate as Certificate,
  KeyUsageFlags,
  KeyUsagesExtension,
} from '../../src/certificates/x509.ts';

const HOST = 'pullgate.pullgate.svc';
const POLICY = { hosts: [HOST], lifetimes: LIFETIMES };
const START = Date.UTC(2030, 0, 1);
const LONG = LIFETIMES.settleMs;

const authority = (day = 0, days = 365) => createAuthority({ now: new Date(START + day * DAY_MS), days });
const serving = (by: CertificateAndKey, day = 0, hosts = [HOST]) =>
  createServingCertificate(by, { hosts, now: new Date(START + day * DAY_MS), days: 90 });

/** The Secret: the first authority with its key, then those that are trusted beside it. */
function secret(
  [signer, ...others]: readonly [CertificateAndKey, ...CertificateAndKey[]],
  pair?: CertificateAndKey,
  renew?: string,
): SecretContents {
  const all = [signer, ...others].map(({ certificatePem }) => certificatePem).join('');
  const tls = pair && { 'tls.crt': pair.certificatePem, 'tls.key': pair.keyPem };
  return { data: { 'ca.crt': all, 'ca.key': signer.keyPem, ...tls }, renew };
}

function brought(by: CertificateAndKey, pair: CertificateAndKey): SecretContents {
  const data = { 'ca.crt': by.certificatePem, 'tls.crt': pair.certificatePem, 'tls.key': pair.keyPem };
  return { data, renew: undefined };
}

/** As a company's own: with a name, and one below the other. */
async function brandedAuthority(name: string, by?: CertificateAndKey): Promise<CertificateAndKey> {
  const keys = await generateKeys();
  const issuer = by && new Certificate(by.certificatePem);
  const certificate = await issue({
    subject: name,
    publicKey: keys.publicKey,
    issuer: issuer?.subject ?? name,
    issuerKey: issuer?.publicKey ?? keys.publicKey,
    signingKey: by === undefined ? keys.privateKey : await importSigningKey(by.keyPem),
    now: new Date(START),
    notAfter: new Date(START + 365 * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
    ],
  });
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
}

function published(forMs: number, ...authorities: readonly CertificateAndKey[]): PublishedBundle {
  const bundle = authorities.map(({ certificatePem }) => certificatePem).join('');
  return { bundles: [bundle, bundle], forMs, since: 0, version: '' };
}
const UNREGISTERED: PublishedBundle = { bundles: [], forMs: 0, since: 0, version: '' };

function served(by: CertificateAndKey, pair: CertificateAndKey): Serving {
  return {
    chain: [new X509Certificate(pair.certificatePem)],
    cert: new X509Certificate(pair.certificatePem).toString(),
    key: pair.keyPem,
    authority: new X509Certificate(by.certificatePem),
  };
}

function assertServes(actual: Serving | undefined, by: CertificateAndKey, pair: CertificateAndKey): void {
  const wanted = served(by, pair);
  assert.deepEqual(
    [actual?.cert, actual?.key, actual?.authority.fingerprint256],
    [wanted.cert, wanted.key, wanted.authority.fingerprint256],
  );
}

function state(
  secretContents: SecretContents | undefined,
  bundle: PublishedBundle,
  { day = 1, serving: by }: { readonly day?: number; readonly serving?: Serving } = {},
): RotationState {
  return { secret: secretContents, published: bundle, serving: by, now: START + day * DAY_MS };
}

function fingerprints(pem: string): string[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (block) => new X509Certificate(block).fingerprint256,
  );
}
const fingerprintsOf = (...all: readonly CertificateAndKey[]) =>
  all.flatMap(({ certificatePem }) => fingerprints(certificatePem));

function step<K extends Step['kind']>(kind: K, of: RotationState): Extract<Step, { kind: K }> {
  const next = nextStep(of, POLICY);
  assert.equal(next.kind, kind, JSON.stringify(next));
  return next as Extract<Step, { kind: K }>;
}

test('an installation: authority, then a serving certificate at once, then it is published', async () => {
  const first = step('NewAuthority', state(undefined, published(0)));
  assert.equal(first.keep, '');
  const a = await authority();
  step('NewServing', state(secret([a]), published(0)));
  const pair = await serving(a);
  const publish = step('Publish', state(secret([a], pair), published(0)));
  assert.deepEqual(fingerprints(publish.bundle), fingerprintsOf(a));
  assert.equal(step('Wait', state(secret([a], pair), published(0, a))).phase, 'Steady');
});

test('without a webhook configuration there is nothing to publish, and certificates all the same', async () => {
  const a = await authority();
  step('NewServing', state(secret([a]), UNREGISTERED));
  assert.equal(step('Wait', state(secret([a], await serving(a)), UNREGISTERED)).phase, 'Unregistered');
});

test('a serving certificate is renewed at two thirds of its life, by the same authority, without waiting', async () => {
  const a = await authority();
  const contents = secret([a], await serving(a));
  step('Wait', state(contents, published(LONG, a), { day: 59.9 }));
  step('NewServing', state(contents, published(0, a), { day: 60.1 }));
});

test('an authority is renewed at two thirds of its life, and stays trusted beside the new one', async () => {
  const a = await authority();
  const pair = await serving(a, 240);
  step('Wait', state(secret([a], pair), published(LONG, a), { day: 243 }));
  const next = step('NewAuthority', state(secret([a], pair), published(LONG, a), { day: 244 }));
  assert.deepEqual(fingerprints(next.keep), fingerprintsOf(a));
});

test('a new authority is published beside the old one before it signs anything', async () => {
  const [a, b] = [await authority(), await authority(244)];
  const pair = await serving(a, 240);
  const contents = secret([b, a], pair);
  const publish = step('Publish', state(contents, published(LONG, a), { day: 244 }));
  assert.deepEqual(fingerprints(publish.bundle), fingerprintsOf(b, a));
  const waiting = state(contents, published(LONG - 1, b, a), { day: 244.1 });
  assert.equal(step('Wait', waiting).phase, 'Publishing');
  step('NewServing', state(contents, published(LONG, b, a), { day: 244.1 }));
});

test('a new authority that one of the webhooks does not have yet signs nothing', async () => {
  const [a, b] = [await authority(), await authority(244)];
  const half: PublishedBundle = {
    ...published(LONG, b, a),
    bundles: [b.certificatePem + a.certificatePem, a.certificatePem],
  };
  step('Publish', state(secret([b, a], await serving(a, 240)), half, { day: 244.1 }));
});

test('the old authority is published until all that it can have signed has expired', async () => {
  const [a, b] = [await authority(), await authority(100)];
  const early = state(secret([b, a], await serving(b, 189)), published(LONG, b, a), { day: 189.9 });
  assert.equal(step('Wait', early).phase, 'Retiring');
  const late = state(secret([b, a], await serving(b, 189)), published(LONG, b, a), { day: 190.1 });
  assert.deepEqual(fingerprints(step('Retire', late).keep), fingerprintsOf(b));
  const retired = state(secret([b], await serving(b, 189)), published(2 * LONG, b, a), { day: 190.1 });
  assert.deepEqual(fingerprints(step('Publish', retired).bundle), fingerprintsOf(b));
});

test('an authority that has expired leaves the Secret', async () => {
  const [a, b] = [await authority(0, 300), await authority(244)];
  const contents = secret([b, a], await serving(b, 244));
  const next = step('Retire', state(contents, published(LONG, b, a), { day: 300.1 }));
  assert.deepEqual(fingerprints(next.keep), fingerprintsOf(b));
});

test('after months without a gate an expired serving certificate is replaced at once', async () => {
  const a = await authority();
  step('NewServing', state(secret([a], await serving(a)), published(0, a), { day: 120 }));
});

test('an authority that has expired with its gate off is replaced, and nothing of it is kept', async () => {
  const a = await authority();
  const next = step('NewAuthority', state(secret([a], await serving(a)), published(0, a), { day: 400 }));
  assert.equal(next.keep, '');
});

test('an overwritten bundle is put right at once, and whatever was put there is not trusted', async () => {
  const [a, foreign] = [await authority(), await authority()];
  const contents = secret([a], await serving(a));
  for (const bundle of [published(0), published(0, foreign)]) {
    const next = step('Publish', state(contents, bundle));
    assert.deepEqual(fingerprints(next.bundle), fingerprintsOf(a));
  }
});

test('an authority that somebody added to the bundle goes after a while', async () => {
  const [a, foreign] = [await authority(), await authority()];
  const contents = secret([a], await serving(a));
  step('Wait', state(contents, published(2 * LONG - 1, a, foreign)));
  const next = step('Publish', state(contents, published(2 * LONG, a, foreign)));
  assert.deepEqual(fingerprints(next.bundle), fingerprintsOf(a));
});

test('asked for, a serving certificate or an authority is renewed long before its time', async () => {
  const a = await authority();
  const pair = await serving(a);
  step('NewServing', state(secret([a], pair, 'serving'), published(LONG, a)));
  step('NewAuthority', state(secret([a], pair, 'authority'), published(LONG, a)));
  step('Wait', state(secret([a], pair, 'everything'), published(LONG, a)));
});

test('an authority that is asked for in the middle of a change is the one that is on its way', async () => {
  const [a, b] = [await authority(), await authority(1)];
  const contents = secret([b, a], await serving(a), 'authority');
  assert.equal(step('Wait', state(contents, published(LONG - 1, b, a))).phase, 'Publishing');
  step('NewServing', state(contents, published(LONG, b, a)));
});

test('a key of the serving certificate that was taken away, or belongs to another one, means a new certificate', async () => {
  const a = await authority();
  const [pair, other] = [await serving(a), await serving(a)];
  for (const key of ['', 'no key', other.keyPem]) {
    step('NewServing', state(secret([a], { ...pair, keyPem: key }), published(LONG, a)));
  }
});

test('a serving certificate that lacks a name is replaced', async () => {
  const a = await authority();
  step('NewServing', state(secret([a], await serving(a, 0, ['localhost'])), published(LONG, a)));
});

test('a Secret that was deleted: a new authority beside those that were published, which signs nothing before its time', async () => {
  const [a, b] = [await authority(), await authority(1)];
  const next = step('NewAuthority', state(undefined, published(LONG, a)));
  assert.deepEqual(fingerprints(next.keep), fingerprintsOf(a));
  step('Publish', state(secret([b, a]), published(LONG, a)));
  step('Wait', state(secret([b, a]), published(LONG - 1, b, a)));
  step('NewServing', state(secret([b, a]), published(LONG, b, a)));
});

test('the authority of what a replica still serves is published, whatever the Secret says', async () => {
  const [a, b] = [await authority(), await authority(1)];
  const old = served(a, await serving(a));
  const next = step('Publish', state(secret([b], await serving(b)), published(LONG, a), { serving: old }));
  assert.deepEqual(fingerprints(next.bundle), fingerprintsOf(b, a));
});

test('certificates that somebody brings are published and never written', async () => {
  const a = await authority();
  const contents = brought(a, await serving(a));
  step('Publish', state(contents, published(0)));
  for (const day of [1, 89]) {
    assert.equal(step('Wait', state(contents, published(LONG, a), { day })).phase, 'Brought');
  }
});

test('a Secret of the gate that cert-manager has taken over is not the gate’s any more, though its key is still there', async () => {
  const [own, theirs] = [await authority(), await authority()];
  const { data } = brought(theirs, await serving(theirs));
  const contents: SecretContents = { data: { ...data, 'ca.key': own.keyPem }, renew: undefined };
  assert.equal(step('Wait', state(contents, published(LONG, theirs))).phase, 'Brought');
});

test('brought certificates that could not be served are refused in words, and what is served stays published', async () => {
  const [a, b] = [await authority(), await authority()];
  const pair = await serving(a);
  const refused: readonly [SecretContents, RegExp, number?][] = [
    [brought(b, pair), /tls\.crt was not signed by a valid authority of ca\.crt/],
    [brought(a, { ...pair, keyPem: b.keyPem }), /no certificate with its key/],
    [brought(a, await serving(a, 0, ['localhost'])), /tls\.crt is not for pullgate\.pullgate\.svc/],
    [brought(a, pair), /valid from .* to/, 91],
  ];
  for (const [contents, wanted, day = 1] of refused) {
    const old = served(b, await serving(b));
    const of = state(contents, published(LONG, b), { day, serving: old });
    assert.match(step('Refuse', of).detail, wanted);
    assert.equal(nextServing(of, POLICY), undefined);
    step('Publish', state(contents, published(0), { day, serving: old }));
  }
});

test('a replica with nothing to serve takes what the Secret has', async () => {
  const a = await authority();
  const pair = await serving(a);
  const next = nextServing(state(secret([a], pair), published(0)), POLICY);
  assertServes(next, a, pair);
});

test('a replica changes to a certificate of another authority only when that one has been published long enough', async () => {
  const [a, b] = [await authority(), await authority()];
  const old = served(a, await serving(a));
  const pair = await serving(b);
  const contents = brought(b, pair);
  for (const bundle of [published(LONG, a), published(LONG - 1, b, a)]) {
    assert.equal(nextServing(state(contents, bundle, { serving: old }), POLICY), undefined);
  }
  const of = state(contents, published(LONG, b, a), { serving: old });
  assertServes(nextServing(of, POLICY), b, pair);
});

test('a renewed certificate of the same authority is served at once', async () => {
  const a = await authority();
  const old = served(a, await serving(a));
  const pair = await serving(a, 60);
  const of = state(secret([a], pair), published(0, a), { day: 60, serving: old });
  assertServes(nextServing(of, POLICY), a, pair);
});

test('a replica whose certificate has expired takes any other', async () => {
  const [a, b] = [await authority(), await authority(100)];
  const old = served(a, await serving(a));
  const pair = await serving(b, 100);
  const of = state(secret([b, a], pair), published(0, a), { day: 101, serving: old });
  assertServes(nextServing(of, POLICY), b, pair);
});

test('a chain by way of an intermediate authority is believed, and without that one it is not', async () => {
  const root = await brandedAuthority('CN=root');
  const between = await brandedAuthority('CN=between', root);
  const leaf = await serving(between);
  const chain = [leaf, between].map(({ certificatePem }) => new X509Certificate(certificatePem));
  const pair = { chain, cert: '', key: '' };
  assert.equal(isBelieved(pair, [root.certificatePem], START + DAY_MS), true);
  assert.equal(
    isBelieved({ ...pair, chain: chain.slice(0, 1) }, [root.certificatePem], START + DAY_MS),
    false,
  );
  assert.equal(isBelieved(pair, [], START + DAY_MS), false);
  assert.equal(isBelieved(pair, [root.certificatePem, ''], START + DAY_MS), false);
});

test('what a step writes leads to the next one, until there is nothing to do', async () => {
  const now = START;
  let contents: SecretContents | undefined;
  let bundle = published(0);
  const kinds: string[] = [];
  for (;;) {
    const next = nextStep({ secret: contents, published: bundle, serving: undefined, now }, POLICY);
    kinds.push(next.kind);
    if (next.kind === 'Wait' || next.kind === 'Refuse') break;
    if (next.kind === 'Publish') bundle = { ...bundle, bundles: bundle.bundles.map(() => next.bundle) };
    else {
      const change = await secretChange(next, contents, POLICY, now);
      contents = { data: { ...contents?.data, ...change }, renew: undefined };
    }
  }
  assert.deepEqual(kinds, ['NewAuthority', 'NewServing', 'Publish', 'Wait']);
});
