import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.ts';
import { MEMORY_LIMIT_MB, memoryGrowth } from './memory.ts';

/** `npm run test:fuzz -- [--runs N] [--seed S] [--only INDEX]`: hostile reviews to the admission endpoint, over TLS. */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    only: { type: 'string' },
  },
});
const runs = wholeNumber('runs', values.runs);
const seed = wholeNumber('seed', values.seed);
const only = values.only === undefined ? undefined : wholeNumber('only', values.only);

process.stdout.write(`seed ${seed}, ${only === undefined ? `${runs} requests` : `request ${only} alone`}\n`);
const began = performance.now();
const report = await fuzz({
  seed,
  runs: only === undefined ? runs : { only },
  progress: (done) => {
    if (done % 10_000 === 0) process.stdout.write(`${done} after ${seconds()} s\n`);
  },
});
const growth = memoryGrowth(report);
const failures = [...report.failures];
if (growth.usedMb > MEMORY_LIMIT_MB) failures.push(`memory grew by ${growth.usedMb} MB`);
for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
process.stdout.write(
  [
    `${failures.length} failures in ${seconds()} s, seed ${seed}`,
    `answers: ${listed(report.outcomes)}; the slowest took ${Math.round(report.slowestMs)} ms`,
    `sent: ${listed(report.deliveries)}`,
    `memory grew by ${growth.usedMb} MB to ${growth.afterMb} MB (limit ${MEMORY_LIMIT_MB} MB); resident by ${growth.residentMb} MB`,
    '',
  ].join('\n'),
);
process.exitCode = failures.length === 0 ? 0 : 1;

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  process.stderr.write(`--${name} takes a whole number, not ${text}\n`);
  process.exit(2);
}

function listed(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([what, count]) => `${what} ${count}`)
    .join(', ');
}

function seconds(): string {
  return ((performance.now() - began) / 1000).toFixed(1);
}
