import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parser } from '@prometheus-io/lezer-promql';
import { parse } from 'yaml';
import { asArray, asString, at } from '../../src/json.ts';
import { allMetrics } from '../docs/metrics.ts';

const registry = allMetrics();

/** Of API servers and of Prometheus itself, with their labels that are asked for. */
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  up: [],
  apiserver_admission_webhook_fail_open_count: ['name'],
  apiserver_admission_webhook_rejection_count: ['name', 'error_type'],
};
/** Prometheus and a ServiceMonitor put these on every series. */
const OF_THE_TARGET = ['namespace', 'pod', 'job', 'instance'];

interface Query {
  readonly metrics: readonly string[];
  readonly labels: readonly string[];
}

/** @throws at what Prometheus would not understand */
function read(text: string): Query {
  // Grafana puts a duration in its place.
  const expression = text.replaceAll('$__rate_interval', '5m');
  const metrics: string[] = [];
  const labels: string[] = [];
  parser.parse(expression).iterate({
    enter({ name, type, from, to }) {
      const word = expression.slice(from, to);
      if (type.isError) throw new SyntaxError(`${text}: at ${from}`);
      if (name === 'Identifier') metrics.push(word);
      if (name === 'LabelName') labels.push(word);
    },
  });
  return { metrics, labels };
}

function labelsOf(metric: string): readonly string[] | undefined {
  if (Object.hasOwn(FOREIGN, metric)) return FOREIGN[metric];
  const histogram = /_(bucket|count|sum)$/.test(metric);
  const found = registry.getSingleMetric(histogram ? metric.replace(/_[a-z]+$/, '') : metric);
  if (found === undefined) return undefined;
  return [...asArray(at(found, 'labelNames')).map(String), ...(metric.endsWith('_bucket') ? ['le'] : [])];
}

/** What nobody would ever get an answer to. */
function unknown(text: string): string[] {
  const { metrics, labels } = read(text);
  const known = new Set([...OF_THE_TARGET, ...metrics.flatMap((metric) => labelsOf(metric) ?? [])]);
  return [
    ...metrics.filter((metric) => labelsOf(metric) === undefined),
    ...labels.filter((label) => !known.has(label)),
  ];
}

const file = (path: string) =>
  readFileSync(new URL(`../../deploy/components/${path}`, import.meta.url), 'utf8');
const alerts = asArray(at(parse(file('prometheus/prometheus-rule.yaml')), 'spec', 'groups')).flatMap(
  (group) => asArray(at(group, 'rules')),
);
const panels = asArray(at(JSON.parse(file('grafana/dashboard.json')), 'panels'));
const targets = panels.flatMap((panel) =>
  asArray(at(panel, 'targets')).map((target) => ({
    name: `panel ${asString(at(panel, 'title'))}`,
    of: target,
  })),
);

for (const { name, of } of [
  ...alerts.map((alert) => ({ name: `alert ${asString(at(alert, 'alert'))}`, of: alert })),
  ...targets,
]) {
  test(`${name}: Prometheus understands it, and there are its metrics and labels`, () => {
    const expression = asString(at(of, 'expr')) ?? '';
    assert.ok(read(expression).metrics.length > 0);
    assert.deepEqual(unknown(expression), []);
  });
}

test('what an alert says of a label is one that its query keeps', () => {
  for (const alert of alerts) {
    const said = JSON.stringify(at(alert, 'annotations')).matchAll(/\$labels\.(\w+)/g);
    const grouped = /\bby \(([^)]*)\)/.exec(asString(at(alert, 'expr')) ?? '')?.[1]?.split(/, */) ?? [];
    for (const [, label = ''] of said) assert.ok(grouped.includes(label), `${at(alert, 'alert')}: ${label}`);
  }
});

test('a legend names labels that its query keeps', () => {
  for (const { name, of } of targets) {
    const grouped =
      /\bby \(([^)]*)\)/.exec(asString(at(of, 'expr')) ?? '')?.[1]?.split(/, */) ?? OF_THE_TARGET;
    for (const [, label = ''] of (asString(at(of, 'legendFormat')) ?? '').matchAll(/\{\{ *(\w+) *\}\}/g)) {
      assert.ok(grouped.includes(label), `${name}: ${label}`);
    }
  }
});

test('a slip in a query is found: of syntax, of a metric, of a label', () => {
  assert.throws(() => read('sum(pullgate_leader'), /sum\(pullgate_leader: at/);
  assert.deepEqual(unknown('sum(pullgate_leaders)'), ['pullgate_leaders']);
  assert.deepEqual(unknown('sum by (image) (pullgate_admissions_total{mood="pause"})'), ['image', 'mood']);
  assert.deepEqual(unknown('sum by (le) (pullgate_admissions_total)'), ['le']);
});
