import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { ERRORS } from '../../src/errors.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { anchorsOf, firstCellsOf, headingsOf, sectionOf } from './markdown.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const text = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const page = text('docs/operate.md');
const pages = globSync('docs/*.md', { cwd: ROOT });

const rule: unknown = parse(text('deploy/components/prometheus/prometheus-rule.yaml'));
const alerts = asArray(at(rule, 'spec', 'groups'))
  .flatMap((group) => asArray(at(group, 'rules')))
  .map((alert) => ({
    name: asString(at(alert, 'alert')) ?? '',
    lasts: asString(at(alert, 'for')) ?? 'at once',
    runbook: asString(at(alert, 'annotations', 'runbook_url')) ?? '',
  }));

/** The texts of a type or list: types are gone when the tests run. */
function textsIn(path: string, beginning: string): string[] {
  const source = text(path);
  const start = source.indexOf(beginning);
  assert.ok(start !== -1, `${path} has no ${beginning}`);
  const declaration = source.slice(start, source.indexOf(';', start));
  return [...declaration.matchAll(/'(\w+)'/g)].map(([, value = '']) => value);
}

test('every alert has its heading, with what it means and what to do, and every heading its alert', () => {
  const section = sectionOf(page, 'Alerts');
  const titles = headingsOf(section).map(({ title }) => title);
  assert.ok(alerts.length > 0);
  assert.deepEqual(titles.toSorted(), alerts.map(({ name }) => name).toSorted());
  for (const title of titles) {
    const words = sectionOf(section, title);
    assert.match(words, /\*\*Means:\*\* .+\n\n\*\*Do:\*\* /s, title);
  }
});

test('the table says of every alert how long its condition has to last', () => {
  const rows = [...sectionOf(page, 'Alerts').matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)];
  assert.deepEqual(
    rows.map(([, name, lasts]) => ({ name, lasts })),
    alerts.map(({ name, lasts }) => ({ name, lasts })),
  );
});

test('the runbook_url of every alert is its own heading', () => {
  for (const { name, runbook } of alerts) {
    const [path = '', anchor = ''] = runbook.split('#');
    assert.equal(path, 'docs/operate.md', name);
    assert.equal(anchor, name.toLowerCase());
    assert.ok(anchorsOf(text(path)).includes(anchor), runbook);
  }
});

test('every Event has its row, and every row its Event', () => {
  const reasons = textsIn('src/cluster/events.ts', 'export type EventReason =');
  assert.ok(reasons.length > 10);
  assert.deepEqual(firstCellsOf(sectionOf(page, 'Events')).toSorted(), reasons.toSorted());
});

test('every decision of admission has its row, and every row its decision', () => {
  const kinds = [
    ...textsIn('src/api/decision-record.ts', 'const DECISIONS ='),
    ...textsIn('src/admission/decide.ts', 'export type DecisionKind ='),
  ];
  assert.ok(kinds.length > 10);
  assert.deepEqual(firstCellsOf(sectionOf(page, 'Decisions')).toSorted(), kinds.toSorted());
});

test('every reason for which a pull fails, or a node leaves the count, has its row, and every row its reason', () => {
  const reasons = new Set([
    ...textsIn('src/preloads/pods/pull-failure.ts', 'const PULL_FAILURE_REASONS ='),
    ...textsIn('src/preloads/assess/outcome.ts', 'export const LEAVE_REASONS ='),
  ]);
  assert.ok(reasons.size > 10);
  assert.deepEqual(firstCellsOf(sectionOf(page, 'Failures')).toSorted(), [...reasons].toSorted());
});

test('the final failures are those that stop the fan-out', () => {
  const final = textsIn('src/preloads/pods/pull-failure.ts', 'const DEFINITIVE:');
  const rows = [...sectionOf(page, 'Failures').matchAll(/^\| `(\w+)` \| yes/gm)].map(([, reason]) => reason);
  assert.ok(final.length > 0);
  assert.deepEqual(rows.toSorted(), final.toSorted());
});

test('every reason to leave a node out has its row, and every row its reason', () => {
  const reasons = textsIn('src/preloads/nodes/eligible-nodes.ts', 'export type ExclusionReason =');
  assert.ok(reasons.length > 0);
  const [rows = ''] = sectionOf(page, 'Excluded nodes').split('A startup taint');
  assert.deepEqual(firstCellsOf(rows).toSorted(), [...reasons, 'JoinedLater'].toSorted());
});

test('every error that a page names is in the table of errors', () => {
  const known = firstCellsOf(text('docs/errors.md')).filter((cell) => cell.startsWith('PG_'));
  assert.deepEqual(known.toSorted(), Object.keys(ERRORS).toSorted());
  const named = pages.flatMap((path) =>
    [...text(path).matchAll(/\bPG_[A-Z_]*[A-Z]/g)].map(([name]) => ({ page: basename(path), name })),
  );
  assert.deepEqual(
    named.filter(({ name }) => !known.includes(name)),
    [],
  );
});
