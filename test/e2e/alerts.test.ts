import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { run } from '../cluster/lab/command.ts';
import { neighbour } from '../cluster/lab/neighbours.ts';
import { ALERT_CASES, type AlertCase, STEP_SECONDS } from '../support/e2e/alert-cases.ts';
import { alerts, ruleGroups, serviceMonitor } from '../support/e2e/monitoring-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'pullgate-alerts-'));
const rules = join(folder, 'rules.json');
writeFileSync(rules, JSON.stringify({ groups: ruleGroups }));
after(() => rmSync(folder, { recursive: true }));

const promtool = (...args: string[]) => run([neighbour('promtool'), ...args], { allowFailure: true });

test('promtool accepts the rules', async () => {
  const { code, stdout, stderr } = await promtool('check', 'rules', '--lint=all', '--lint-fatal', rules);
  assert.equal(code, 0, `${stdout}${stderr}`);
  assert.match(stdout, new RegExp(`SUCCESS: ${alerts.size} rules found`));
});

test('every alert has a case in which it fires, and a near miss', () => {
  const alertsOf = (cases: readonly AlertCase[]) => [...new Set(cases.map(({ alert }) => alert))].toSorted();
  const names = [...alerts.keys()].toSorted();
  assert.deepEqual(alertsOf(ALERT_CASES.filter(({ fires }) => fires !== undefined)), names);
  assert.deepEqual(alertsOf(ALERT_CASES.filter(({ fires }) => fires === undefined)), names);
});

test('the cases use the interval of the ServiceMonitor', () => {
  const intervals = asArray(at(serviceMonitor, 'spec', 'endpoints')).map((one) => at(one, 'interval'));
  assert.deepEqual(intervals, [`${STEP_SECONDS}s`]);
});

describe('promtool runs the rules over time', { concurrency: 2 }, () => {
  for (const [number, one] of ALERT_CASES.entries()) {
    const { alert, when, fires } = one;
    const title =
      fires === undefined ? `does not fire` : `fires from minute ${fires.from} to minute ${fires.to}`;
    test(`${when}: ${alert} ${title}`, async () => {
      const path = join(folder, `${number}.json`);
      const tests = {
        rule_files: [rules],
        evaluation_interval: `${STEP_SECONDS}s`,
        tests: [promtoolTest(one)],
      };
      writeFileSync(path, JSON.stringify(tests));
      const { code, stdout, stderr } = await promtool('test', 'rules', path);
      assert.equal(code, 0, `${stdout}${stderr}`);
    });
  }
});

/** Whether it fires is looked at in every step. What people read changes with the value, and is looked at once. */
function promtoolTest({ alert, series, minutes, fires }: AlertCase): JsonObject {
  const steps = Array.from(
    { length: (minutes * 60) / STEP_SECONDS + 1 },
    (_, step) => (step * STEP_SECONDS) / 60,
  );
  const firing = (minute: number) => fires !== undefined && minute >= fires.from && minute <= fires.to;
  const read = fires === undefined ? [] : [{ at: fires.from, alert: expected(alert, fires) }];
  return {
    interval: `${STEP_SECONDS}s`,
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: read.map((one) => ({
      eval_time: `${one.at * 60}s`,
      alertname: alert,
      exp_alerts: [one.alert],
    })),
    promql_expr_test: steps.map((minute) => ({
      expr: `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`,
      eval_time: `${minute * 60}s`,
      exp_samples: [{ labels: '{}', value: firing(minute) ? 1 : 0 }],
    })),
  };
}

function expected(alert: string, { labels = {}, description }: NonNullable<AlertCase['fires']>): JsonObject {
  const rule = alerts.get(alert);
  return {
    exp_labels: { ...asObject(at(rule, 'labels')), ...labels },
    exp_annotations: { ...asObject(at(rule, 'annotations')), description },
  };
}
