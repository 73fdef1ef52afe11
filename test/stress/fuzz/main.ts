import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.ts';
import { MEMORY_LIMIT_MB, memoryGrowth } from './memory.ts';
import { fuzzWatches } from './watch/fuzz.ts';

/**
 * `npm run test:fuzz -- [--runs N] [--seed S] [--only INDEX]`: hostile reviews to the admission endpoint, over TLS.
 * `npm run test:fuzz -- watch [--objects N] [--seed S] [--from INDEX]`: hostile objects to the controllers.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '100000' },
    objects: { type: 'string', default: '50000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    only: { type: 'string' },
    from: { type: 'string', default: '0' },
  },
});
const seed = wholeNumber('seed', values.seed);
const began = performance.now();

const [what] = positionals;
if (what === 'watch') await watches();
else if (what === undefined) await admission();
else wrongUsage(`either nothing or watch, not ${what}`);

async function admission(): Promise<void> {
  const runs = wholeNumber('runs', values.runs);
  const only = values.only === undefined ? undefined : wholeNumber('only', values.only);
  say(`seed ${seed}, ${only === undefined ? `${runs} requests` : `request ${only} alone`}`);
  const report = await fuzz({
    seed,
    runs: only === undefined ? runs : { only },
    progress: (done) => done % 10_000 === 0 && say(`${done} after ${seconds()} s`),
  });
  const growth = memoryGrowth(report);
  const failures = [...report.failures];
  if (growth.usedMb > MEMORY_LIMIT_MB) failures.push(`memory grew by ${growth.usedMb} MB`);
  tell(failures);
  say(`answers: ${listed(report.outcomes)}; the slowest took ${Math.round(report.slowestMs)} ms`);
  say(`sent: ${listed(report.deliveries)}`);
  say(
    `memory grew by ${growth.usedMb} MB to ${growth.afterMb} MB (limit ${MEMORY_LIMIT_MB} MB); resident by ${growth.residentMb} MB`,
  );
}

async function watches(): Promise<void> {
  const objects = wholeNumber('objects', values.objects);
  const from = wholeNumber('from', values.from);
  say(`seed ${seed}, ${objects} objects from ${from} on`);
  const report = await fuzzWatches({
    seed,
    from,
    objects,
    progress: (done) => done % 1000 === 0 && say(`up to ${done} after ${seconds()} s`),
  });
  const failures = [...report.failures];
  const { before, during, after } = report;
  const growths = {
    'while they were there': memoryGrowth({ before, after: during }),
    'in the end': memoryGrowth({ before, after }),
  };
  for (const [when, { usedMb }] of Object.entries(growths))
    if (usedMb > MEMORY_LIMIT_MB) failures.push(`memory had grown by ${usedMb} MB ${when}`);
  tell(failures);
  say(`happened: ${listed(report.operations)}`);
  say(`requests of the gate: ${listed(report.calls)}`);
  say(`${report.canaries} canaries; the slowest took ${Math.round(report.slowestMs)} ms of the gate's time`);
  for (const [when, { usedMb, afterMb }] of Object.entries(growths))
    say(`memory grew by ${usedMb} MB to ${afterMb} MB ${when} (limit ${MEMORY_LIMIT_MB} MB)`);
}

function tell(failures: readonly string[]): void {
  for (const failure of failures) say(`FAILED ${failure}`);
  say(`${failures.length} failures in ${seconds()} s, seed ${seed}`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  return wrongUsage(`--${name} takes a whole number, not ${text}`);
}

function wrongUsage(line: string): never {
  process.stderr.write(`${line}\n`);
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
