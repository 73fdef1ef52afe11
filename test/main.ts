import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { beginAudit } from './lab/audit-log.ts';
import { buildGateImage } from './lab/gate-image.ts';
import { up } from './lab/lab.ts';

/**
 * `npm test [unit]`: the unit tests, a short fuzz, then the lab, then what needs it, one file at a time as they share the cluster. Ends with
 * one line that counts all of them.
 */
const total = { passed: 0, failed: 0, skipped: 0 };
const reports = mkdtempSync(join(tmpdir(), 'pullgate-test-'));

function run(
  title: string,
  files: string[],
  wrap: (argv: string[]) => string[],
  concurrency: number,
  env: Record<string, string> = {},
): void {
  process.stdout.write(`\n== ${title}\n`);
  const report = join(reports, 'counts.json');
  const argv = wrap([
    process.execPath,
    '--test',
    `--test-concurrency=${concurrency}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=./test/counts-reporter.js',
    `--test-reporter-destination=${report}`,
    ...files.toSorted((a, b) => a.localeCompare(b, 'en')),
  ]);
  const { status } = spawnSync(argv[0] ?? '', argv.slice(1), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const counts = readCounts(report);
  total.passed += counts.passed;
  total.skipped += counts.skipped;
  // A run that ended badly without naming a failed test has failed all the same.
  total.failed += status === 0 ? 0 : Math.max(1, counts.tests - counts.passed - counts.skipped);
}

function readCounts(report: string): { tests: number; passed: number; skipped: number } {
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as { tests: number; passed: number; skipped: number };
  } catch {
    return { tests: 0, passed: 0, skipped: 0 };
  }
}

try {
  // More at a time than cores: some tests have a real time-out to sit out. Each file is a process, which compiles what the others have
  // compiled already: with a cache they take two thirds of the time.
  run('unit', globSync('test/unit/**/*.test.ts'), (argv) => argv, 4, {
    NODE_COMPILE_CACHE: resolve(import.meta.dirname, '../node_modules/.cache/compiled'),
  });
  if (process.argv[2] !== 'unit') {
    run('fuzz', globSync('test/fuzz/**/*.test.ts'), (argv) => argv, 1);
    const log = (line: string) => void process.stdout.write(`lab: ${line}\n`);
    const lab = await up({ log });
    // Here already: the tests run inside the lab, where no npm registry is reached.
    await buildGateImage(lab, log);
    const all = globSync('test/e2e/**/*.test.ts');
    // These kill parts of the lab, and in the end all of it: they come when nothing else needs it any more.
    const ofTheLab = all.filter((file) => basename(file).startsWith('lab'));
    // This one reads what the API server has written down of all of the gate's.
    const ofTheSuite = all.filter((file) => basename(file) === 'rights-used.test.ts');
    const ofTheGate = all.filter((file) => !ofTheLab.includes(file) && !ofTheSuite.includes(file));
    const suite = beginAudit(new Date());
    run('the gate, on the lab', ofTheGate, (argv) => lab.enter(argv), 1);
    run('the rights of the gate, in all of that', ofTheSuite, (argv) => argv, 1, {
      PULLGATE_AUDITED_SUITE: suite,
    });
    for (const file of ofTheLab.toSorted().toReversed()) run(file, [file], (argv) => argv, 1);
  }
} catch (error) {
  total.failed += 1;
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
} finally {
  rmSync(reports, { recursive: true });
}

process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
