import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchResult, Progress, Row } from './bench.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const RESULTS = join(DOCS, 'benchmarks');
const README = join(DOCS, '../README.md');

/** In the place of the last run of that bench. */
export function keep(result: BenchResult): void {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(fileOf(result.name), `${JSON.stringify(result, undefined, 2)}\n`);
}

export function writeDocument(names: readonly string[], progress: Progress): void {
  const results = keptResults(names);
  writeFileSync(join(DOCS, 'benchmarks.md'), documentOf(results));
  progress(`docs/benchmarks.md: ${results.map(({ name }) => name).join(', ')}`);
  for (const name of names.filter((one) => !results.some((result) => result.name === one)))
    progress(`no run of ${name} is stored: npm run --silent bench -- ${name} --keep`);
  const readme = readFileSync(README, 'utf8');
  if (!QUOTES.test(readme))
    throw new Error('README.md has no place for what it quotes: <!-- of npm run bench --> ... <!-- end -->');
  writeFileSync(README, withQuotes(readme, results));
}

/** The last runs, as far as there were any. */
export function keptResults(names: readonly string[]): BenchResult[] {
  return names
    .map(fileOf)
    .filter((file) => existsSync(file))
    .map(parseResult);
}

function parseResult(file: string): BenchResult {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as BenchResult;
  } catch (error) {
    throw new Error(`${file} is not what a bench has stored: git checkout it, or run the bench with --keep`, {
      cause: error,
    });
  }
}

function fileOf(name: string): string {
  return join(RESULTS, `${name}.json`);
}

/** docs/benchmarks.md: nothing in it but what was measured. */
export function documentOf(results: readonly BenchResult[]): string {
  return [
    '# Benchmarks',
    '',
    '`npm run bench -- docs` writes this page from the last run of each bench (docs/benchmarks). To run a bench: `npm run --silent bench -- NAME`.',
    'A ratio compares two measurements of the same run. The name says if it is a number of seconds (Seconds, Ms), megabytes (Mb) or a share of one core (core).',
    'All times are from the machine that each section names.',
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
    ...alike(rows).flatMap((some) => ['', ...table(some)]),
  ];
}

/** Rows in a row that tell of the same things: one table each. */
function alike(rows: readonly Row[]): Row[][] {
  const groups: Row[][] = [];
  for (const row of rows) {
    const group = groups.at(-1);
    const columns = new Set(Object.keys(row));
    const others = new Set(group?.flatMap((one) => Object.keys(one)));
    if (group !== undefined && (columns.isSubsetOf(others) || others.isSubsetOf(columns))) group.push(row);
    else groups.push([row]);
  }
  return groups;
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
  const size = String(gate['image']).split(',')[0];
  return [
    '| | Without Pullgate | With Pullgate |',
    '| --- | --- | --- |',
    `| Update to an image of ${size}: time without a ready pod | ${seconds(none['withoutReadyPod'])} | **${seconds(gate['withoutReadyPod'])}** |`,
    // No bench: `npm run demo` fails if it is not so.
    '| Update to a tag that does not exist: time without a ready pod | until somebody rolls back | **none** |',
    `| What a hold adds to the slowest pull | | ${seconds(hold.ratios['overheadMedianSeconds'])} |`,
    `| Idle, with ${count(rest['deployments'])} Deployments and ${count(rest['nodes'])} nodes | | ${percent(rest['coreWithReports'])} of a core, ${rest['peakMb']} MB |`,
    '',
  ].join('\n');
}

function seconds(value: string | number | undefined): string {
  return `${Number(value).toFixed(1)} s`;
}

function count(value: string | number | undefined): string {
  return Number(value).toLocaleString('en');
}

function percent(share: string | number | undefined): string {
  return `${(Number(share) * 100).toPrecision(2)}%`;
}
