import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { HUB_ADDRESS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import type { Scope } from './namespace.ts';
import { believe } from './registry-double.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const MINUTE_MS = 60_000;

/** A registry of a stranger's. The repository of an image says what becomes of its pull. */
export interface HostileRegistry {
  /** Its manifest comes a byte a minute. */
  readonly endless: string;
  /** Its manifest is refused, with these words. */
  readonly refused: string;
  /** Ends what drips, and knows no image from then on: a kubelet that pulls one image after the other goes on with the next. */
  giveUp(): void;
}

/** @param words what containerd passes on as the server's message, without a limit of its own */
export async function hostileRegistry(scope: Scope, lab: Lab, words: string): Promise<HostileRegistry> {
  const dripping = new Set<ServerResponse>();
  let hasGivenUp = false;
  const server = createServer(({ method, url = '' }, response) => {
    if (url === '/v2/') return void response.end('{}');
    if (hasGivenUp) return void response.writeHead(404).end();
    // containerd asks for the digest first, and reads the words of a refusal only of the manifest itself.
    if (method === 'HEAD')
      return void response
        .writeHead(200, {
          'content-type': MANIFEST,
          'content-length': 1000,
          'docker-content-digest': DIGEST,
        })
        .end();
    if (url.includes('/endless/')) return drip(response);
    const errors = [{ code: 'DENIED', message: words }];
    response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify({ errors }));
  });

  function drip(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': MANIFEST, 'content-length': 1000 });
    response.write(' ');
    const timer = setInterval(() => response.write(' '), MINUTE_MS);
    dripping.add(response);
    response.on('close', () => {
      clearInterval(timer);
      dripping.delete(response);
    });
  }

  function giveUp(): void {
    hasGivenUp = true;
    for (const response of dripping) response.destroy();
  }

  server.listen(0, HUB_ADDRESS);
  await once(server, 'listening');
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('no TCP address');
  const address = `${HUB_ADDRESS}:${bound.port}`;
  scope.after(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  believe(scope, lab, address, 'http');
  return { endless: `${address}/endless/app`, refused: `${address}/refused/app`, giveUp };
}
