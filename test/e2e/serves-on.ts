import assert from 'node:assert/strict';
import { parseDeployment } from '../../src/hold/deployment.ts';
import type { Timeline } from './timeline.ts';

/** All the time of this timeline so many pods of the one Deployment were available, and nothing of a rollout began. */
export function assertServesOn(timeline: Timeline, replicas: number): void {
  const available = timeline
    .of('Deployment')
    .map(({ object }) => parseDeployment(object).status.availableReplicas);
  assert.deepEqual([...new Set(available)], [replicas]);
  assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
}
