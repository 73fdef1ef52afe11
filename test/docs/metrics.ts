import { Registry } from 'prom-client';
import { MODES } from '../../src/api/names.ts';
import { WAITING_FOR } from '../../src/deployments/open-holds.ts';
import { asArray, asString, at } from '../../src/json.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { exposeState } from '../../src/observe/state-metrics.ts';
import { code, type Page, sentence, table } from './markdown.ts';

const list = (values: readonly string[]) => values.map(code).join(', ');

/** The labels, in the order in which the metrics use them first. */
const LABELS: Readonly<Record<string, string>> = {
  mode: list(MODES),
  decision:
    'A [decision](labels-and-annotations.md#decisions), such as `Held` or `Rejected`, or `Error`. A request whose client did not wait for the answer counts as well.',
  reason:
    'Of a hold: `Ready`, `DeadlineExceeded`, `NoEligibleNodes`, `NothingServes`, `ScaledToZero`, `NotPreloadable`, `OptedOut`, `Reverted`, `LimitExceeded` or `Resumed`. Of a pull: a [reason](failures.md), such as `NotFound`. A pod that never starts its pull (`PodNotStarted`) counts as `Timeout` when its time is over.',
  result:
    '`Pulled`, `Failed` or `TimedOut`, of one attempt: if the first pull of a node fails and the second succeeds, the node counts once for each.',
  verb: '`get` (includes lists), `watch`, `create`, `patch`, `delete`',
  code: 'the HTTP status, or `error`',
  waiting_for: `${list(WAITING_FOR)}. A hold waits for an approval or a time only once its images are on the nodes.`,
  resource: '`namespaces`, `nodes`, `deployments`, `imagepreloads`, `pods`. Only the leader watches them.',
  certificate: '`serving`, or `ca` for the authority that signed it',
};

/** Every metric of the gate, without a value. */
export function allMetrics(): Registry {
  const registry = new Registry();
  createMetrics(registry);
  exposeState(registry, {
    holds: () => undefined,
    pulls: () => undefined,
    watches: () => [],
    isLeader: () => false,
    isReady: () => false,
    certificates: () => [],
  });
  return registry;
}

export async function metricsPage(): Promise<Page> {
  const registry = allMetrics();
  const types = new Map((await registry.getMetricsAsJSON()).map(({ name, type }) => [name, String(type)]));
  const metrics = registry
    .getMetricsAsArray()
    .filter(({ name }) => name.startsWith('pullgate_'))
    .map((metric) => ({
      name: metric.name,
      type: types.get(metric.name) ?? '',
      labels: asArray(at(metric, 'labelNames')).map((label) => asString(label) ?? ''),
      help: metric.help,
    }));
  const labels = [...new Set(metrics.flatMap((metric) => metric.labels))];
  return {
    title: 'Metrics',
    purpose: 'Find a metric of Pullgate, to write a query, a dashboard or an alert.',
    sources: ['src/observe/metrics.ts', 'src/observe/state-metrics.ts'],
    body: [
      'See [operation](../operate.md#metrics) for where to scrape them and how to add up replicas.',
      table(
        ['Name', 'Type', 'Labels', 'Meaning'],
        metrics.map(({ name, type, labels: own, help }) => [code(name), type, list(own), sentence(help)]),
      ),
      '## Labels',
      table(
        ['Label', 'Values'],
        labels.map((label) => [code(label), rowOf(LABELS, label)]),
      ),
    ],
  };
}

function rowOf(rows: Readonly<Record<string, string>>, name: string): string {
  const row = rows[name];
  if (row === undefined) throw new Error(`${import.meta.filename} has no row for the label ${name}`);
  return row;
}
