import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onLab } from '../bench/lab/stage.ts';
import { measureStart, SHORT } from '../bench/lab/start.ts';

/**
 * Node starts and ends in 44 to 71 ms, the gate's imports alone take 13 times that, Kubernetes' client, which only this kind of gate
 * has, another 6 times; the rest is what it puts into the cluster before it is ready. Twice that is more than this.
 */
const START_OVER_NODE = 60;

test(`the gate is ready after at most ${START_OVER_NODE} times what Node itself takes to start and end`, async (t) => {
  const { ratios } = await onLab((stage) => measureStart(stage, SHORT, () => undefined));
  t.diagnostic(JSON.stringify(ratios));
  assert.ok((ratios['startOverNode'] ?? Number.NaN) <= START_OVER_NODE, JSON.stringify(ratios));
});
