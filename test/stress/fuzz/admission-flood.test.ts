import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { describe, test } from 'node:test';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { randomOf } from '../../support/random.ts';
import { type Child, startChild } from './child-process.ts';
import type { ServerReady } from './gate-server.ts';
import { realisticReview } from './realistic-review.ts';

/** What 55 of these took before there was a budget: the container's limit. */
const CONNECTIONS = 55;
const BODY_BYTES = 6_900_000;
/** The budget is 64 MB. Half of the rest is what has been dropped and is not collected yet. Without a budget it is 390 MB. */
const GROWTH_MB = 200;

const PART = Buffer.alloc(64 * 1024, 'x');

interface Server {
  readonly child: Child<ServerReady, never>;
  readonly secureContext: SecureContext;
}

async function withServer(run: (server: Server) => Promise<void>): Promise<void> {
  const child = await startChild<ServerReady>('gate-server.ts');
  try {
    await run({ child, secureContext: createSecureContext({ ca: child.ready.ca }) });
    assert.deepEqual([child.end(), child.errors], [undefined, []]);
  } finally {
    await child.stop();
  }
}

async function open({ child, secureContext }: Server, localAddress: string): Promise<TLSSocket> {
  const { port } = child.ready;
  const tcp = connectTcp({ host: '127.0.0.1', port, localAddress });
  tcp.on('error', () => undefined);
  const socket = connect({ host: '127.0.0.1', socket: tcp, secureContext, servername: '' });
  // What is written after an early answer may meet a closed connection.
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
  return socket;
}

function head(length: string): string {
  return `POST /admit/pause HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n${length}\r\n\r\n`;
}

/** Sends all of a large body but its end. Resolves with the answer, once the server has closed the connection. */
async function sendUnfinished(server: Server, localAddress: string, chunked: boolean): Promise<string> {
  const socket = await open(server, localAddress);
  let answer = '';
  socket.on('data', (data: Buffer) => {
    answer += data.toString();
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(head(chunked ? 'transfer-encoding: chunked' : `content-length: ${BODY_BYTES}`));
  const part = chunked ? Buffer.concat([Buffer.from('10000\r\n'), PART, Buffer.from('\r\n')]) : PART;
  for (let sent = PART.length; sent < BODY_BYTES && !socket.destroyed; sent += PART.length) {
    // An end of the connection while it waits for room is as good as room.
    if (!socket.write(part)) await Promise.race([new Promise((go) => socket.once('drain', go)), closed]);
  }
  await closed;
  return answer;
}

/** The status of the answer to a usual review. */
async function review(server: Server, localAddress: string): Promise<number> {
  const socket = await open(server, localAddress);
  const body = JSON.stringify(realisticReview(randomOf(7, 0)));
  socket.write(head(`content-length: ${Buffer.byteLength(body)}`) + body);
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(data.toString())?.[1]);
}

const CASES = [
  ['one stranger', () => '127.0.0.2', false],
  ['as many strangers, in chunks', (n: number) => `127.0.1.${n + 1}`, true],
] as const;

describe(`${CONNECTIONS} unfinished bodies of ${BODY_BYTES / 1e6} MB at once`, () => {
  for (const [whose, addressOf, chunked] of CASES) {
    test(`of ${whose} take no more than ${GROWTH_MB} MB, and reviews are answered meanwhile`, () =>
      withServer(async (server) => {
        await review(server, '127.0.0.1');
        const before = await server.child.memory();
        const flood = Array.from({ length: CONNECTIONS }, (_, n) =>
          sendUnfinished(server, addressOf(n), chunked),
        );
        let over = false;
        const answers = Promise.all(flood).finally(() => {
          over = true;
        });
        let most = 0;
        const reviews: number[] = [];
        while (!over) {
          const { resident } = await server.child.memory();
          most = Math.max(most, resident);
          reviews.push(await review(server, '127.0.0.1'));
        }
        const codes = (await answers).map((answer) => /PG_\w+/.exec(answer)?.[0] ?? 'none');
        assert.ok(
          codes.every((code) => ['PG_BUSY', 'PG_BODY_TIMEOUT', 'none'].includes(code)),
          `${codes}`,
        );
        const grown = (most - before.resident) / 1e6;
        assert.ok(grown <= GROWTH_MB, `${grown} MB`);
        assert.ok(reviews.length > 1);
        assert.deepEqual([...new Set(reviews)], [200]);
      }));
  }
});
