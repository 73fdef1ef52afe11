import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { beginAudit } from './cluster/lab/audit-log.ts';
import { LabError, messageOf } from './cluster/lab/errors.ts';
import { buildGateImage } from './cluster/lab/gate-image.ts';
import { previousSource } from './cluster/lab/gate-source.ts';
import { down, type Lab, type LabOptions, up } from './cluster/lab/lab.ts';
import { buildNeighbours } from './cluster/lab/neighbours.ts';
import { OLDEST, RELEASES } from './cluster/lab/prepare.ts';

const USAGE = `usage: npm test [-- [--kubernetes ${RELEASES.join('|')}] FILE...]
       npm run test:unit

Without files: everything, first on the newest release of Kubernetes, then what matters most on the oldest supported one.
With files: these alone. Files below test/e2e run on the lab, which starts if it is not up.
`;

/**
 * What the oldest release has to show: the main job, installation, upgrade, uninstallation, and the rows of the behaviour table
 * that depend on kubectl, whose release is that of the cluster.
 */
const ON_THE_OLDEST = ['hold-and-release', 'in-cluster', 'reject', 'updates', 'upgrade'].map(
  (name) => `test/e2e/${name}.test.ts`,
);

const checkout = resolve(import.meta.dirname, '..');
const total = { passed: 0, failed: 0, skipped: 0 };
const reports = mkdtempSync(join(tmpdir(), 'pullgate-test-'));

interface Run {
  /** How many files at a time. */
  concurrency?: number;
  env?: Record<string, string>;
  wrap?: (argv: string[]) => string[];
}

/** Runs test files and adds up what became of them. */
function run(title: string, files: readonly string[], { concurrency = 1, env, wrap }: Run = {}): void {
  if (files.length === 0) return;
  process.stdout.write(`\n== ${title}\n`);
  const report = join(reports, 'counts.json');
  const argv = [
    process.execPath,
    '--test',
    `--test-concurrency=${concurrency}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=./test/counts-reporter.js',
    `--test-reporter-destination=${report}`,
    ...files.toSorted((a, b) => a.localeCompare(b, 'en')),
  ];
  const [program = '', ...args] = wrap?.(argv) ?? argv;
  const { status } = spawnSync(program, args, {
    cwd: checkout,
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

function log(line: string): void {
  process.stdout.write(`lab: ${line}\n`);
}

/**
 * The lab, with everything built that its tests need: they run inside the lab, where no registry and no module proxy is
 * reached.
 */
async function preparedLab(options: LabOptions): Promise<Lab> {
  const lab = await up({ noFallback: true, log, ...options });
  await buildNeighbours(log);
  await buildGateImage(lab, log);
  try {
    await buildGateImage(lab, log, await previousSource());
  } catch (error) {
    // Only the test of upgrades needs it, and fails with the same words.
    log(messageOf(error));
  }
  return lab;
}

function unitTests(): void {
  // More at a time than cores: some tests wait for a real time-out. Each file is a process, which compiles what the others have
  // compiled already: with a cache they take two thirds of the time.
  const env = { NODE_COMPILE_CACHE: join(checkout, 'node_modules/.cache/compiled') };
  run('unit', globSync('test/unit/**/*.test.ts', { cwd: checkout }), { concurrency: 4, env });
}

async function everything(): Promise<void> {
  unitTests();
  run('fuzz', globSync('test/stress/fuzz/**/*.test.ts', { cwd: checkout }));
  const all = globSync('test/e2e/**/*.test.ts', { cwd: checkout });
  // These kill parts of the lab, and in the end all of it, so they run when nothing else needs the lab any more.
  const ofTheLab = all.filter((file) => file.includes('/destroys-lab/'));
  // What the API server has recorded of all of the gate's requests is read last.
  const ofTheSuite = all.filter((file) => file.includes('/last/'));
  const ofTheGate = all.filter((file) => !ofTheLab.includes(file) && !ofTheSuite.includes(file));

  const lab = await preparedLab({});
  const suite = beginAudit(new Date());
  run(`the gate on Kubernetes ${lab.kubernetesVersion}`, ofTheGate, { wrap: (argv) => lab.enter(argv) });
  run('the rights of the gate, in all of that', ofTheSuite, { env: { PULLGATE_AUDITED_SUITE: suite } });
  for (const file of ofTheLab.toSorted().toReversed()) run(file, [file]);

  const oldest = await preparedLab({ kubernetes: OLDEST });
  run(`the gate on Kubernetes ${oldest.kubernetesVersion}`, ON_THE_OLDEST, {
    wrap: (argv) => oldest.enter(argv),
  });
  await down(log);
}

async function these(files: readonly string[], kubernetes: string | undefined): Promise<void> {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new LabError(`no such file: ${missing.join(', ')}`);
  const paths = files.map((file) => relative(checkout, resolve(file)));
  const onTheLab = paths.filter((path) => path.startsWith('test/e2e/'));
  run(
    'files',
    paths.filter((path) => !onTheLab.includes(path)),
  );
  if (onTheLab.length === 0) return;
  const release = RELEASES.find((one) => one === kubernetes);
  if (release !== kubernetes) throw new LabError(USAGE);
  const lab = await preparedLab({ kubernetes: release });
  run(`files on Kubernetes ${lab.kubernetesVersion}`, onTheLab, { wrap: (argv) => lab.enter(argv) });
}

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { kubernetes: { type: 'string' } },
  });
  if (positionals[0] === 'unit') unitTests();
  else if (positionals.length > 0) await these(positionals, values.kubernetes);
  else await everything();
} catch (error) {
  total.failed += 1;
  process.stdout.write(`${messageOf(error)}\n`);
} finally {
  rmSync(reports, { recursive: true });
}

process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
