import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { asArray, asObject, asString, at, type JsonObject } from '../../../src/json.ts';

const read = (path: string) =>
  readFileSync(new URL(`../../../deploy/components/${path}`, import.meta.url), 'utf8');

export const serviceMonitor: JsonObject = asObject(parse(read('prometheus/service-monitor.yaml')));

/** Groups of rules, as a rule file of Prometheus has them. */
export const ruleGroups: readonly unknown[] = asArray(
  at(parse(read('prometheus/prometheus-rule.yaml')), 'spec', 'groups'),
);

/** The rule of each alert. */
export const alerts: ReadonlyMap<string, JsonObject> = new Map(
  ruleGroups
    .flatMap((group) => asArray(at(group, 'rules')))
    .map((rule) => [asString(at(rule, 'alert')) ?? '', asObject(rule)]),
);

/** Title and expression of each query of the dashboard. */
export const dashboardQueries: readonly { readonly panel: string; readonly expression: string }[] = asArray(
  at(JSON.parse(read('grafana/dashboard.json')), 'panels'),
).flatMap((panel) =>
  asArray(at(panel, 'targets')).map((target) => ({
    panel: `${asString(at(panel, 'title'))} ${asString(at(target, 'refId'))}`,
    expression: asString(at(target, 'expr')) ?? '',
  })),
);
