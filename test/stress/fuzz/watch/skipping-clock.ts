import type { Clock } from '../../../../src/clock.ts';

export interface SkippingClock extends Clock {
  /** Moves on by so much at once: timers that are due then fire soon. */
  skip(ms: number): void;
}

/** Timers of one moment fire one after the other, as they would if their times had been apart. */
const APART_MS = 1;

/** The system's time, and what was skipped. Hours pass in seconds, and sockets work as ever. */
export function skippingClock(): SkippingClock {
  interface Timer {
    readonly at: number;
    readonly fn: () => void;
    handle: NodeJS.Timeout;
  }
  const timers = new Set<Timer>();
  let skipped = 0;
  const monotonic = () => performance.now() + skipped;

  function set(timer: Omit<Timer, 'handle'>, ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      timers.delete(timer as Timer);
      timer.fn();
    }, ms);
  }

  return {
    now: () => Date.now() + skipped,
    monotonic,
    setTimer(ms, fn) {
      const timer = { at: monotonic() + ms, fn } as Timer;
      timer.handle = set(timer, ms);
      timers.add(timer);
      return () => {
        clearTimeout(timer.handle);
        timers.delete(timer);
      };
    },
    skip(ms) {
      skipped += ms;
      let late = 0;
      for (const timer of timers) {
        clearTimeout(timer.handle);
        const in_ = timer.at - monotonic();
        if (in_ <= 0) late += APART_MS;
        timer.handle = set(timer, Math.max(in_, late));
      }
    },
  };
}
