import assert from 'node:assert/strict';
import { asString, at, type JsonObject } from '../../../src/json.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { isPullerPod } from './namespace.ts';
import type { Timeline } from './timeline.ts';

/** As they were created, in that order. */
export function pullerPodsOf(timeline: Timeline): JsonObject[] {
  return timeline
    .of('Pod')
    .filter(({ type, object }) => type === 'ADDED' && isPullerPod(object))
    .map(({ object }) => object);
}

/** One of one attempt: no node refused its first. */
export function assertOneOnEveryNode(lab: Lab, timeline: Timeline): void {
  const nodes = pullerPodsOf(timeline).map((pod) => asString(at(pod, 'spec', 'nodeName')) ?? '');
  assert.deepEqual(nodes.sort(), lab.nodes());
}
