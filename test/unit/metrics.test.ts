import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry, register } from 'prom-client';
import { asArray, at } from '../../src/json.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { exposeState, type State } from '../../src/observe/state-metrics.ts';
import { PULL_FAILURE_REASONS } from '../../src/preloads/pods/failure-reasons.ts';

const LEADER: State = {
  holds: () => ({ images: { open: 2, oldestSeconds: 61.5 }, approval: { open: 1, oldestSeconds: 900 } }),
  pulls: () => ({ running: 7, limit: 200 }),
  watches: () => [
    { resource: 'nodes', silentSeconds: 3 },
    { resource: 'pods', silentSeconds: Number.POSITIVE_INFINITY },
  ],
  isLeader: () => true,
  isReady: () => true,
  certificates: () => [{ certificate: 'serving', expiresAt: new Date(Date.UTC(2026, 0, 1)) }],
};

function all(state: State = LEADER) {
  const registry = new Registry();
  const metrics = createMetrics(registry);
  exposeState(registry, state);
  return { registry, metrics };
}

/** The lines of the metric, without the comments. */
async function samples(registry: Registry, name: string): Promise<string[]> {
  const text = await registry.getSingleMetricAsString(name);
  return text.split('\n').filter((line) => !line.startsWith('#') && line !== '');
}

function own(registry: Registry) {
  return registry.getMetricsAsArray().filter(({ name }) => name.startsWith('pullgate_'));
}

const labelsOf = (metric: unknown) => asArray(at(metric, 'labelNames')).map(String);

test('the names follow the conventions: base units, and _total for what only grows', async () => {
  const { registry } = all();
  for (const { name, type } of await registry.getMetricsAsJSON()) {
    if (!name.startsWith('pullgate_')) continue;
    assert.equal(name.endsWith('_total'), String(type) === 'counter', name);
    if (String(type) === 'histogram' || /age|duration|expiry/.test(name)) assert.match(name, /_seconds$/);
    assert.doesNotMatch(name, /_(ms|milliseconds|minutes|percent)(_|$)/);
  }
});

test('no label can name an image, a node, a Deployment or a namespace', () => {
  const { registry } = all();
  const allowed = [
    'mode',
    'decision',
    'reason',
    'result',
    'verb',
    'code',
    'resource',
    'certificate',
    'waiting_for',
    'le',
  ];
  const labels = own(registry).flatMap(labelsOf);
  assert.ok(labels.length > 5);
  assert.deepEqual(
    labels.filter((label) => !allowed.includes(label)),
    [],
  );
});

test('everything is in the registry that was given, with the metrics of the process, and nothing in the global one', async () => {
  const { registry } = all();
  const names = registry.getMetricsAsArray().map(({ name }) => name);
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_eventloop_lag_seconds',
  ])
    assert.ok(names.includes(name), name);
  // They would be of the second that the probe waits.
  assert.ok(!names.some((name) => /eventloop_lag_.*(min|max|mean|stddev|p\d+)/.test(name)));
  assert.deepEqual(register.getMetricsAsArray(), []);
  assert.doesNotThrow(() => all());
});

test('an admission is counted by mode and decision, and its duration by mode', async () => {
  const { registry, metrics } = all();
  metrics.admission('pause', 'Held', 0.002);
  metrics.admission('pause', 'Held', 0.3);
  metrics.admission('audit', 'Error', 4);
  const counts = await samples(registry, 'pullgate_admissions_total');
  assert.ok(counts.includes('pullgate_admissions_total{mode="pause",decision="Held"} 2'));
  assert.ok(counts.includes('pullgate_admissions_total{mode="audit",decision="Error"} 1'));
  const durations = await samples(registry, 'pullgate_admission_duration_seconds');
  assert.ok(durations.includes('pullgate_admission_duration_seconds_bucket{le="0.0025",mode="pause"} 1'));
  assert.ok(durations.includes('pullgate_admission_duration_seconds_sum{mode="pause"} 0.302'));
});

test('errors of each mode are there from the start: an alert sees the first one', async () => {
  const { registry } = all();
  assert.deepEqual(await samples(registry, 'pullgate_admissions_total'), [
    'pullgate_admissions_total{mode="pause",decision="Error"} 0',
    'pullgate_admissions_total{mode="reject",decision="Error"} 0',
    'pullgate_admissions_total{mode="audit",decision="Error"} 0',
  ]);
});

