import type { DeploymentUpgrade, MissingTag, Results } from './results.ts';

function starting(seconds: number[], rest: Partial<DeploymentUpgrade> = {}): DeploymentUpgrade {
  const starts = seconds.map((value, index) => ({ pod: `pod-${index + 1}`, seconds: value }));
  return { withoutReadyPod: 0, rollout: 3, starts, ...rest };
}

function pull(pod: string, node: string, seconds: number) {
  return { pod, node, seconds, secondsWithWaiting: seconds };
}

const timedOut = { exitCode: 1, seconds: 20.1, lastLine: 'error: timed out waiting for the condition' };

/** What a demo finds that goes well; a test changes what it is about. */
export const GOOD: Results = {
  nodes: ['node-1', 'node-2'],
  megabytes: 300,
  ungated: {
    critical: starting([31.3], { withoutReadyPod: 35.7, rollout: 35.8 }),
    web: starting([31, 1, 1], { rollout: 35.7 }),
    pulls: [pull('pod-1', 'node-1', 30.6), pull('other', 'node-2', 30)],
  },
  gated: {
    critical: starting([0.8], { withoutReadyPod: 3.1, held: 31.9 }),
    web: starting([0.9, 1.3, 1], { held: 31.7 }),
    pulls: [pull('puller-1', 'node-1', 30.7), pull('puller-2', 'node-2', 30.2)],
  },
  missing: {
    ungated: { withoutReadyPod: 20.4, readyPods: 0, rolloutStatus: timedOut },
    gated: {
      withoutReadyPod: 0,
      readyPods: 1,
      rolloutStatus: { exitCode: 1, seconds: 2.3, lastLine: 'error: deployment "critical" exceeded ...' },
      registryMessage: 'registry/app:typo: not found',
    },
  },
};

export function gatedCritical(change: Partial<DeploymentUpgrade>): Results {
  return { ...GOOD, gated: { ...GOOD.gated, critical: { ...GOOD.gated.critical, ...change } } };
}

export function missing(which: 'ungated' | 'gated', change: Partial<MissingTag>): Results {
  return { ...GOOD, missing: { ...GOOD.missing, [which]: { ...GOOD.missing[which], ...change } } };
}
