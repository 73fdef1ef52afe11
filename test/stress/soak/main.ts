import { parseArgs } from 'node:util';
import { writePage } from '../../support/page-file.ts';
import { reportPage, reportText } from './report-text.ts';
import { soak } from './soak.ts';

/** `npm run test:soak -- [--minutes M] [--keep]`: holds come and go, and the gate's memory must not. With `--keep` into docs/faults.md. */
const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '15' }, keep: { type: 'boolean', default: false } },
});
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 24 * 60)) {
  process.stderr.write(`--minutes takes a number up to 1440, not ${values.minutes}\n`);
  process.exit(2);
}

/** About 0.3 s of CPU a hold for all that takes part: two thirds of a core. */
const RATE = 2;

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const report = await soak({
  minutes,
  rate: RATE,
  progress: (line) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`),
});
process.stdout.write(`${reportText(report)}\n`);
if (values.keep) writePage('memory', reportPage(report, new Date().toISOString().slice(0, 10)));
process.exitCode = report.problems.length === 0 ? 0 : 1;
