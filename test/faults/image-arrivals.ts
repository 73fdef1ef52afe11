import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { readGround } from '../lab/ground.ts';
import type { Lab } from '../lab/lab.ts';
import { signal } from '../lab/process-table.ts';
import type { Arrival } from './history.ts';

/** What the containerd of each node says that it has, from the moment that it is followed. */
export interface ImageArrivals {
  readonly arrivals: readonly Arrival[];
  follow(node: string): void;
  stop(): void;
}

/** As `ctr events` prints it: the time as Go does, the namespace, the topic, the event. containerd names an image once all of it is there. */
const CREATED =
  /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,3})?)\d* \+0000 UTC \S+ \/images\/create \{"name":"([^"]+)"/;

export function parseArrival(line: string): { readonly at: number; readonly image: string } | undefined {
  const [, day, time, image] = CREATED.exec(line) ?? [];
  return image === undefined ? undefined : { at: Date.parse(`${day}T${time}Z`), image };
}

export function imageArrivals(lab: Lab): ImageArrivals {
  const arrivals: Arrival[] = [];
  const following: (() => void)[] = [];
  return {
    arrivals,
    follow(node) {
      const [program = '', ...args] = lab.enterNode(node, ['ctr', '--namespace', 'k8s.io', 'events']);
      // A group of its own: nsenter, which forks to enter a pid namespace, does not pass signals on.
      const child = spawn(program, args, {
        env: readGround()?.tools.env ?? {},
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      });
      following.push(() => {
        // It ends with its node.
        const ended = child.exitCode !== null || child.signalCode !== null;
        if (child.pid !== undefined && !ended) signal(-child.pid, 'SIGKILL');
      });
      createInterface({ input: child.stdout }).on('line', (line) => {
        const arrival = parseArrival(line);
        if (arrival !== undefined) arrivals.push({ ...arrival, node });
      });
    },
    stop() {
      for (const end of following.splice(0)) end();
    },
  };
}
