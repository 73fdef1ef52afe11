import { LRUCache } from 'lru-cache';
import { type Awaited, allowedAt } from '../api/approval.ts';
import type { Deployment } from '../api/deployment.ts';
import { type Hold, ownHold } from '../api/hold.ts';
import type { Clock } from '../clock.ts';

/** What a hold waits for. The values of the label `waiting_for` of its metrics. */
export const WAITING_FOR = ['images', 'approval', 'time'] as const;
export type WaitingFor = (typeof WAITING_FOR)[number];

/** The holds that there are, by what they wait for. */
export type HoldsOpen = Readonly<
  Record<WaitingFor, { readonly open: number /** 0 without any. */; readonly oldestSeconds: number }>
>;

/** Counts the holds of the Deployments. */
export interface OpenHolds {
  /** Records what the hold of the Deployment waits for after its images are ready; undefined if nothing. */
  awaits(deployment: Pick<Deployment, 'uid'>, awaited: Awaited | undefined): void;
  count(deployments: Iterable<Deployment>): HoldsOpen;
}

/** A hold that is forgotten counts as waiting for its images until its next reconcile. */
const REMEMBERED = 10_000;

export function createOpenHolds(clock: Pick<Clock, 'now'>): OpenHolds {
  const awaiting = new LRUCache<string, WaitingFor>({ max: REMEMBERED });
  /** Parsed once: a hold has up to 32 KiB. */
  const holdOf = new WeakMap<Deployment, Hold | 'none'>();

  function cachedHold(deployment: Deployment): Hold | undefined {
    const hold = holdOf.get(deployment) ?? ownHold(deployment) ?? 'none';
    holdOf.set(deployment, hold);
    return hold === 'none' ? undefined : hold;
  }

  return {
    awaits({ uid }, awaited) {
      if (awaited === undefined) awaiting.delete(uid);
      else awaiting.set(uid, awaited.kind === 'Approval' ? 'approval' : 'time');
    },
    count(deployments) {
      const holds = { images: none(), approval: none(), time: none() };
      for (const deployment of deployments) {
        const hold = cachedHold(deployment);
        if (hold === undefined) continue;
        const began = waitsSince(deployment, hold, clock.now());
        const entry = holds[awaiting.get(deployment.uid) ?? 'images'];
        entry.open += 1;
        entry.oldestSeconds = Math.max(entry.oldestSeconds, (clock.now() - began) / 1000);
      }
      return holds;
    },
  };
}

function none(): { open: number; oldestSeconds: number } {
  return { open: 0, oldestSeconds: 0 };
}

/** Returns since when a hold has waited for what only Pullgate and the nodes can do, in ms since the epoch. */
export function waitsSince(deployment: Deployment, hold: Hold, now: number): number {
  return Math.max(Date.parse(hold.since), allowedAt(deployment, hold, now) ?? 0);
}
