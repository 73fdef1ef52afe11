import { homedir } from 'node:os';
import { join } from 'node:path';

/** Everything a running lab writes. One lab a machine, so one place, whichever clone started it. */
export const STATE = '/var/lib/pullgate-lab';

/** Outside STATE: `down` removes STATE while it holds the lock. */
export const LOCK = '/run/pullgate-lab.lock';
/** Two benches at once would measure each other. */
export const BENCH_LOCK = '/run/pullgate-bench.lock';

/** What survives `down`: unpacked packages and built binaries, keyed by version, shared by all clones. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'pullgate');
}

export function state(...parts: string[]): string {
  return join(STATE, ...parts);
}
