import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '../..');
const text = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const matches = (source: string, pattern: RegExp) => [...source.matchAll(pattern)].map(([, id = '']) => id);

const page = text('docs/behaviour.md');
/** The last cell of each row: the test that shows it. */
const rows = matches(page, /^\| .+ \| `([a-z0-9-]+)` \|$/gm);
/** The end of the title of an end-to-end test. */
const tests = globSync('test/e2e/**/*.test.ts', { cwd: ROOT }).flatMap((path) =>
  matches(text(path), /\b(?:describe|test)\(\s*(?:'[^'\n]*|"[^"\n]*|`[^`\n]*) \[([a-z0-9-]+)\]['"`],/g),
);

test('every case of the page is an end-to-end test of its id, and every id has its case', () => {
  assert.ok(rows.length > 60, `${rows.length} rows`);
  assert.deepEqual(tests.toSorted(), rows.toSorted());
});

test('every row has an id, and no id is there twice', () => {
  assert.equal(page.match(/^\| (?!When you …|---)/gm)?.length, rows.length);
  assert.equal(new Set(rows).size, rows.length);
});
