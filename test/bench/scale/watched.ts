import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { percentile } from '../../support/percentile.ts';
import type { Fact } from './watch-thread.ts';

/** A watch of our own on what the gate does, in a thread of its own: this one is busy with being thousands of kubelets. */
export interface Watched {
  /** In the order in which they were seen. */
  readonly facts: readonly Fact[];
  count(kind: Fact['kind']): number;
  /** From now on. */
  forget(): void;
  stop(): Promise<void>;
}

export async function startWatched(kubeconfig: string): Promise<Watched> {
  const worker = new Worker(new URL('watch-thread.ts', import.meta.url), { workerData: kubeconfig });
  await once(worker, 'message');
  let facts: Fact[] = [];
  const counts = new Map<Fact['kind'], number>();
  worker.on('message', (fact: Fact) => {
    facts.push(fact);
    counts.set(fact.kind, (counts.get(fact.kind) ?? 0) + 1);
  });
  return {
    get facts() {
      return facts;
    },
    count: (kind) => counts.get(kind) ?? 0,
    forget() {
      facts = [];
      counts.clear();
    },
    async stop() {
      await worker.terminate();
    },
  };
}

/** From each pull that ended to the one that took its place, where no more than so many may run; in ms. */
export function placesTaken(facts: readonly Fact[], limit: number): number[] {
  const created = facts.filter(({ kind }) => kind === 'created');
  const ended = facts.filter(({ kind }) => kind === 'pulled' || kind === 'failed');
  return created.slice(limit).map(({ at }, index) => at - (ended[index]?.at ?? at));
}

/** From the last node's pull to the Deployment that goes on, in ms. */
export function releaseLags(facts: readonly Fact[]): number[] {
  const lastPulled = new Map<string, number>();
  const lags: number[] = [];
  for (const { kind, image, at } of facts) {
    if (kind === 'pulled') lastPulled.set(image, at);
    const last = lastPulled.get(image);
    if (kind === 'released' && last !== undefined) lags.push(at - last);
  }
  return lags;
}

/** Rounded to whole ms. */
export function quantiles(values: readonly number[]): { readonly p50: number; readonly p99: number } {
  return { p50: Math.round(percentile(values, 0.5)), p99: Math.round(percentile(values, 0.99)) };
}
