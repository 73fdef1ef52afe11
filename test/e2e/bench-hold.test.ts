import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureHold, SHORT } from '../bench/lab/hold.ts';
import { onLab } from '../bench/lab/stage.ts';

/** The goal is 1 s; `npm run demo` shows 0.8 s. Of three the best counts, as noise only adds. Twice 0.8 s is no longer below. */
const OVERHEAD_SECONDS = 1.6;
/** Both do the same pull on the same nodes. Measured 0.9 with both cores overloaded, which is where it is worst. */
const OVER_DAEMON_SET = 1;

test('a hold takes little more than the pull, and no longer than a DaemonSet takes to preload', async (t) => {
  const { rows } = await onLab((stage) => measureHold(stage, SHORT, () => undefined));
  const best = (way: string, column: string) =>
    Math.min(...rows.filter((row) => row['way'] === way).map((row) => Number(row[column])));
  const overhead = best('gate', 'heldOverPull');
  const overDaemonSet = best('gate', 'preload') / best('DaemonSet', 'preload');
  t.diagnostic(
    `held ${overhead} s longer than the pull; ${overDaemonSet.toFixed(2)} of the time of a DaemonSet`,
  );
  assert.ok(overhead <= OVERHEAD_SECONDS, `${overhead} s`);
  assert.ok(overDaemonSet <= OVER_DAEMON_SET, `${overDaemonSet}`);
});
