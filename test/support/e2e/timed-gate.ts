import type { PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import { runGate } from './run-gate.ts';

/** The gate with other times than `PULL_TIMES`, which no flag sets: they come first, in JSON. */
const [node = '', main = '', times = '', ...flags] = process.argv;
const gate = await runGate([node, main, ...flags], JSON.parse(times) as PullTimes);
await gate.ready;
