import type { Clock } from '../../clock.ts';
import type { Logger } from '../../log.ts';
import type { LogLimit } from '../../log-limit.ts';
import { type PodIndex, podKey } from '../pods/pod-index.ts';
import type { PodWriter } from '../pods/pod-writer.ts';
import type { PullSharers } from '../pods/pull-sharers.ts';
import type { PullerPod } from '../pods/puller-pod-status.ts';
import { type Budget, createBudget } from './budget.ts';
import type { Place } from './take-back.ts';

/** The places for pulls in the whole cluster: the budget with the puller pods that hold the places. */
export interface PullPlaces extends Budget {
  /** Returns whether the pod was deleted because it took too long and others wanted its place. Returns true only once. */
  endedOverdue(gone: PullerPod): boolean;
}

export function createPullPlaces(options: {
  readonly cap: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limitProgress: LogLimit;
  readonly pods: PodIndex;
  readonly writer: Pick<PodWriter, 'isStuck' | 'isRemoving' | 'isQueued' | 'cancel' | 'delete'>;
  readonly sharers: Pick<PullSharers, 'isUrgent'>;
  readonly wake: (key: string) => void;
}): PullPlaces {
  const { cap, timeoutMs, clock, log, limitProgress, pods, writer, sharers, wake } = options;
  /** uids of pods. */
  const overdue = new Set<string>();

  function stateOf(pod: PullerPod): Place['state'] {
    if (pod.uid !== '') return writer.isStuck(pod) ? 'stuck' : writer.isRemoving(pod) ? 'leaving' : 'pulling';
    return writer.isQueued(pod) ? 'queued' : 'creating';
  }

  function takeBack({ pod, state }: Place, why: 'overdue' | 'surplus'): void {
    limitProgress(pod.namespace, (fields) =>
      log.info({ pod: podKey(pod), node: pod.node, why, ...fields }, 'taking back the place of a pull'),
    );
    if (state !== 'queued' && why === 'overdue') overdue.add(pod.uid);
    if (state === 'queued') writer.cancel(pod);
    else void writer.delete(pod);
  }

  const budget = createBudget({
    ...{ cap, timeoutMs, clock, takeBack, wake },
    running: () => pods.running,
    stuck() {
      let count = 0;
      for (const [pod] of pods.underWay()) count += Number(writer.isStuck(pod));
      return count;
    },
    places: () =>
      Array.from(pods.underWay(), ([pod, since]) => ({
        ...{ pod, since, urgent: sharers.isUrgent(pod), state: stateOf(pod) },
      })),
  });
  return { ...budget, endedOverdue: ({ uid }) => overdue.delete(uid) };
}
