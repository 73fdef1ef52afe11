import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from '../cluster/lab/command.ts';
import { LabError, messageOf } from '../cluster/lab/errors.ts';
import { type Machine, startMachine } from '../cluster/lab/machine.ts';
import type { Release } from '../cluster/lab/prepare.ts';

type Log = (line: string) => void;

/** Two labs of two nodes with the gates and pods of their tests take some 4,000. */
const MEMORY_MEGABYTES = 6000;
const UP_SECONDS = 300;

/** A lab beside that of this machine. */
export interface SecondLab {
  /** The same command, run in its machine. */
  enter(argv: readonly string[]): string[];
  /** Where its API server writes what it is asked. */
  readonly auditFolder: string;
  /** A fresh lab of that release, whose audit log begins with this period. */
  up(kubernetes: Release | undefined, period: string, log: Log): Promise<void>;
  /** Ends all of it but its files. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

/** Undefined, and one line that says why, where only one lab can be. */
export async function secondLab(
  env: Readonly<Record<string, string>>,
  log: Log,
): Promise<SecondLab | undefined> {
  let machine: Machine;
  try {
    const lacking = lacks(availableParallelism(), availableMegabytes());
    if (lacking !== undefined) throw new LabError(lacking);
    machine = await startMachine('2', env);
  } catch (error) {
    log(`no second lab, so every file runs after the other on one: ${messageOf(error)}`);
    return undefined;
  }
  return {
    enter: machine.enter,
    auditFolder: join(machine.state, 'audit'),
    async up(kubernetes, period, say) {
      const program = join(import.meta.dirname, 'up.ts');
      const argv = machine.enter([process.execPath, program, kubernetes ?? '', period]);
      const { stdout } = await run(argv, { timeoutSeconds: UP_SECONDS });
      for (const line of stdout.split('\n').filter(Boolean)) say(`second ${line}`);
    },
    stop: machine.stop,
    remove: machine.remove,
  };
}

/** What a second lab would need that this machine has not. */
export function lacks(processors: number, memoryMegabytes: number): string | undefined {
  if (processors < 2) return `it needs 2 processors, and there is ${processors}`;
  if (memoryMegabytes < MEMORY_MEGABYTES) {
    return `it needs ${MEMORY_MEGABYTES} MB of memory, and ${memoryMegabytes} MB are available`;
  }
  return undefined;
}

function availableMegabytes(): number {
  const kilobytes = /^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return Math.floor(Number(kilobytes ?? 0) / 1024);
}
