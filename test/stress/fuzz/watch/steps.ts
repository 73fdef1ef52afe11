/** While it runs, nothing else does: no answer to an API server, no renewal of the Lease. */
const LIMIT_MS = 100;
const TICK_MS = 10;
/** How the words about one begin. */
export const LONG_STEP = 'a step took';

/**
 * Tells of each turn of the event loop that takes more CPU than `LIMIT_MS`. Of the CPU, not of the time: on a busy machine a
 * process waits for its turn.
 */
export function watchSteps(tell: (words: string) => void): { pause(paused: boolean): void } {
  let before = cpuMs();
  let isPaused = false;
  // The timer is late by as much as a turn takes. Between two ticks there are TICK_MS of short turns and one long one at most.
  setInterval(() => {
    const now = cpuMs();
    if (!isPaused && now - before > LIMIT_MS + TICK_MS)
      tell(`${LONG_STEP} ${Math.round(now - before)} ms of CPU`);
    before = now;
  }, TICK_MS).unref();
  return {
    pause(paused) {
      isPaused = paused;
      before = cpuMs();
    },
  };
}

/** Of this thread: what a collector of garbage does beside it holds up nothing. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
