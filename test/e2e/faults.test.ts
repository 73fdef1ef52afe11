import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { FAULTS } from '../stress/faults/faults.ts';
import type { Lane } from '../stress/faults/lane.ts';
import { runFault } from '../stress/faults/run-fault.ts';
import { type Stage, setStage } from '../stress/faults/stage.ts';

/** Long enough for each fault to be felt. etcd's is longer than a Lease lasts, so that there is no leader any more. */
const SECONDS: Readonly<Record<string, number>> = { etcd: 30, nodes: 12, watches: 6, 'api-errors': 6 };
const OTHERS_SECONDS = 5;

let stage: Stage;
let lane: Lane;

before(async () => {
  stage = await setStage();
  [lane] = await Promise.all([stage.lane(), stage.spareNode()]);
});
after(() => stage.end());

for (const fault of FAULTS) {
  test(`nothing is lost, paused for ever or released early: ${fault.what}`, async (t) => {
    const began = performance.now();
    const log = (line: string) =>
      t.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s  ${line}`);
    const seconds = SECONDS[fault.name] ?? OTHERS_SECONDS;
    const { recoverySeconds, broken } = await runFault(stage, lane, fault, { seconds, log });
    log(`the next hold was released ${recoverySeconds.toFixed(1)} s after ${fault.from}`);
    assert.deepEqual(broken, []);
  });
}
