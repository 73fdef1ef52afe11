import { inspect } from 'node:util';
import { systemClock, wait } from '../../../src/clock.ts';

const INTERVAL_MS = 100;

/**
 * Reads again and again until what was read is as wanted, and returns it. A read that throws counts as "not yet".
 * @throws after so many seconds, with what was read last
 */
export async function until<T>(
  what: string,
  seconds: number,
  read: () => Promise<T> | T,
  asWanted: (state: T) => boolean,
): Promise<T> {
  const never = new AbortController().signal;
  const end = performance.now() + seconds * 1000;
  for (;;) {
    let last: unknown;
    try {
      const state = await read();
      if (asWanted(state)) return state;
      last = state;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(`${what}: not so after ${seconds} s; last seen: ${inspect(last, { depth: 6 })}`);
    }
    await wait(systemClock, INTERVAL_MS, never);
  }
}
