/** Reads a PushOrder from stdin, builds that image in memory and pushes it over the registry's HTTP API. */
import { execFileSync } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { pack as tarPack } from 'tar-stream';
import type { PushOrder } from './images.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const FINGERPRINT = 'pullgate-lab/fingerprint';
const CHUNK = 1 << 20;

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

const order = JSON.parse(readFileSync(0, 'utf8')) as PushOrder;
const agent = new Agent({ keepAlive: true });
const base = `${order.url}/v2/${order.repository}`;

await main();
agent.destroy();

async function main(): Promise<void> {
  const known = await call('GET', `${base}/manifests/${order.tag}`, { accept: MANIFEST_TYPE });
  if (known.status === 200) {
    const manifest = JSON.parse(known.body) as { annotations?: Record<string, string> };
    if (manifest.annotations?.[FINGERPRINT] === order.fingerprint) {
      return;
    }
  }
  const layers = [await pushLayer(programLayer())];
  if (order.megabytes > 0) {
    layers.push(await pushLayer(weightLayer(order.megabytes << 20)));
  }
  const config = {
    architecture: order.architecture,
    os: 'linux',
    config: {
      Entrypoint: order.entrypoint,
      Env: ['PATH=/bin', ...Object.entries(order.env).map(([name, value]) => `${name}=${value}`)],
      // Makes every tag an image of its own: a kubelet that has v1 must not find that it has v2 as well.
      Labels: { 'pullgate-lab/image': `${order.repository}:${order.tag}` },
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: await pushBlob(CONFIG_TYPE, [Buffer.from(JSON.stringify(config))]),
    layers,
    annotations: { [FINGERPRINT]: order.fingerprint },
  };
  const body = Buffer.from(JSON.stringify(manifest));
  await expectStatus(201, 'PUT', `${base}/manifests/${order.tag}`, { 'content-type': MANIFEST_TYPE }, [body]);
}

function pushLayer(bytes: AsyncIterable<Buffer>): Promise<Descriptor> {
  return pushBlob(LAYER_TYPE, bytes);
}

/** One pass: the digest is known, and requested by the registry, only at the end. */
async function pushBlob(
  mediaType: string,
  bytes: Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<Descriptor> {
  const started = await expectStatus(202, 'POST', `${base}/blobs/uploads/`, { 'content-length': '0' });
  const hash = createHash('sha256');
  let size = 0;
  const counted = async function* () {
    for await (const chunk of bytes) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  const type = { 'content-type': 'application/octet-stream' };
  const sent = await expectStatus(202, 'PATCH', started.location, type, counted());
  const digest = `sha256:${hash.digest('hex')}`;
  const end = new URL(sent.location);
  end.searchParams.set('digest', digest);
  await expectStatus(201, 'PUT', end.href, { 'content-length': '0' });
  return { mediaType, digest, size };
}

async function* programLayer(): AsyncGenerator<Buffer> {
  const { file, name, applets } = order.program;
  const tar = tarPack();
  if (applets) {
    tar.entry({ name: 'bin', type: 'directory', mode: 0o755, mtime: new Date(0) });
    tar.entry({ name: 'tmp', type: 'directory', mode: 0o1777, mtime: new Date(0) });
  }
  tar.entry({ name, mode: 0o755, mtime: new Date(0) }, readFileSync(file));
  if (applets) {
    const names = execFileSync(file, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean);
    for (const applet of names.filter((candidate) => candidate !== 'busybox')) {
      tar.entry({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox', mtime: new Date(0) });
    }
  }
  tar.finalize();
  for await (const chunk of tar) {
    yield chunk as Buffer;
  }
}

/**
 * The key stream of a cipher: as random as bytes need to be to resist compression, and the same on every
 * machine.
 */
async function* weightLayer(size: number): AsyncGenerator<Buffer> {
  const key = createHash('sha256').update(`${order.repository}:${order.tag}`).digest().subarray(0, 16);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK);
  const tar = tarPack();
  const entry = tar.entry({ name: 'weight', size, mtime: new Date(0) });
  const feeding = (async () => {
    for (let left = size; left > CHUNK; left -= CHUNK) {
      if (!entry.write(cipher.update(zeros))) {
        await once(entry, 'drain');
      }
    }
    entry.end(cipher.update(zeros));
    tar.finalize();
  })();
  for await (const chunk of tar) {
    yield chunk as Buffer;
  }
  await feeding;
}

interface Answer {
  status: number;
  location: string;
  body: string;
}

async function expectStatus(
  status: number,
  method: string,
  url: string,
  headers: Record<string, string>,
  body?: Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<Answer> {
  const answer = await call(method, url, headers, body);
  if (answer.status !== status) {
    throw new Error(`${method} ${url}: ${answer.status} ${answer.body.slice(0, 500)}`);
  }
  return answer;
}

async function call(
  method: string,
  url: string,
  headers: Record<string, string>,
  body: Iterable<Buffer> | AsyncIterable<Buffer> = [],
): Promise<Answer> {
  const authorization = order.credentials && {
    authorization: `Basic ${btoa(`${order.credentials.username}:${order.credentials.password}`)}`,
  };
  const outgoing = request(url, { method, agent, headers: { ...headers, ...authorization } });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  // Awaited below; without this an early refusal would count as unhandled while the body is still being
  // written.
  answered.catch(() => {});
  for await (const chunk of body) {
    if (!outgoing.write(chunk)) {
      await Promise.race([once(outgoing, 'drain'), answered]);
    }
  }
  outgoing.end();
  const [response] = await answered;
  const location = response.headers.location;
  return {
    status: response.statusCode ?? 0,
    location: location === undefined ? '' : new URL(location, url).href,
    body: await text(response),
  };
}
