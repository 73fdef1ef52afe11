import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { testTls } from '../../support/tls.ts';
import type { FloorAnswer, Listening } from './message.ts';

/** The least that any webhook in Node does: it reads a review, parses it, and answers what it was told to. */
const tls = await testTls();
let answer = Buffer.from('{}');
process.on('message', (message: FloorAnswer) => {
  answer = Buffer.from(message.answer);
});
process.on('disconnect', () => process.exit());

const server = createServer(tls, (request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const review: unknown = JSON.parse(Buffer.concat(parts).toString());
    response.writeHead(typeof review === 'object' ? 200 : 400, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': answer.length,
    });
    response.end(answer);
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const listening: Listening = { port: (server.address() as AddressInfo).port, ca: tls.ca };
process.send?.(listening);
