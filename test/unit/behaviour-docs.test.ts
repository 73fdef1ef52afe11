import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const page = readFileSync(new URL('../../docs/behaviour.md', import.meta.url), 'utf8');
/** The first cell of each row: what somebody does. */
const rows = [...page.matchAll(/^\| (?!You, or the world|---)(.+?) \| .+ \|$/gm)].map(
  ([, cell]) => cell ?? '',
);
const folder = new URL('../e2e/', import.meta.url).pathname;
const names = globSync(`${folder}*.test.ts`).flatMap((file) =>
  [...readFileSync(file, 'utf8').matchAll(/\b(?:describe|test)\(\s*(['"`])(.*?)\1,/g)].map(
    ([, , name]) => name,
  ),
);

test('every case of the page is a test on a real API server, of that very name', () => {
  assert.ok(rows.length > 30, `${rows.length} rows`);
  assert.deepEqual(
    rows.filter((row) => !names.includes(row)),
    [],
  );
});

test('no case is there twice', () => {
  for (const row of rows) {
    assert.equal(rows.filter((other) => other === row).length, 1, row);
    assert.equal(names.filter((name) => name === row).length, 1, row);
  }
});
