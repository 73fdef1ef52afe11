import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { judged } from '../bench/bench.ts';
import { BENCHES } from '../bench/benches.ts';
import { documentOf, keptResults, withQuotes } from '../bench/document.ts';

const DOCUMENT = join(import.meta.dirname, '../../docs/benchmarks.md');
const README = join(import.meta.dirname, '../../README.md');

test('docs/benchmarks.md is what the stored results say, and nothing else', () => {
  const results = keptResults(BENCHES.map(({ name }) => name));
  assert.equal(readFileSync(DOCUMENT, 'utf8'), documentOf(results));
});

test('README.md quotes the stored results', () => {
  const readme = readFileSync(README, 'utf8');
  assert.equal(readme, withQuotes(readme, keptResults(BENCHES.map(({ name }) => name))));
  assert.match(readme, /time without a ready pod \| \d+\.\d s \| \*\*\d\.\d s\*\* \|/);
  assert.match(readme, /\d% of a core, \d+ MB \|/);
});

test('a stored result is judged by the goals as they are now', () => {
  for (const { name, goals } of BENCHES) {
    for (const result of keptResults([name])) assert.deepEqual(result.goals, judged(goals, result.ratios));
  }
});

test('a goal is met at its limit unless it is a strict one, and never without a number', () => {
  const goals = {
    most: { is: '<=', limit: 1 },
    less: { is: '<', limit: 1 },
    least: { is: '>=', limit: 1 },
    absent: { is: '>=', limit: 1 },
  } as const;
  const met = Object.entries(judged(goals, { most: 1, less: 1, least: 1 })).map(([name, goal]) => [
    name,
    goal.met,
  ]);
  assert.deepEqual(Object.fromEntries(met), { most: true, less: false, least: true, absent: false });
});
