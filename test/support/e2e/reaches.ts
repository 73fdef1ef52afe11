import assert from 'node:assert/strict';
import type { CommandResult } from '../../cluster/lab/command.ts';
import type { Lab } from '../../cluster/lab/lab.ts';

/** Longer than a first packet and its repetition after 1 s. */
const TIMEOUT_SECONDS = 3;
const NOT_REACHED = 7;

/** A pod to try from, and what its image has for it. */
export interface Origin {
  readonly namespace: string;
  readonly pod: string;
  readonly tool: 'node' | 'busybox';
}

const NODE_CLIENT = `
const [host, port, seconds] = process.argv.slice(1);
const socket = require('node:net').connect({ host, port: Number(port) });
socket.on('connect', () => process.exit(0)).on('error', () => process.exit(${NOT_REACHED}));
setTimeout(() => process.exit(${NOT_REACHED}), seconds * 1000);`;
const BUSYBOX_CLIENT = `nc -w "$3" "$1" "$2" < /dev/null || exit ${NOT_REACHED}`;

/** Whether a TCP connection from inside the pod comes about. */
export async function reaches(lab: Lab, origin: Origin, address: string, port: number): Promise<boolean> {
  const target = [address, String(port), String(TIMEOUT_SECONDS)];
  const client =
    origin.tool === 'node' ? ['node', '--eval', NODE_CLIENT] : ['sh', '-c', BUSYBOX_CLIENT, 'sh'];
  const { code, stderr } = await execIn(lab, origin, [...client, ...target]);
  assert.ok(code === 0 || code === NOT_REACHED, stderr);
  return code === 0;
}

export function execIn(
  lab: Lab,
  { namespace, pod }: Origin,
  command: readonly string[],
): Promise<CommandResult> {
  return lab.kubectl(['-n', namespace, 'exec', pod, '--', ...command], { timeoutSeconds: 30 });
}
