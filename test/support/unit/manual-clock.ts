import type { Clock } from '../../../src/clock.ts';

export interface ManualClock extends Clock {
  /** Moves on and calls what has become due, in order. */
  advance(ms: number): void;
  /** Milliseconds until each timer that is set, soonest first. */
  timers(): number[];
}

/** A clock that stands still until a test moves it. */
export function manualClock(startEpochMs = Date.UTC(2026, 0, 1)): ManualClock {
  let elapsed = 0;
  let timers: { readonly at: number; readonly fn: () => void }[] = [];
  return {
    now: () => startEpochMs + elapsed,
    monotonic: () => elapsed,
    setTimer(ms, fn) {
      const timer = { at: elapsed + ms, fn };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const end = elapsed + ms;
      for (;;) {
        const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers = timers.filter((other) => other !== due);
        elapsed = due.at;
        due.fn();
      }
      elapsed = end;
    },
    timers: () => timers.map(({ at }) => at - elapsed).sort((a, b) => a - b),
  };
}
