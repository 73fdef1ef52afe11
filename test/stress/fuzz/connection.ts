import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { FuzzRequest } from './fuzz-request.ts';

export interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

export interface Outcome {
  readonly answers: readonly Answer[];
  /** The connection has ended, or the last answer says that it does. */
  readonly closed: boolean;
  readonly ms: number;
}

export interface Target {
  readonly port: number;
  readonly secureContext: SecureContext;
}

/** Twice what the server may take, on a machine that is busy. */
const PATIENCE_MS = 15_000;
const DRIP_MS = 200;
/** So that a request that is in the server when its connection is dropped occurs too. */
const DROP_AFTER_MS = 2;

/** A keep-alive connection by hand: an HTTP client would not send what is not HTTP. */
export interface Connection {
  send(request: FuzzRequest): Promise<Outcome>;
  close(): void;
}

export async function openConnection({ port, secureContext }: Target): Promise<Connection> {
  const socket = connect({ host: '127.0.0.1', port, secureContext, servername: '' });
  const opened = Promise.withResolvers<void>();
  socket.once('secureConnect', opened.resolve);
  socket.once('error', opened.reject);
  await opened.promise;
  // What is written after an early answer may meet a closed connection; its `close` follows.
  socket.on('error', () => undefined);
  socket.setNoDelay(true);
  return {
    send: (request) => exchange(socket, request),
    close: () => void socket.destroy(),
  };
}

async function exchange(socket: TLSSocket, request: FuzzRequest): Promise<Outcome> {
  const began = performance.now();
  const done = Promise.withResolvers<boolean>();
  const answers: Answer[] = [];
  let bytes = Buffer.alloc(0);
  const take = (atEnd: boolean) => {
    for (let next = takeAnswer(bytes, atEnd); next !== undefined; next = takeAnswer(bytes, atEnd)) {
      bytes = bytes.subarray(next.length);
      if (next.answer.status >= 200) answers.push(next.answer);
    }
  };
  const onData = (part: Buffer) => {
    bytes = Buffer.concat([bytes, part]);
    take(false);
    const last = answers.at(-1);
    if (request.ending === 'keep' && last !== undefined)
      done.resolve(/^connection: close$/im.test(last.head));
  };
  const onClose = () => {
    take(true);
    done.resolve(true);
  };
  socket.on('data', onData);
  socket.on('close', onClose);
  const patience = setTimeout(() => done.resolve(false), PATIENCE_MS);
  const { drip } = request;
  const dripping = drip && setInterval(() => socket.writable && socket.write(drip), DRIP_MS);

  for (const part of request.writes) {
    if (!socket.writable) break;
    socket.write(part);
    // Each in a TLS record of its own at least.
    if (request.writes.length > 1) await new Promise((resolve) => setImmediate(resolve));
  }
  if (request.ending === 'end') socket.end();
  if (request.ending === 'drop')
    setTimeout(() => socket.destroy(), request.index % 2 === 0 ? 0 : DROP_AFTER_MS);

  const closed = await done.promise;
  clearTimeout(patience);
  clearInterval(dripping);
  socket.off('data', onData);
  socket.off('close', onClose);
  return { answers, closed, ms: performance.now() - began };
}

/** The first answer of the bytes, if it is whole, and how many bytes it has. */
function takeAnswer(bytes: Buffer, atEnd: boolean): { answer: Answer; length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? Number.NaN);
  const said = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  const from = headEnd + 4;
  if (said === undefined && status >= 200 && !atEnd) return undefined;
  const bodyLength = status < 200 ? 0 : said === undefined ? bytes.length - from : Number(said);
  if (bytes.length < from + bodyLength) return undefined;
  return {
    answer: { status, head, body: bytes.toString('utf8', from, from + bodyLength) },
    length: from + bodyLength,
  };
}
