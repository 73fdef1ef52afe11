import { systemClock, wait } from '../../../src/clock.ts';
import { up } from '../../cluster/lab/lab.ts';
import { mainProcess, signal } from '../../cluster/lab/process-table.ts';
import { type Random, randomOf } from '../../support/random.ts';
import type { RunningGate } from './gated-run.ts';

/** What happens to the processes, one after the other, while sequences run. */
interface Disturbance {
  readonly afterMs: number;
  /** `restartGate`: killed, and started at once. `outage`: killed, and away for so long. */
  readonly what: 'restartGate' | 'outage' | 'killApiServer';
  readonly forMs: number;
}

const NEVER = new AbortController().signal;

/**
 * The controllers of Kubernetes come back to a killed API server ever later, after 30 s and more, unless two minutes have gone
 * by since the last time (client-go 0.20, the back-off of its Reflector): else all of the waiting would be for them.
 */
const GROUPS_BETWEEN = 4;

/** The same for the same pair. */
export function disturbances(seed: number, group: number): Disturbance[] {
  // Other numbers than those of the sequences.
  const random = randomOf(seed, -1 - group);
  const kinds: Disturbance['what'][] = ['outage', 'restartGate', 'outage'];
  if (group % GROUPS_BETWEEN === 0) kinds[1] = 'killApiServer';
  return kinds.map((what) => ({
    what,
    afterMs: 300 + random.below(2500),
    forMs: outageMs(random),
  }));
}

function outageMs(random: Random): number {
  return 500 + random.below(3000);
}

export async function disturb(gate: RunningGate, list: readonly Disturbance[]): Promise<void> {
  for (const { what, afterMs, forMs } of list) {
    await wait(systemClock, afterMs, NEVER);
    if (what === 'killApiServer') {
      signal(mainProcess('hub/kube-apiserver')?.pid ?? 0, 'SIGKILL');
      await up();
      continue;
    }
    await gate.kill();
    if (what === 'outage') await wait(systemClock, forMs, NEVER);
    await gate.start();
  }
}
