import { existsSync, globSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { HUB_NETNS } from './cluster/lab/addresses.ts';
import { AUDIT_FOLDER, beginAudit } from './cluster/lab/audit-log.ts';
import { endActiveCommands } from './cluster/lab/command.ts';
import { LabError, messageOf } from './cluster/lab/errors.ts';
import { down } from './cluster/lab/lab.ts';
import { inNetns } from './cluster/lab/namespaces.ts';
import { OLDEST, RELEASES } from './cluster/lab/prepare.ts';
import { ON_THE_OLDEST, plan } from './suite/plan.ts';
import { buildAll, preparedLab } from './suite/prepared-lab.ts';
import { type SecondLab, secondLab } from './suite/second-lab.ts';
import { CHECKOUT, endRunning, type Run, runFiles, type TestFailure } from './suite/test-files.ts';

const USAGE = `usage: npm test [-- [--kubernetes ${RELEASES.join('|')}] FILE...]
       npm run test:unit

Without files: everything, on the newest release of Kubernetes, and what matters most on the oldest supported one.
With files: these alone. Files below test/e2e run on the lab, which starts if it is not up.
`;

/**
 * Each file is a process, which compiles what the others have compiled already, and so does each gate that it starts: with a cache
 * the unit tests take two thirds of the time.
 */
const COMPILED = { NODE_COMPILE_CACHE: join(CHECKOUT, 'node_modules/.cache/compiled') };

const total = { passed: 0, failed: 0, skipped: 0 };
const failed: { readonly title: string; readonly failures: readonly TestFailure[] }[] = [];
let second: SecondLab | undefined;

/** Adds up what becomes of test files, and remembers where a test failed. */
async function count(title: string, files: readonly string[], options: Run = {}): Promise<void> {
  const counts = await runFiles(files, options);
  for (const kind of ['passed', 'failed', 'skipped'] as const) total[kind] += counts[kind];
  if (counts.failed > 0) failed.push({ title, failures: counts.failures });
}

/** Runs test files, whose reports appear while they run. */
async function run(title: string, files: readonly string[], options: Run = {}): Promise<void> {
  if (files.length === 0) return;
  process.stdout.write(`\n== ${title}\n`);
  await count(title, files, options);
}

/** Takes one file after the other from the queue; the report of each appears in one piece. */
async function runFrom(queue: string[], where: string, enter: Run['enter'] & {}): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const title = `${file} ${where}`;
    const report: Buffer[] = [];
    const began = performance.now();
    await count(title, [file], { enter, env: COMPILED, write: (chunk) => report.push(chunk) });
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    process.stdout.write(`\n== ${title} (${seconds} s)\n${Buffer.concat(report).toString()}`);
  }
}

function log(line: string): void {
  process.stdout.write(`lab: ${line}\n`);
}

/** The same command in the lab's network, where the API server reaches webhooks by loopback. */
function onLab(argv: readonly string[]): string[] {
  return [...inNetns(HUB_NETNS), ...argv];
}

async function unitTests(): Promise<void> {
  const files = globSync('test/unit/**/*.test.ts', { cwd: CHECKOUT });
  // More at a time than cores: some tests wait for a real time-out.
  await run('unit', files, { concurrency: 4, env: COMPILED });
}

async function everything(): Promise<void> {
  await unitTests();
  await run('fuzz', globSync('test/stress/fuzz/**/*.test.ts', { cwd: CHECKOUT }));

  const { together, alone, last, destroying } = plan(globSync('test/e2e/**/*.test.ts', { cwd: CHECKOUT }));
  const period = new Date().toISOString();
  second = await secondLab(await buildAll([OLDEST, undefined], log), log);
  const oldest = [...ON_THE_OLDEST];
  const queue = [...together];
  const folders = [AUDIT_FOLDER];
  try {
    const [, both] = await Promise.all([
      onThisLab(queue, period),
      second === undefined ? false : onSecondLab(second, { oldest, queue, period }),
    ]);
    if (both && second !== undefined) folders.push(second.auditFolder);
  } finally {
    // Whichever lab is still at work ends with its file.
    queue.length = 0;
    await second?.stop();
  }

  for (const file of alone) await run(file, [file], { enter: onLab });
  const env = { PULLGATE_AUDITED_SUITE: JSON.stringify({ period, folders }) };
  await run('the rights of the gate, in all of that', last, { env });
  await second?.remove();
  for (const file of destroying) await run(file, [file]);

  if (oldest.length > 0) {
    const lab = await preparedLab(OLDEST, log);
    await runFrom(oldest, `on Kubernetes ${lab.kubernetesVersion}`, onLab);
  }
  await down(log);
}

async function onThisLab(queue: string[], period: string): Promise<void> {
  const lab = await preparedLab(undefined, log);
  beginAudit(new Date(period));
  await runFrom(queue, `on Kubernetes ${lab.kubernetesVersion}`, onLab);
}

/**
 * First what there is on the oldest release, and then its share of the rest: so both labs end at the same time. Returns whether it
 * has had a share.
 */
async function onSecondLab(
  { up, enter }: SecondLab,
  { oldest, queue, period }: { oldest: string[]; queue: string[]; period: string },
): Promise<boolean> {
  const inside = (argv: readonly string[]) => enter(onLab(argv));
  try {
    await up(OLDEST, period, log);
    await runFrom(oldest, `on Kubernetes ${OLDEST}, on the second lab`, inside);
    await up(undefined, period, log);
  } catch (error) {
    // The first lab goes on, and does all that is left.
    log(`the second lab does not come up: ${messageOf(error)}`);
    return false;
  }
  await runFrom(queue, 'on the second lab', inside);
  return true;
}

async function these(files: readonly string[], kubernetes: string | undefined): Promise<void> {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new LabError(`no such file: ${missing.join(', ')}`);
  const paths = files.map((file) => relative(CHECKOUT, resolve(file)));
  const ofTheLab = paths.filter((path) => path.startsWith('test/e2e/'));
  await run(
    'files',
    paths.filter((path) => !ofTheLab.includes(path)),
  );
  if (ofTheLab.length === 0) return;
  const release = RELEASES.find((one) => one === kubernetes);
  if (release !== kubernetes) throw new LabError(USAGE);
  const lab = await preparedLab(release, log);
  await run(`files on Kubernetes ${lab.kubernetesVersion}`, ofTheLab, { enter: onLab });
}

for (const [name, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.once(name, async () => {
    // Those in the machine end with it. On their own they would leave processes there that nobody waits for.
    await endRunning(async () => second?.stop());
    endActiveCommands();
    await second?.remove();
    process.exit(code);
  });
}

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { kubernetes: { type: 'string' } },
  });
  if (positionals[0] === 'unit') await unitTests();
  else if (positionals.length > 0) await these(positionals, values.kubernetes);
  else await everything();
} catch (error) {
  total.failed += 1;
  process.stdout.write(`${messageOf(error)}\n`);
} finally {
  await second?.stop();
}

// Again, at the end: their reports are thousands of lines above.
for (const { title, failures } of failed) {
  process.stdout.write(`\nfailed: ${title}\n`);
  for (const { name, place, detail } of failures)
    process.stdout.write(`  ${name} (${place})\n${detail.replace(/^/gm, '    ')}\n`);
}
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
