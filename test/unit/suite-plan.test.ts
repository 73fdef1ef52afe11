import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { test } from 'node:test';
import { ON_THE_OLDEST, plan } from '../suite/plan.ts';
import { lacks } from '../suite/second-lab.ts';

const CHECKOUT = new URL('../..', import.meta.url).pathname;
const files = globSync('test/e2e/**/*.test.ts', { cwd: CHECKOUT });

test('every file of the end-to-end tests runs in one place of the plan, once', () => {
  const { together, alone, last, destroying } = plan(files);
  assert.deepEqual([...together, ...alone, ...last, ...destroying].toSorted(), files.toSorted());
});

test('a file that nobody has placed runs beside others, after the long ones', () => {
  const { together } = plan([...files, 'test/e2e/another.test.ts']);
  assert.equal(together[0], 'test/e2e/faults.test.ts');
  assert.ok(together.indexOf('test/e2e/another.test.ts') > together.indexOf('test/e2e/flux.test.ts'));
});

test('every bench is alone: it measures', () => {
  const { alone } = plan(files);
  for (const file of files.filter((name) => name.includes('/bench-'))) assert.ok(alone.includes(file), file);
});

test('the lab is ended by the last file that uses one', () => {
  assert.equal(plan(files).destroying.at(-1), 'test/e2e/destroys-lab/lab-down.test.ts');
});

test('a file that is renamed has to be renamed in the plan as well', () => {
  for (const gone of ['test/e2e/faults.test.ts', ON_THE_OLDEST[0], 'test/e2e/soak.test.ts']) {
    assert.throws(() => plan(files.filter((file) => file !== gone)), new RegExp(`${gone}`));
  }
});

test('a second lab needs a processor and memory of its own', () => {
  assert.equal(lacks(2, 8000), undefined);
  assert.match(lacks(1, 8000) ?? '', /2 processors/);
  assert.match(lacks(4, 3000) ?? '', /6000 MB of memory, and 3000 MB/);
});
