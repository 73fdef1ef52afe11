import { parseArgs } from 'node:util';
import { buildGateImage } from '../cluster/lab/gate-image.ts';
import { runInside } from '../cluster/lab/inside.ts';
import { up } from '../cluster/lab/lab.ts';
import { withLock } from '../cluster/lab/lock.ts';
import { BENCH_LOCK } from '../cluster/lab/paths.ts';
import { type Bench, type BenchResult, judged, missedGoals } from './bench.ts';
import { BENCHES } from './benches.ts';
import { keep, writeDocument } from './document.ts';
import { machine, versions } from './machine.ts';

const NAMES = BENCHES.map(({ name }) => name);
const USAGE = `usage: npm run --silent bench -- NAME [--short | --keep | --point POINT]
       npm run --silent bench -- docs

Prints one JSON object; what goes on, to stderr. On a machine that does nothing else: the numbers are of all that it does.
Exits 0 if it was measured, whether goals are met or not.

  --short   a few rounds, to see that it works; the numbers are noise
  --point   only this point of a bench that has points; not kept
  --keep    store the result in docs/benchmarks and make docs/benchmarks.md anew
  docs      make docs/benchmarks.md anew from what is stored, and what README quotes of it

${BENCHES.map(descriptionOf).join('\n')}
`;

function descriptionOf({ name, title, minutes, points, needs }: Bench): string {
  const where = needs === 'lab' ? ', on the lab' : '';
  const of = points === undefined ? '' : `\n${' '.repeat(12)}points: ${points.join(', ')}`;
  return `${name.padEnd(12)}${title}\n${' '.repeat(12)}${minutes} min${where}${of}`;
}

let began = Date.now();

function progress(line: string): void {
  const seconds = (Date.now() - began) / 1000;
  process.stderr.write(`${seconds.toFixed(1).padStart(6)} s  ${line}\n`);
}

function usage(problem: string): never {
  process.stderr.write(`${problem}\n\n${USAGE}`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        short: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        point: { type: 'string' },
        help: { type: 'boolean', default: false },
        // Set by this program itself, for the part of it that runs inside of the lab: when it began.
        inside: { type: 'string' },
      },
    });
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
}

async function main(): Promise<void> {
  const { positionals, values } = readArguments();
  const { short, point, inside } = values;
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const [name = usage('which bench?'), ...more] = positionals;
  if (more.length > 0) usage(`one at a time: ${positionals.join(', ')}`);
  if (name === 'docs') {
    if (short || values.keep || point !== undefined) usage('docs takes no options');
    writeDocument(NAMES, progress);
    return;
  }
  const bench = BENCHES.find((one) => one.name === name) ?? usage(`no bench is called ${name}`);
  if (values.keep && (short || point !== undefined)) usage('only whole runs are kept');
  if (point !== undefined && !bench.points?.includes(point))
    usage(`${name} has no point ${point}: ${bench.points?.join(', ') ?? 'it has none'}`);
  if (inside === undefined) {
    const lock = { path: BENCH_LOCK, of: 'bench' };
    const work = async () => await (bench.needs === 'lab' ? runInsideLab(bench) : measure(bench, values));
    await withLock(progress, work, lock);
    return;
  }
  began = Number(inside);
  await measure(bench, values);
}

async function measure(
  bench: Bench,
  options: { readonly short: boolean; readonly point?: string | undefined; readonly keep: boolean },
): Promise<void> {
  const result = await run(bench, options.short, options.point);
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  const failed = result.rows.flatMap((row) => row['failed'] ?? []);
  for (const words of failed) progress(`failed: ${words}`);
  for (const goal of missedGoals(result)) progress(`goal missed: ${goal}`);
  if (failed.length > 0) process.exitCode = 1;
  else if (options.keep) {
    keep(result);
    writeDocument(NAMES, progress);
  }
}

async function run(bench: Bench, short: boolean, point?: string): Promise<BenchResult> {
  const measured = await bench.run(progress, short, point);
  return {
    name: bench.name,
    title: bench.title,
    date: new Date().toISOString().slice(0, 10),
    machine: machine(),
    versions: { ...versions(), ...measured.versions },
    notes: measured.notes,
    rows: measured.rows,
    ratios: measured.ratios,
    goals: judged(bench.goals, measured.ratios),
  };
}

/** The API server calls webhooks on 127.0.0.1 in there. What has to be fetched is fetched before: there is no way out. */
async function runInsideLab(bench: Bench): Promise<void> {
  const lab = await up({ log: (line) => progress(`lab: ${line}`) });
  if (bench.needsGateImage === true) await buildGateImage(lab, progress);
  const argv = [process.execPath, import.meta.filename, `--inside=${began}`, ...process.argv.slice(2)];
  process.exitCode = await runInside(lab, argv);
}

await main();
