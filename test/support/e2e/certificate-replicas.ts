import type { AddressInfo } from 'node:net';
import { Server, type TLSSocket } from 'node:tls';
import pino from 'pino';
import { WEBHOOK_CONFIGURATION } from '../../../src/api/names.ts';
import { type Certificates, startCertificates } from '../../../src/certificates/certificate-keeper.ts';
import type { Lifetimes } from '../../../src/certificates/rotation.ts';
import { AuthorityKeyIdentifierExtension, X509Certificate } from '../../../src/certificates/x509.ts';
import { systemClock } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { readConfig } from '../../../src/config.ts';
import { gateServer, listen, useCertificate } from '../../../src/gate.ts';
import { readManifests } from '../../../src/install/manifests.ts';
import { asArray, asObject, type JsonObject } from '../../../src/json.ts';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { connect } from './gated-lab.ts';
import { createNamespace, type Scope } from './namespace.ts';
import { until } from './until.ts';

const WEBHOOKS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
const SERVICE = 'pullgate';
/** API servers keep connections open, and one that is open shows no new certificate. */
const ANSWERS_PER_CONNECTION = 5;

/** What API servers were shown when they connected. */
export interface ShownCertificate {
  /** As OpenSSL prints it. */
  readonly serial: string;
  /** Key identifier of the authority that signed it. */
  readonly authority: string;
  connections: number;
}

/** Of a gate in a cluster, all that has to do with certificates and admission, with other lifetimes than `LIFETIMES`. */
export interface CertificateReplicas {
  /** Of the Secret and the Service. */
  readonly namespace: string;
  /** For each replica, in the order in which it began to serve them. */
  readonly shown: readonly (readonly ShownCertificate[])[];
  /** What API servers said to a certificate that they did not believe. */
  readonly refused: readonly string[];
}

/**
 * So many replicas, in this process, that share one Secret and one webhook configuration. API servers call them as they call
 * a Service's pods. Answers end their connection now and then, as the only way that cannot meet a request halfway.
 */
export async function startReplicas(
  scope: Scope,
  lab: Lab,
  api: ApiClient,
  count: number,
  times: { readonly lifetimes: Lifetimes; readonly pollMs: number },
): Promise<CertificateReplicas> {
  let replicas: readonly Replica[] = [];
  let registered = false;
  scope.after(async () => {
    // Else it is that of another gate.
    if (registered) await api.delete(`${WEBHOOKS}/${WEBHOOK_CONFIGURATION}`);
    for (const replica of replicas) await replica.stop();
  });
  const { name: namespace } = await createNamespace(scope, lab, api, {});
  await api.create(WEBHOOKS, webhooksOf(namespace, (await readManifests()).webhookConfiguration));
  registered = true;
  const refused: string[] = [];
  replicas = await Promise.all(
    Array.from({ length: count }, () => startReplica(lab, namespace, times, refused)),
  );
  for (const { certificates } of replicas) {
    await until(
      'API servers believe it',
      20,
      () => certificates.isBelieved(),
      (believed) => believed,
    );
  }
  await createService(
    api,
    namespace,
    replicas.map(({ port }) => port),
  );
  return { namespace, shown: replicas.map(({ shown }) => shown), refused };
}

interface Replica {
  readonly certificates: Certificates;
  readonly shown: ShownCertificate[];
  readonly port: number;
  stop(): Promise<void>;
}

async function startReplica(
  lab: Lab,
  namespace: string,
  times: { readonly lifetimes: Lifetimes; readonly pollMs: number },
  refused: string[],
): Promise<Replica> {
  const log = pino({ level: 'silent' });
  const config = readConfig(['node', 'main.ts', '--kubeconfig', lab.kubeconfig]);
  const client = await connect(lab);
  const certificates = startCertificates({
    client,
    namespace,
    hosts: [`${SERVICE}.${namespace}.svc`],
    ...times,
    onServing(pair) {
      if (server !== undefined) useCertificate(server, pair);
    },
    clock: systemClock,
    log,
  });
  let server: ReturnType<typeof gateServer> | undefined;
  const pair = await certificates.first;
  server = gateServer(
    { config, clock: systemClock, random: Math.random, log },
    { client, namespace, writeEvent: () => undefined, metrics: undefined },
    pair,
  );
  let answers = 0;
  server.addHook('onSend', (_request, reply, payload, done) => {
    answers += 1;
    if (answers % ANSWERS_PER_CONNECTION === 0) reply.header('connection', 'close');
    done(null, payload);
  });
  useCertificate(server, certificates.serving() ?? pair);
  await listen(server, { host: HUB_ADDRESS, port: 0 });

  const shown: ShownCertificate[] = [];
  const tls = server.server;
  if (!(tls instanceof Server)) throw new Error('no TLS server');
  tls.on('secureConnection', (socket) => count(shown, socket));
  tls.on('tlsClientError', ({ message }) => {
    // Others are broken off, as nobody needs them any more: Go gives up a handshake when its request has got a free connection.
    if (message.includes('alert')) refused.push(`${new Date().toISOString()} ${message}`);
  });
  return {
    certificates,
    shown,
    port: (tls.address() as AddressInfo).port,
    async stop() {
      await certificates.stop();
      await server.close();
      await client.close();
    },
  };
}

function count(shown: ShownCertificate[], socket: TLSSocket): void {
  const certificate = socket.getX509Certificate();
  if (certificate === undefined) throw new Error('a connection without a certificate');
  const serial = certificate.serialNumber;
  let one = shown.find((other) => other.serial === serial);
  if (one === undefined) {
    const extension = new X509Certificate(certificate.raw).getExtension(AuthorityKeyIdentifierExtension);
    one = { serial, authority: extension?.keyId ?? '', connections: 0 };
    shown.push(one);
  }
  one.connections += 1;
}

/** As the manifest has it, for the Service in this namespace. */
function webhooksOf(namespace: string, manifest: JsonObject): JsonObject {
  const webhooks = asArray(manifest['webhooks']).map((webhook) => {
    const { clientConfig, ...rest } = asObject(webhook);
    const service = { ...asObject(asObject(clientConfig)['service']), namespace, name: SERVICE };
    return { ...rest, clientConfig: { service } };
  });
  return { ...manifest, webhooks };
}

/** A Service without a selector: its endpoints are these. Each has a slice of its own, because they differ in the port. */
async function createService(api: ApiClient, namespace: string, ports: readonly number[]): Promise<void> {
  await api.create(`/api/v1/namespaces/${namespace}/services`, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: SERVICE },
    spec: { ports: [{ name: 'admission', port: 443 }] },
  });
  for (const port of ports) {
    await api.create(`/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${SERVICE}-${port}`, labels: { 'kubernetes.io/service-name': SERVICE } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [HUB_ADDRESS], conditions: { ready: true } }],
      ports: [{ name: 'admission', port, protocol: 'TCP' }],
    });
  }
}
