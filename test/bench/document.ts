import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchResult, Row } from './bench.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const RESULTS = join(DOCS, 'benchmarks');
const README = join(DOCS, '../README.md');

/** In the place of the last run of that bench. */
export function keep(result: BenchResult): void {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(fileOf(result.name), `${JSON.stringify(result, undefined, 2)}\n`);
}

export function writeDocument(names: readonly string[]): void {
  const results = keptResults(names);
  writeFileSync(join(DOCS, 'benchmarks.md'), documentOf(results));
  writeFileSync(README, withQuotes(readFileSync(README, 'utf8'), results));
}

/** The last runs, as far as there were any. */
export function keptResults(names: readonly string[]): BenchResult[] {
  return names
    .map(fileOf)
    .filter((file) => existsSync(file))
    .map((file) => JSON.parse(readFileSync(file, 'utf8')) as BenchResult);
}

function fileOf(name: string): string {
  return join(RESULTS, `${name}.json`);
}

/** docs/benchmarks.md: nothing in it but what was measured. */
export function documentOf(results: readonly BenchResult[]): string {
  return [
    '# Benchmarks',
    '',
    'Made by `npm run bench -- docs` from the last run of each bench (docs/benchmarks). To run one: `npm run --silent bench -- NAME`.',
    'Ratios compare within one run. Times are of the machine that is named.',
    ...results.flatMap(sectionOf),
    '',
  ].join('\n');
}

function sectionOf(result: BenchResult): string[] {
  const { name, title, date, machine, versions, notes, rows, ratios, goals } = result;
  const parts = Object.entries(versions).map(([part, version]) => `${part} ${version}`);
  return [
    '',
    `## ${name}`,
    '',
    title,
    '',
    `${date}, ${machine.cores} cores (${machine.cpu}), ${machine.memoryGb} GB, ${machine.system}; ${parts.join(', ')}.`,
    ...notes.map((note) => `\n${note}`),
    '',
    ...table(
      Object.keys({ ...ratios, ...goals }).map((ratio) => {
        const goal = goals[ratio];
        const wanted = goal === undefined ? '' : `${goal.is} ${goal.limit}`;
        return {
          ratio,
          measured: ratios[ratio] ?? 'not measured',
          goal: wanted,
          met: goal === undefined ? '' : goal.met ? 'yes' : 'no',
        };
      }),
    ),
    '',
    ...table(rows),
  ];
}

function table(rows: readonly Row[]): string[] {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [
    line(columns.map(inWords)),
    line(columns.map((column) => (rows.some((row) => typeof row[column] === 'string') ? '---' : '---:'))),
    ...rows.map((row) => line(columns.map((column) => row[column] ?? ''))),
  ];
}

/** `requestsPerSecond` is "requests per second". */
function inWords(column: string): string {
  return column.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

const QUOTES = /(<!-- of npm run bench -->\n).*?(<!-- end -->\n)/s;

/** README.md with what a user asks first, in the numbers of these results; as it is while one of them is missing. */
export function withQuotes(readme: string, results: readonly BenchResult[]): string {
  const text = quotes(new Map(results.map((result) => [result.name, result])));
  return text === undefined ? readme : readme.replace(QUOTES, (_, begin, end) => `${begin}${text}${end}`);
}

function quotes(results: ReadonlyMap<string, BenchResult>): string | undefined {
  const [hold, scale] = [results.get('hold'), results.get('scale')];
  const heaviest = (way: string) => hold?.rows.findLast((row) => row['way'] === way);
  const [gate, none] = [heaviest('gate'), heaviest('none')];
  const rest = scale?.rows.find(({ point }) => point === 'rest');
  if (hold === undefined || gate === undefined || none === undefined || rest === undefined) return undefined;
  return [
    '| Measured by `npm run bench`, see [docs/benchmarks.md](docs/benchmarks.md) | |',
    '| --- | --- |',
    `| one replica, an image of ${gate['image']} registry: seconds without a ready pod | ${none['withoutReadyPod']} ungated, ${gate['withoutReadyPod']} gated |`,
    `| a hold beyond the slowest node's own pull | at most ${hold.ratios['overheadSeconds']} s; a DaemonSet that preloads takes longer: the hold at most ${hold.ratios['overDaemonSet']} of its time |`,
    `| at rest, with ${rest['deployments']} Deployments and ${rest['nodes']} nodes | ${percent(rest['core'])} of a core, ${percent(rest['coreWithReports'])} with what the kubelets report; ${rest['residentMb']} MB |`,
    '',
  ].join('\n');
}

function percent(share: string | number | undefined): string {
  return `${(Number(share) * 100).toPrecision(2)}%`;
}
