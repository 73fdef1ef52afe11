import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { asObject, type JsonObject } from '../../../src/json.ts';
import { readGround } from './ground.ts';
import type { Lab } from './lab.ts';
import { signal } from './process-table.ts';

export interface ContainerdEvent {
  /** In milliseconds since the epoch. */
  readonly at: number;
  /** Such as `/images/create`. */
  readonly topic: string;
  readonly event: JsonObject;
}

/** As `ctr events` prints it: the time as Go does, the namespace, the topic, the event. */
const LINE = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,3})?)\d* \+0000 UTC \S+ (\/\S+) (\{.*\})$/;

export function parseContainerdEvent(line: string): ContainerdEvent | undefined {
  const [, day, time, topic = '', event] = LINE.exec(line) ?? [];
  if (event === undefined) return undefined;
  try {
    return { at: Date.parse(`${day}T${time}Z`), topic, event: asObject(JSON.parse(event)) };
  } catch {
    // The last line of one that was ended may be cut anywhere.
    return undefined;
  }
}

/** What the containerd of a node does from now on, until it ends or the function that is returned is called. */
export function followContainerd(
  lab: Lab,
  node: string,
  onEvent: (event: ContainerdEvent) => void,
): () => void {
  const [program = '', ...args] = lab.enterNode(node, ['ctr', '--namespace', 'k8s.io', 'events']);
  // A group of its own: nsenter, which forks to enter a pid namespace, does not pass signals on.
  const child = spawn(program, args, {
    env: readGround()?.tools.env ?? {},
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = parseContainerdEvent(line);
    if (event !== undefined) onEvent(event);
  });
  return () => {
    // It ends with its node.
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (child.pid !== undefined && !ended) signal(-child.pid, 'SIGKILL');
  };
}
