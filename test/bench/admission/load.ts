import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { reviewCase } from './cases.ts';
import type { LoadOrder, LoadReport } from './message.ts';

/**
 * The load, in a process of its own. By hand over TLS: an HTTP client takes as much of its core as the server of its own, and
 * then it would be the client that is measured.
 */
process.on('disconnect', () => process.exit());
process.on('message', (order: LoadOrder) => {
  run(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    },
  );
});

async function run(order: LoadOrder): Promise<LoadReport> {
  const { path, body } = reviewCase(order.decision, order.sizeKb);
  const head =
    `POST ${path}?timeout=5s HTTP/1.1\r\nHost: 127.0.0.1:${order.port}\r\nUser-Agent: kube-apiserver-admission\r\n` +
    `Accept: application/json, */*\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  const request = Buffer.from(head + body);
  const sockets = await Promise.all(Array.from({ length: order.connections }, () => open(order)));
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const began = performance.now();
  const end = began + order.ms;
  let answer = '';
  await Promise.all(
    sockets.map(async (socket) => {
      do {
        const asked = performance.now();
        answer = await exchange(socket, request);
        latencies.push(performance.now() - asked);
      } while (performance.now() < end || latencies.length < order.requests);
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  for (const socket of sockets) socket.destroy();
  return {
    requests: latencies.length,
    seconds,
    latencies,
    ownCpuSeconds: (user + system) / 1e6,
    answer,
  };
}

async function open({ port, ca }: LoadOrder): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ca, servername: '' });
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  return socket;
}

/** One request, and the body of its answer. */
function exchange(socket: TLSSocket, request: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const finish = (settle: () => void) => {
      socket.removeAllListeners('data');
      socket.removeAllListeners('close');
      settle();
    };
    socket.on('close', () => finish(() => reject(new Error('the server has closed the connection'))));
    socket.on('data', (part: Buffer) => {
      // Its answers are ASCII: a character is a byte.
      text += part.toString('latin1');
      const headEnd = text.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const length = Number(/^content-length: (\d+)/im.exec(text.slice(0, headEnd))?.[1]);
      if (text.length < headEnd + 4 + length) return;
      if (!text.startsWith('HTTP/1.1 200 ')) finish(() => reject(new Error(text.slice(0, 1000))));
      else finish(() => resolve(text.slice(headEnd + 4)));
    });
    socket.write(request);
  });
}
