import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { referencePages } from '../docs/pages.ts';

const FOLDER = join(import.meta.dirname, '../../docs/reference');

test('the pages of docs/reference are up to date', async () => {
  const pages = await referencePages();
  assert.deepEqual(readdirSync(FOLDER).toSorted(), [...pages.keys()].toSorted());
  for (const [name, text] of pages)
    assert.equal(
      readFileSync(join(FOLDER, name), 'utf8'),
      text,
      `docs/reference/${name} is outdated: run npm run docs`,
    );
});
