import assert from 'node:assert/strict';
import { parseDeployment } from '../../../src/api/deployment.ts';
import type { Timeline } from './timeline.ts';

/** In each version of the one Deployment in this timeline, so many of its pods were available. */
export function assertAvailable(timeline: Timeline, replicas: number): void {
  const available = timeline
    .of('Deployment')
    .map(({ object }) => parseDeployment(object).status.availableReplicas);
  assert.deepEqual([...new Set(available)], [replicas]);
}

/** The same, and no rollout began. Only for a hold that lasts: once released, its rollout begins at any moment. */
export function assertServesOn(timeline: Timeline, replicas: number): void {
  assertAvailable(timeline, replicas);
  assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
}
