import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  asArray,
  asObject,
  asString,
  asStringMap,
  at,
  isObject,
  type JsonObject,
} from '../../../src/json.ts';
import { run } from '../../cluster/lab/command.ts';
import { neighbour } from '../../cluster/lab/neighbours.ts';
import { freePort } from '../free-port.ts';
import type { Scope } from './namespace.ts';
import { startNeighbour } from './neighbour-process.ts';

/** A running Prometheus, by its API. */
export interface Prometheus {
  /** What the API has under `data`. Fails with the words of Prometheus. */
  ask(path: string, parameters?: Readonly<Record<string, string>>): Promise<unknown>;
  /** The series that an expression has now. */
  query(expression: string): Promise<readonly JsonObject[]>;
}

/** Starts Prometheus with these scrape configurations and rule groups. */
export async function startPrometheus(
  scope: Scope,
  scrapeConfigs: readonly JsonObject[],
  groups: readonly unknown[],
): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-prometheus-'));
  const file = (name: string, content: JsonObject) => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(content));
    return path;
  };
  const config = file('prometheus.json', {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [file('rules.json', { groups })],
    scrape_configs: scrapeConfigs,
  });
  const { code, stdout, stderr } = await run([neighbour('promtool'), 'check', 'config', config], {
    allowFailure: true,
  });
  assert.equal(code, 0, `${stdout}${stderr}`);

  const address = `127.0.0.1:${await freePort()}`;
  await startNeighbour(
    scope,
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
    ],
    async () => (await fetch(`http://${address}/-/ready`)).ok,
  );
  scope.after(() => rmSync(folder, { recursive: true }));

  async function ask(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const answer = await fetch(`http://${address}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body: unknown = await answer.json();
    assert.equal(
      at(body, 'status'),
      'success',
      `${path} ${JSON.stringify(parameters)}: ${at(body, 'error')}`,
    );
    return at(body, 'data');
  }
  return {
    ask,
    query: async (expression) =>
      asArray(at(await ask('query', { query: expression }), 'result')).map(asObject),
  };
}

/**
 * What the Prometheus Operator makes of a ServiceMonitor: the Services of its namespace with its labels, and of their
 * endpoints those with its port.
 */
export function scrapeConfigOf(
  monitor: JsonObject,
  kubeconfig: string,
  role: 'endpoints' | 'endpointslice',
): JsonObject {
  const namespace = asString(at(monitor, 'metadata', 'namespace')) ?? '';
  const selector = asObject(at(monitor, 'spec', 'selector'));
  const endpoints = asArray(at(monitor, 'spec', 'endpoints'));
  // The rest of what a ServiceMonitor may say is not carried over, so it must not say it.
  assert.deepEqual(Object.keys(asObject(monitor['spec'])).toSorted(), ['endpoints', 'selector']);
  assert.deepEqual(Object.keys(selector), ['matchLabels']);
  assert.equal(endpoints.length, 1);
  const endpoint = asObject(endpoints[0]);
  assert.deepEqual(Object.keys(endpoint).toSorted(), ['interval', 'path', 'port']);

  const port = { endpoints: 'endpoint_port_name', endpointslice: 'endpointslice_port_name' }[role];
  const keep = (label: string, value: string) => ({ action: 'keep', source_labels: [label], regex: value });
  const copy = (from: string, to: string) => ({ source_labels: [from], target_label: to });
  const labels = Object.entries(asStringMap(selector['matchLabels'])).map(([name, value]) =>
    keep(`__meta_kubernetes_service_label_${name.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`, value),
  );
  return {
    job_name: `serviceMonitor/${namespace}/${asString(at(monitor, 'metadata', 'name'))}`,
    metrics_path: endpoint['path'],
    kubernetes_sd_configs: [{ role, kubeconfig_file: kubeconfig, namespaces: { names: [namespace] } }],
    relabel_configs: [
      ...labels,
      keep(`__meta_kubernetes_${port}`, asString(endpoint['port']) ?? ''),
      copy('__meta_kubernetes_namespace', 'namespace'),
      copy('__meta_kubernetes_service_name', 'service'),
      copy('__meta_kubernetes_pod_name', 'pod'),
      copy('__meta_kubernetes_pod_container_name', 'container'),
      copy('__meta_kubernetes_service_name', 'job'),
    ],
  };
}

/** The `pod` of each target that a scrape configuration leads to, by promtool. */
export async function discoveredPods(scope: Scope, scrapeConfig: JsonObject): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-promtool-'));
  scope.after(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'prometheus.json');
  writeFileSync(config, JSON.stringify({ scrape_configs: [scrapeConfig] }));
  const job = asString(scrapeConfig['job_name']) ?? '';
  const discovery = ['check', 'service-discovery', '--timeout=5s', config, job];
  const { stdout } = await run([neighbour('promtool'), ...discovery]);
  // A target that was not kept has no labels.
  return asArray(JSON.parse(stdout)).flatMap((target) => asString(at(target, 'labels', 'pod')) ?? []);
}

/** The selectors of an expression, such as `pullgate_admissions_total{decision="Error"}`, as Prometheus itself reads it. */
export async function selectorsOf(prometheus: Prometheus, expression: string): Promise<string[]> {
  const selectors: string[] = [];
  function visit(node: unknown): void {
    if (Array.isArray(node)) node.forEach(visit);
    if (!isObject(node)) return;
    const type = asString(node['type']) ?? '';
    if (type === 'vectorSelector' || type === 'matrixSelector') selectors.push(selectorOf(node));
    Object.values(node).forEach(visit);
  }
  visit(await prometheus.ask('parse_query', { query: expression }));
  return selectors;
}

function selectorOf(node: JsonObject): string {
  const matchers = asArray(node['matchers']).map(
    (matcher) => `${at(matcher, 'name')}${at(matcher, 'type')}${JSON.stringify(at(matcher, 'value'))}`,
  );
  return `{${matchers.join(',')}}`;
}