test('ended holds, pulls, failures and requests are counted by what became of them', async () => {
  const { registry, metrics } = all();
  metrics.holdEnded('Ready', 30);
  metrics.nodePull('Pulled', 12);
  metrics.nodePull('Failed', 1);
  metrics.pullFailed('NotFound');
  metrics.apiRequest('patch', 409);
  metrics.apiRequest('get', 'error');
  const text = await registry.metrics();
  for (const line of [
    'pullgate_hold_duration_seconds_count{reason="Ready"} 1',
    'pullgate_hold_duration_seconds_sum{reason="Ready"} 30',
    'pullgate_node_pull_duration_seconds_sum{result="Pulled"} 12',
    'pullgate_node_pull_duration_seconds_count{result="Failed"} 1',
    'pullgate_node_pull_failures_total{reason="NotFound"} 1',
    'pullgate_api_requests_total{verb="patch",code="409"} 1',
    'pullgate_api_requests_total{verb="get",code="error"} 1',
  ])
    assert.ok(text.includes(`\n${line}\n`), line);
});

test('the state is looked up at each scrape', async () => {
  let running = 1;
  const { registry } = all({ ...LEADER, pulls: () => ({ running, limit: 200 }) });
  assert.deepEqual(await samples(registry, 'pullgate_pulls_running'), ['pullgate_pulls_running 1']);
  running = 5;
  assert.deepEqual(await samples(registry, 'pullgate_pulls_running'), ['pullgate_pulls_running 5']);
  const text = await registry.metrics();
  for (const line of [
    'pullgate_holds{waiting_for="images"} 2',
    'pullgate_holds{waiting_for="approval"} 1',
    'pullgate_hold_oldest_age_seconds{waiting_for="images"} 61.5',
    'pullgate_hold_oldest_age_seconds{waiting_for="approval"} 900',
    'pullgate_pulls_limit 200',
    'pullgate_leader 1',
    'pullgate_watch_age_seconds{resource="nodes"} 3',
    'pullgate_watch_age_seconds{resource="pods"} +Inf',
    'pullgate_certificate_expiry_timestamp_seconds{certificate="serving"} 1767225600',
  ])
    assert.ok(text.includes(`\n${line}\n`), line);
});

test('a replica that ceases to lead shows no holds and pulls any more, rather than none', async () => {
  let leads = true;
  const { registry } = all({
    ...LEADER,
    isLeader: () => leads,
    holds: () => (leads ? { images: { open: 0, oldestSeconds: 0 } } : undefined),
    pulls: () => (leads ? { running: 0, limit: 200 } : undefined),
  });
  const names = [
    'pullgate_holds',
    'pullgate_hold_oldest_age_seconds',
    'pullgate_pulls_running',
    'pullgate_pulls_limit',
  ];
  for (const name of names) assert.equal((await samples(registry, name)).length, 1, name);
  leads = false;
  for (const name of names) assert.deepEqual(await samples(registry, name), [], name);
  assert.deepEqual(await samples(registry, 'pullgate_leader'), ['pullgate_leader 0']);
});

test('a collection that is followed no more is not shown any more', async () => {
  let watches = ['nodes', 'pods'];
  const { registry } = all({
    ...LEADER,
    watches: () => watches.map((resource) => ({ resource, silentSeconds: 1 })),
  });
  assert.equal((await samples(registry, 'pullgate_watch_age_seconds')).length, 2);
  watches = ['nodes'];
  assert.deepEqual(await samples(registry, 'pullgate_watch_age_seconds'), [
    'pullgate_watch_age_seconds{resource="nodes"} 1',
  ]);
});

test('each reason of a failed pull is there from the start, too', async () => {
  const registry = new Registry();
  createMetrics(registry, PULL_FAILURE_REASONS);
  const series = await samples(registry, 'pullgate_node_pull_failures_total');
  assert.equal(series.length, PULL_FAILURE_REASONS.length);
  assert.ok(series.includes('pullgate_node_pull_failures_total{reason="Timeout"} 0'), series.join());
});
