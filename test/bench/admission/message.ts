import type { DecisionCase } from './cases.ts';

/** From a server's process, once it listens. */
export interface Listening {
  readonly port: number;
  /** PEM. */
  readonly ca: string;
}

/** What the load is to do: `connections` requests at a time, each as soon as the one before was answered. */
export interface LoadOrder extends Listening {
  readonly decision: DecisionCase;
  readonly sizeKb: number;
  readonly connections: number;
  /** For so long, and until so many have been answered. */
  readonly ms: number;
  readonly requests: number;
}

export interface LoadReport {
  readonly requests: number;
  readonly seconds: number;
  /** Of each request, in milliseconds: from the first byte written to the last one read. */
  readonly latencies: readonly number[];
  /** Of the load itself: near 1 it would be what is measured. */
  readonly ownCpuSeconds: number;
  /** The body of the last answer. */
  readonly answer: string;
}

/** To the floor: what it is to answer from now on. */
export interface FloorAnswer {
  readonly answer: string;
}
