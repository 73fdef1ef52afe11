import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { JsonObject } from '../../../src/json.ts';
import { HUB_ADDRESS, nodeAddress, REGISTRY_HOSTS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { nodeFolder } from '../../cluster/lab/node.ts';
import { testTls } from '../tls.ts';
import type { Scope } from './namespace.ts';

/** A registry of a test's own, with the images of the lab's. It listens where nodes can reach it. */
export interface RegistryDouble {
  readonly port: number;
  /** `host:port`, as the names of its images begin. */
  readonly address: string;
  /** Connections are refused. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** Every request gets this status. */
  failWith(status: number, headers?: Readonly<Record<string, string>>): void;
  /** Manifests are served. Requests for what they name are refused, as by a store that the registry redirects to. */
  refuseBlobs(): void;
  /** This node alone gets no access. */
  refuseNode(node: string): void;
  /** Whatever tag is asked for is this image index. */
  serveIndex(manifests: readonly JsonObject[]): void;
  /** No request gets any answer, until it is well again. */
  hang(): void;
  /** Requests are answered as the lab's registry does. */
  serve(): void;
}

/** Over plain HTTP, as the nodes are told. */
export async function registryDouble(scope: Scope, lab: Lab): Promise<RegistryDouble> {
  const { double, answer } = behaviour();
  const registry = await listen(scope, createHttpServer(answer), double);
  believe(scope, lab, registry.address, 'http');
  return registry;
}

/** Over plain HTTP, which no node is told: they expect TLS. */
export async function plainRegistryDouble(scope: Scope): Promise<RegistryDouble> {
  const { double, answer } = behaviour();
  return await listen(scope, createHttpServer(answer), double);
}

/** Over TLS, with an authority that no node knows until they are told. */
export async function secureRegistryDouble(
  scope: Scope,
  lab: Lab,
): Promise<RegistryDouble & { tellNodes(): void }> {
  const tls = await testTls(HUB_ADDRESS);
  const { double, answer } = behaviour();
  const server = createHttpsServer(tls, answer);
  const registry = await listen(scope, server, double);
  return {
    ...registry,
    tellNodes: () => believe(scope, lab, registry.address, 'https', tls.ca),
  };
}

type Behaviour = Omit<RegistryDouble, 'port' | 'address' | 'down' | 'up'>;
const INDEX = 'application/vnd.oci.image.index.v1+json';
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

function behaviour(): { double: Behaviour; answer: Answer } {
  const waiting: Parameters<Answer>[] = [];
  let answer: Answer = forward;
  return {
    answer: (request, response) => answer(request, response),
    double: {
      failWith(status, headers = {}) {
        answer = (_, response) => response.writeHead(status, headers).end();
      },
      refuseBlobs() {
        answer = (request, response) => {
          if (request.url?.includes('/blobs/')) response.writeHead(403).end();
          else forward(request, response);
        };
      },
      refuseNode(node) {
        const { address } = nodeAddress(node);
        answer = (request, response) => {
          if (request.socket.remoteAddress === address) response.writeHead(401).end();
          else forward(request, response);
        };
      },
      serveIndex(manifests) {
        const body = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests });
        const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
        const headers = { 'content-type': INDEX, 'docker-content-digest': digest };
        answer = ({ method }, response) => {
          response.writeHead(200, { ...headers, 'content-length': Buffer.byteLength(body) });
          response.end(method === 'HEAD' ? undefined : body);
        };
      },
      hang() {
        answer = (...pair) => waiting.push(pair);
      },
      serve() {
        answer = forward;
        for (const pair of waiting.splice(0)) forward(...pair);
      },
    },
  };
}

function forward(request: IncomingMessage, response: ServerResponse): void {
  // A node gives up after a while. An answer that nobody reads would keep its connection, and this process, for good.
  if (response.destroyed) return;
  const { method, headers, url } = request;
  const target = { host: HUB_ADDRESS, port: REGISTRY_HOSTS.registry.port, path: url, method, headers };
  const outgoing = httpRequest(target, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  outgoing.on('error', () => response.destroy());
  response.on('close', () => outgoing.destroy());
  request.pipe(outgoing);
}

async function listen(
  scope: Scope,
  server: ReturnType<typeof createHttpServer>,
  double: Behaviour,
): Promise<RegistryDouble> {
  const start = async (at: number) => {
    server.listen(at, HUB_ADDRESS);
    await once(server, 'listening');
  };
  await start(0);
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('no TCP address');
  const { port } = bound;
  async function down(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
  scope.after(down);
  return { ...double, port, address: `${HUB_ADDRESS}:${port}`, down, up: () => start(port) };
}

/** Tells the nodes how to talk to a registry; containerd reads these files at each pull, and asks others over HTTPS. */
export function believe(
  scope: Scope,
  lab: Lab,
  address: string,
  scheme: 'http' | 'https',
  caPem?: string,
): void {
  const url = `${scheme}://${address}`;
  for (const node of lab.nodes()) {
    const folder = nodeFolder(nodeAddress(node), 'registry-hosts', address);
    const authority = caPem === undefined ? '' : `  ca = "${folder}/ca.crt"\n`;
    mkdirSync(folder, { recursive: true });
    scope.after(() => rmSync(folder, { recursive: true, force: true }));
    if (caPem !== undefined) writeFileSync(`${folder}/ca.crt`, caPem);
    const text = `server = "${url}"\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n${authority}`;
    writeFileSync(`${folder}/hosts.toml`, text);
  }
}

/** The lab has no name server: as long as the scope lasts this is it, and knows no name but those in `names`. */
export async function nameServer(scope: Scope): Promise<{ readonly names: Set<string> }> {
  const names = new Set<string>();
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => socket.send(answerTo(query, names), port, address));
  socket.bind(53, HUB_ADDRESS);
  await once(socket, 'listening');
  scope.after(() => socket.close());
  return { names };
}

const HEADER_BYTES = 12;
const TYPE_A = 1;
/** Standard response, recursion desired and available; the second with NXDOMAIN (RFC 1035, 4.1.1). */
const KNOWN = 0x8180;
const UNKNOWN = 0x8183;
/** The name of the question, type A, class IN, time to live 0, 4 octets. */
const ANSWER = Buffer.from('c00c00010001000000000004', 'hex');

/** Known names are the hub's. */
function answerTo(query: Buffer, names: ReadonlySet<string>): Buffer {
  const labels: string[] = [];
  let end = HEADER_BYTES;
  for (let length = query[end]; length; length = query[end]) {
    labels.push(query.toString('latin1', end + 1, end + 1 + length));
    end += 1 + length;
  }
  const known = names.has(labels.join('.').toLowerCase());
  const answers = known && query.readUInt16BE(end + 1) === TYPE_A ? 1 : 0;
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(known ? KNOWN : UNKNOWN, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(answers, 6);
  const address = Buffer.from(HUB_ADDRESS.split('.').map(Number));
  return Buffer.concat([
    header,
    query.subarray(HEADER_BYTES, end + 5),
    ...(answers === 0 ? [] : [ANSWER, address]),
  ]);
}
