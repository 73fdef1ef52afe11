import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from '../stress/soak/soak.ts';

/** Too short for the slope of a heap, that is for `npm run test:soak`; but one object kept of each hold is seen. */
test('holds come and go: nothing of one stays in memory, nothing stays paused, no puller pod is left', {
  timeout: 150_000,
}, async () => {
  const { problems, outcomes, deployments } = await soak({
    minutes: 0.5,
    rate: 3,
    progress: () => undefined,
  });
  assert.deepEqual(problems, []);
  for (const [outcome, count] of Object.entries(outcomes)) assert.ok(count > 0, `none: ${outcome}`);
  const holds = outcomes.opened + outcomes.superseded;
  assert.ok(holds > 1.5 * deployments, `${holds} holds of ${deployments} Deployments`);
});
