import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
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
  /** Resolves with whether no connection was closed for it. */
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
    servedTo: (peer: string) => [...sockets].filter(({ remoteAddress }) => remoteAddress === peer).length,
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

test('however many peers hold all that they get, the next one takes places of those with the most', async () => {
  const { from, servedTo, served, close } = await world(64);
  for (let peer = 2; peer < 14; peer += 1) await kept(from, `127.0.0.${peer}`, 64);
  assert.equal(served(), 64);
  await kept(from, '127.0.0.1', 3);
  await until(() => served() === 64);
  assert.equal(servedTo('127.0.0.1'), 3);
  await close();
});

test('a connection whose request is being answered is not closed for another one, and one that sends nothing is', async () => {
  const answer = Promise.withResolvers<void>();
  const server = createHttpServer((request, response) => {
    request.resume();
    void answer.promise.then(() => response.end('answered'));
  });
  limitConnections(server, 4, () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dial = (localAddress: string) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    const told = { text: '', closed: false };
    socket
      .on('error', () => undefined)
      .on('data', (data) => {
        told.text += data.toString();
      })
      .on('close', () => {
        told.closed = true;
      });
    return { socket, told };
  };
  const asking = dial('127.0.0.2');
  asking.socket.write('GET / HTTP/1.1\r\nhost: gate\r\n\r\n');
  await once(server, 'request');
  const quiet = dial('127.0.0.2');
  await once(server, 'connection');
  const others = [dial('127.0.0.3'), dial('127.0.0.4'), dial('127.0.0.5')];
  await until(() => quiet.told.closed);
  answer.resolve();
  await until(() => asking.told.text.endsWith('answered'));
  assert.deepEqual(
    others.map(({ told }) => told.closed),
    [false, false, false],
  );
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});
