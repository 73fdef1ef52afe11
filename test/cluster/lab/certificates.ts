// tsyringe, under @peculiar/x509, wants this loaded before it.
import 'reflect-metadata';
import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { HUB_ADDRESS, KUBERNETES_SERVICE } from './addresses.ts';
import { state } from './paths.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const USAGES: KeyUsage[] = ['sign', 'verify'];
/** A lab that is older than this has to be taken down once. */
const DAYS = 365;

type KeyUsage = 'sign' | 'verify';

export interface Identity {
  certificate: string;
  key: string;
}

interface Authority extends Identity {
  signer: webcrypto.CryptoKey;
  subject: X509Certificate;
}

const PKI = state('pki');

export const PKI_FILES = {
  ca: join(PKI, 'ca.crt'),
  frontProxyCa: join(PKI, 'front-proxy-ca.crt'),
  serviceAccountPrivate: join(PKI, 'service-account.key'),
  serviceAccountPublic: join(PKI, 'service-account.pub'),
};

export function identityFiles(name: string): Identity {
  return { certificate: join(PKI, `${name}.crt`), key: join(PKI, `${name}.key`) };
}

/** Creates what is not there yet; certificates are never renewed, since a stopped lab starts over. */
export async function ensureCertificates(): Promise<void> {
  mkdirSync(PKI, { recursive: true, mode: 0o700 });
  const ca = await ensureAuthority('ca', 'pullgate-lab');
  const frontProxyCa = await ensureAuthority('front-proxy-ca', 'pullgate-lab-front-proxy');
  await ensureLeaf(ca, 'kube-apiserver', 'CN=kube-apiserver', {
    names: ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].concat(
      'kubernetes.default.svc.cluster.local',
    ),
    addresses: ['127.0.0.1', HUB_ADDRESS, KUBERNETES_SERVICE],
  });
  await ensureLeaf(ca, 'admin', 'CN=pullgate-lab-admin,O=system:masters');
  await ensureLeaf(ca, 'kube-controller-manager', 'CN=system:kube-controller-manager');
  await ensureLeaf(ca, 'kube-scheduler', 'CN=system:kube-scheduler');
  await ensureLeaf(ca, 'kube-proxy', 'CN=system:kube-proxy');
  await ensureLeaf(frontProxyCa, 'front-proxy-client', 'CN=front-proxy-client');
  if (!existsSync(PKI_FILES.serviceAccountPrivate)) {
    const pair = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    });
    writeFileSync(PKI_FILES.serviceAccountPublic, pair.publicKey);
    writeFileSync(PKI_FILES.serviceAccountPrivate, pair.privateKey, { mode: 0o600 });
  }
}

export async function ensureNodeCertificate(node: string): Promise<Identity> {
  const ca = await ensureAuthority('ca', 'pullgate-lab');
  await ensureLeaf(ca, node, `CN=system:node:${node},O=system:nodes`);
  return identityFiles(node);
}

async function ensureAuthority(file: string, commonName: string): Promise<Authority> {
  const paths = identityFiles(file);
  if (!existsSync(paths.key)) {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, USAGES);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${commonName}`,
      serialNumber: serialNumber(),
      ...validity(),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.digitalSignature, true),
      ],
    });
    await writeIdentity(paths, certificate, keys.privateKey);
  }
  const key = readFileSync(paths.key, 'utf8');
  const certificate = readFileSync(paths.certificate, 'utf8');
  const signer = await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(key), ALGORITHM, true, [
    'sign',
  ]);
  return { key, certificate, signer, subject: new X509Certificate(certificate) };
}

async function ensureLeaf(
  authority: Authority,
  file: string,
  name: string,
  serving?: { names: string[]; addresses: string[] },
): Promise<void> {
  const paths = identityFiles(file);
  if (existsSync(paths.key)) {
    return;
  }
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, USAGES);
  const purposes = serving
    ? [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]
    : [ExtendedKeyUsage.clientAuth];
  const certificate = await X509CertificateGenerator.create({
    subject: name,
    issuer: authority.subject.subject,
    serialNumber: serialNumber(),
    ...validity(),
    publicKey: keys.publicKey,
    signingKey: authority.signer,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(purposes),
      await AuthorityKeyIdentifierExtension.create(authority.subject.publicKey),
      ...(serving
        ? [
            new SubjectAlternativeNameExtension([
              ...serving.names.map((value) => ({ type: 'dns' as const, value })),
              ...serving.addresses.map((value) => ({ type: 'ip' as const, value })),
            ]),
          ]
        : []),
    ],
  });
  await writeIdentity(paths, certificate, keys.privateKey);
}

/** The key last: its presence says that both are there. */
async function writeIdentity(
  paths: Identity,
  certificate: X509Certificate,
  key: webcrypto.CryptoKey,
): Promise<void> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key);
  writeFileSync(paths.certificate, `${certificate.toString('pem')}\n`);
  writeFileSync(paths.key, `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`, { mode: 0o600 });
}

/** Positive and never with a leading zero byte, as Go insists on. */
function serialNumber(): string {
  return `4${randomBytes(8).toString('hex').slice(1)}`;
}

function validity(): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + DAYS * 86_400_000) };
}
