import { type Slope, slope } from './slope.ts';

export interface Sample {
  readonly seconds: number;
  /** That were opened until then. */
  readonly holds: number;
  /** Data on the heap and what hangs on it, after collections; no code. */
  readonly liveMb: number;
  /** What V8 has for its heap, used or not. */
  readonly heapMb: number;
  readonly residentMb: number;
  readonly cpuSeconds: number;
}

export interface Growth {
  /** In what it is seen over. */
  readonly holds: number;
  readonly mbPerHour: Slope;
  readonly mbPer1000Holds: Slope;
}

/**
 * What live memory may grow by with a thousand holds that are over. An ImagePreload with its status, as the gate's cache has
 * it, takes 2.2 kB (10,000 of them, Node 24.21): one left behind by each hold is twice as much. What is allowed is the
 * memory of told facts, which has 0.3 kB a hold until its 10,000 are full (src/cluster/events.ts). And 1 kB a hold is
 * 100 MB in a hundred days of 1,000 rollouts: a gate is upgraded sooner.
 */
export const LIMIT_MB_PER_1000_HOLDS = 1;

/** Over the last two thirds: at first code is compiled, and caches fill up to their bounds. */
export function growth(samples: readonly Sample[], mb: (sample: Sample) => number): Growth {
  const settled = settledOf(samples);
  const by = (x: (sample: Sample) => number, unit: number): Slope =>
    slope(settled.map((sample) => ({ x: x(sample) / unit, y: mb(sample) })));
  return {
    holds: (settled.at(-1)?.holds ?? 0) - (settled[0]?.holds ?? 0),
    mbPerHour: by(({ seconds }) => seconds, 3600),
    mbPer1000Holds: by(({ holds }) => holds, 1000),
  };
}

function settledOf(samples: readonly Sample[]): readonly Sample[] {
  return samples.slice(Math.floor(samples.length / 3));
}

/** Of fewer the heap says nothing: it varies by some hundreds of kilobytes with nothing kept. */
const FEWEST_HOLDS = 1000;

export function isJudged({ holds }: Growth): boolean {
  return holds >= FEWEST_HOLDS;
}

/** Whether it is above the limit by more than what samples vary by: twice the standard error. */
export function isAboveLimit(growth: Growth): boolean {
  const { of, error } = growth.mbPer1000Holds;
  return isJudged(growth) && of - 2 * error > LIMIT_MB_PER_1000_HOLDS;
}
