import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureText, run } from '../stress/model/run.ts';

/** What a run has found can be found again: the seed is in the message. */
async function passes(counts: { readonly runs: number; readonly serial: number }): Promise<void> {
  const seed = Date.now() % 2 ** 31;
  process.stdout.write(`seed ${seed}\n`);
  const { failures, runs, counts: seen } = await run({ seed, ...counts, progress: () => undefined });
  assert.equal(failures.map((failure) => failureText(failure, seed)).join('\n'), '');
  assert.equal(runs, counts.runs + counts.serial);
  for (const what of ['held', 'released preloaded', 'pod']) assert.ok((seen[what] ?? 0) > 0, `none: ${what}`);
}

test('random sequences of user operations and world events keep every promise', () =>
  passes({ runs: 20, serial: 0 }));

test('so they do while the gate and the API server are killed and the webhook is away', () =>
  passes({ runs: 0, serial: 10 }));
