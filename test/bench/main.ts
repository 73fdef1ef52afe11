import { parseArgs } from 'node:util';
import { buildGateImage } from '../lab/gate-image.ts';
import { runInside } from '../lab/inside.ts';
import { up } from '../lab/lab.ts';
import { type Bench, type BenchResult, judged } from './bench.ts';
import { BENCHES } from './benches.ts';
import { keep, writeDocument } from './document.ts';
import { machine, versions } from './machine.ts';

const USAGE = `usage: npm run --silent bench -- NAME [--short] [--keep]
       npm run bench -- docs

Prints one JSON object; what goes on, to stderr.

  --short   a few rounds, to see that it works; the numbers are noise
  --point   only this point of a bench that has points; not kept
  --keep    store the result in docs/benchmarks and make docs/benchmarks.md anew
  docs      make docs/benchmarks.md anew from what is stored

${BENCHES.map(({ name, title }) => `  ${name.padEnd(11)}${title}`).join('\n')}
`;

const began = performance.now();

function progress(line: string): void {
  const seconds = (performance.now() - began) / 1000;
  process.stderr.write(`${seconds.toFixed(1).padStart(6)} s  ${line}\n`);
}

function usage(problem: string): never {
  process.stderr.write(`${problem}\n\n${USAGE}`);
  process.exit(2);
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      short: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      point: { type: 'string' },
      // Set by this program itself, for the part of it that runs inside of the lab.
      inside: { type: 'boolean', default: false },
    },
  });
  const [name] = positionals;
  if (name === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  if (name === 'docs') {
    writeDocument(BENCHES.map((bench) => bench.name));
    return;
  }
  if (values.keep && (values.short || values.point !== undefined)) usage('only whole runs are kept');
  const bench = BENCHES.find((one) => one.name === name) ?? usage(`no bench is called ${name}`);
  if (bench.needs === 'lab' && !values.inside) {
    await runInsideLab(bench);
    return;
  }
  const result = await run(bench, values.short, values.point);
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  const failed = result.rows.flatMap((row) => row['failed'] ?? []);
  for (const words of failed) progress(`failed: ${words}`);
  if (failed.length > 0) process.exitCode = 1;
  else if (values.keep) {
    keep(result);
    writeDocument(BENCHES.map((one) => one.name));
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
  const argv = [process.execPath, import.meta.filename, '--inside', ...process.argv.slice(2)];
  process.exitCode = await runInside(lab, argv);
}

await main();
