import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { ERRORS } from '../../src/errors.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { anchorsOf, headingsOf, sectionOf } from '../support/unit/markdown.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const text = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const page = text('docs/operate.md');

const rule: unknown = parse(text('deploy/components/prometheus/prometheus-rule.yaml'));
const alerts = asArray(at(rule, 'spec', 'groups'))
  .flatMap((group) => asArray(at(group, 'rules')))
  .map((alert) => ({
    name: asString(at(alert, 'alert')) ?? '',
    lasts: asString(at(alert, 'for')) ?? 'at once',
    runbook: asString(at(alert, 'annotations', 'runbook_url')) ?? '',
  }));

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

test('every error that a page names is in the table of errors', () => {
  const known = Object.keys(ERRORS);
  const named = globSync('docs/**/*.md', { cwd: ROOT }).flatMap((path) =>
    [...text(path).matchAll(/\bPG_[A-Z_]*[A-Z]/g)].map(([name]) => ({ page: path, name })),
  );
  assert.ok(named.length > known.length);
  assert.deepEqual(
    named.filter(({ name }) => !known.includes(name)),
    [],
  );
});
