import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInside } from '../../cluster/lab/inside.ts';
import { up } from '../../cluster/lab/lab.ts';
import { failureText, run } from './run.ts';

/** `npm run test:model -- [--runs N] [--serial M] [--seed S] [--only INDEX] [--permission]`: the model-based test, on the lab. */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20' },
    serial: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    only: { type: 'string' },
    permission: { type: 'boolean', default: false },
    // Set by this file itself.
    inside: { type: 'boolean', default: false },
  },
});

process.exitCode = values.inside ? await here() : await insideTheLab();

async function insideTheLab(): Promise<number> {
  const lab = await up({ log: (line) => process.stdout.write(`lab: ${line}\n`) });
  const argv = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2), '--inside'];
  return await runInside(lab, argv);
}

async function here(): Promise<number> {
  const seed = wholeNumber('seed', values.seed);
  const began = performance.now();
  const say = (line: string) => process.stdout.write(`${line}\n`);
  say(`seed ${seed}`);
  const report = await run({
    seed,
    runs: wholeNumber('runs', values.runs),
    serial: wholeNumber('serial', values.serial),
    needsPermission: values.permission,
    ...(values.only !== undefined && { only: wholeNumber('only', values.only) }),
    progress: say,
  });
  for (const failure of report.failures) say(failureText(failure, seed));
  const counts = Object.entries(report.counts).map(([what, count]) => `${what} ${count}`);
  say(`seen: ${counts.sort((a, b) => (a < b ? -1 : 1)).join(', ')}`);
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  say(
    `${report.runs} sequences, ${report.steps} steps, ${report.failures.length} failures in ${seconds} s, seed ${seed}`,
  );
  return report.failures.length === 0 ? 0 : 1;
}

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  process.stderr.write(`--${name} takes a whole number, not ${text}\n`);
  process.exit(2);
}
