import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { limitConnections } from '../../src/connection-limit.ts';
import { until } from '../support/unit/until.ts';

async function world(max: number) {
  const open = new Set<Socket>();
  const refused: string[] = [];
  const server = createServer();
  limitConnections(server, max, (peer) => refused.push(peer));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on('connection', (socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  /** Resolves with whether the connection is kept. */
  async function from(localAddress: string): Promise<boolean> {
    const [before, refusedBefore] = [accepted, refused.length];
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    // A refused one may be reset.
    socket.on('error', () => undefined);
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    await until(() => accepted > before);
    return refused.length === refusedBefore;
  }
  return {
    from,
    refused,
    open,
    /** Connections that the server has. */
    served: () => sockets.size,
    async close(): Promise<void> {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function kept(from: (peer: string) => Promise<boolean>, peer: string, times: number): Promise<number> {
  let count = 0;
  for (let n = 0; n < times; n += 1) if (await from(peer)) count += 1;
  return count;
}

test('one peer holds half of the connections at most, two a third each, and the next one finds a place', async () => {
  const { from, refused, close } = await world(12);
  assert.equal(await kept(from, '127.0.0.2', 20), 6);
  assert.equal(await kept(from, '127.0.0.3', 20), 3);
  assert.equal(await from('127.0.0.1'), true);
  assert.deepEqual([...new Set(refused)], ['127.0.0.2', '127.0.0.3']);
  await close();
});

test('a connection that is closed makes room for another one', async () => {
  const { from, open, served, close } = await world(4);
  assert.equal(await kept(from, '127.0.0.2', 4), 2);
  const [socket] = open;
  socket?.destroy();
  await until(() => served() === 1);
  assert.equal(await from('127.0.0.2'), true);
  assert.equal(await from('127.0.0.2'), false);
  await close();
});
