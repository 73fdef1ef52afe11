import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchResult, Row } from './bench.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const RESULTS = join(DOCS, 'benchmarks');

/** In the place of the last run of that bench. */
export function keep(result: BenchResult): void {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(fileOf(result.name), `${JSON.stringify(result, undefined, 2)}\n`);
}

export function writeDocument(names: readonly string[]): void {
  writeFileSync(join(DOCS, 'benchmarks.md'), documentOf(keptResults(names)));
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
      Object.entries(ratios).map(([ratio, value]) => {
        const goal = goals[ratio];
        const wanted = goal === undefined ? '' : `${goal.is} ${goal.limit}`;
        return {
          ratio,
          measured: value,
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
