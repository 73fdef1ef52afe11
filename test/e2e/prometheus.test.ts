import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MODE_LABEL } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at, type JsonObject } from '../../src/json.ts';
import { gatePods } from '../bench/lab/gate-pods.ts';
import { identityFiles, PKI_FILES } from '../cluster/lab/certificates.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { type Deployment, deploy } from '../support/e2e/deployment.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { type InClusterGate, inClusterGate } from '../support/e2e/in-cluster-gate.ts';
import { alerts, dashboardQueries, ruleGroups, serviceMonitor } from '../support/e2e/monitoring-files.ts';
import { createNamespace, type Namespace } from '../support/e2e/namespace.ts';
import {
  discoveredPods,
  type Prometheus,
  scrapeConfigOf,
  selectorsOf,
  startPrometheus,
} from '../support/e2e/prometheus.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { until } from '../support/e2e/until.ts';

/** What Grafana would put in the place of `$__rate_interval`. */
const RATE_INTERVAL = '1m';

const scope = suiteScope();
let lab: Lab;
let api: ApiClient;
let gate: InClusterGate;
let prometheus: Prometheus;

before(async () => {
  lab = await attach();
  api = await connect(lab);
  // With it one outage shows both: a refused update in mode pause, and one that passes in mode audit.
  gate = await inClusterGate(scope, lab, ['fail-closed']);
  await gate.install();
  const monitor = scrapeConfigOf(serviceMonitor, lab.kubeconfig, 'endpointslice');
  prometheus = await startPrometheus(scope, [monitor, apiServerConfig()], ruleGroups);
});
after(() => api.close());

/** API servers count what became of their calls. Of their many metrics only these are kept. */
function apiServerConfig(): JsonObject {
  const { certificate, key } = identityFiles('admin');
  return {
    job_name: 'apiserver',
    scheme: 'https',
    scrape_interval: '5s',
    scrape_timeout: '5s',
    tls_config: { ca_file: PKI_FILES.ca, cert_file: certificate, key_file: key },
    static_configs: [{ targets: [new URL(lab.server).host] }],
    metric_relabel_configs: [
      { action: 'keep', source_labels: ['__name__'], regex: 'apiserver_admission_webhook_.*' },
    ],
  };
}

/** The names of the two pods. */
async function replicas(): Promise<string[]> {
  const names = (await gatePods(api)).map(({ name }) => name).toSorted();
  assert.equal(names.length, 2);
  return names;
}

/** `inactive`, `pending` or `firing`, for each alert. */
async function states(): Promise<Record<string, string>> {
  const rules = asArray(at(await prometheus.ask('rules'), 'groups')).flatMap((group) =>
    asArray(at(group, 'rules')),
  );
  return Object.fromEntries(rules.map((rule) => [String(at(rule, 'name')), String(at(rule, 'state'))]));
}

/** The labels that one alert has now. */
async function labelsOf(alert: string): Promise<unknown[]> {
  const all = asArray(at(await prometheus.ask('alerts'), 'alerts'));
  return all.map((one) => at(one, 'labels')).filter((labels) => at(labels, 'alertname') === alert);
}

const awaitStates = (what: string, seconds: number, wanted: Readonly<Record<string, string>>) =>
  until(what, seconds, states, (now) =>
    Object.entries(wanted).every(([alert, state]) => now[alert] === state),
  );
const allInactive = Object.fromEntries([...alerts.keys()].map((alert) => [alert, 'inactive']));

test('Prometheus scrapes both replicas by the ServiceMonitor, and nothing else', async () => {
  const targets = await until(
    'every target is up',
    60,
    async () => asArray(at(await prometheus.ask('targets', { state: 'active' }), 'activeTargets')),
    (all) => all.length > 1 && all.every((target) => at(target, 'health') === 'up'),
  );
  const scraped = targets.map((target) =>
    [at(target, 'labels', 'job'), at(target, 'labels', 'pod')].join(' '),
  );
  assert.deepEqual(scraped.toSorted(), ['apiserver ', ...(await replicas()).map((pod) => `pullgate ${pod}`)]);
});

test('with Endpoints in the place of EndpointSlices the ServiceMonitor leads to the same replicas', async (t) => {
  const config = scrapeConfigOf(serviceMonitor, lab.kubeconfig, 'endpoints');
  assert.deepEqual((await discoveredPods(t, config)).toSorted(), await replicas());
});

test('no alert is pending or firing while Pullgate is healthy', async () => {
  await awaitStates('every alert is inactive', 60, allInactive);
});

describe('after a release, a denied update, a missing image and an outage of Pullgate', () => {
  const world = suiteScope();
  let shop: Namespace;
  let web: Deployment;
  let audited: Deployment;

  before(async () => {
    shop = await createNamespace(world, lab, api);
    web = await deploy(shop, 'web');
    const rejecting = await createNamespace(world, lab, api, { [MODE_LABEL]: 'reject' });
    const auditing = await createNamespace(world, lab, api, { [MODE_LABEL]: 'audit' });
    const denied = await deploy(rejecting, 'web');
    audited = await deploy(auditing, 'web');
    await web.setImage(await shop.push('v2'));
    await audited.setImage(await auditing.push('v2'));
    // kubectl asks again until the nodes have it.
    await denied.setImage(await rejecting.push('v2'));
    await web.released(60);
    await web.rolledOut(60);
    await until(
      'Prometheus has seen that mode reject denied an update',
      30,
      () =>
        prometheus.query(
          'apiserver_admission_webhook_rejection_count{name="reject.pullgate.io",error_type="no_error"}',
        ),
      ({ length }) => length > 0,
    );
  });

  test('no alert is pending or firing after a release and a denied update', async () => {
    assert.deepEqual(await states(), allInactive);
  });

  test('a missing image makes PullgatePreloadFailing pending, with the reason', async () => {
    await web.setImage(`${lab.registry}/${shop.name}:missing`);
    await awaitStates('the alert is pending', 30, { PullgatePreloadFailing: 'pending' });
    const [labels] = await labelsOf('PullgatePreloadFailing');
    assert.deepEqual(labels, {
      alertname: 'PullgatePreloadFailing',
      reason: 'NotFound',
      severity: 'warning',
    });
    assert.deepEqual(await states(), { ...allInactive, PullgatePreloadFailing: 'pending' });
  });

  test('while no replica runs, PullgateNoLeader and PullgateNotReady are pending and a refused update fires PullgateWebhookErrors', async () => {
    await stopGate();
    await awaitStates('both are pending', 30, { PullgateNoLeader: 'pending', PullgateNotReady: 'pending' });
    const counted = async (metric: string, labels: string) => {
      const [series] = await prometheus.query(
        `sum(apiserver_admission_webhook_${metric}{${labels}}) or vector(0)`,
      );
      return Number(asArray(at(series, 'value'))[1]);
    };
    // The first failure creates the API server's series. The alert counts it only after 15 minutes of scraping: alert-cases.ts.
    for (const times of [1, 2]) {
      const refusals = () => counted('rejection_count', 'name="pause.pullgate.io",error_type!="no_error"');
      const passed = () => counted('fail_open_count', 'name="audit.pullgate.io"');
      const before = [await refusals(), await passed()];
      const image = `app=${lab.registry}/${shop.name}:outage-${times}`;
      const refused = await shop.tryKubectl('set', 'image', 'deployment/web', image);
      assert.match(refused.stderr, /failed calling webhook "pause\.pullgate\.io"/);
      await audited.setImage(`${lab.registry}/${shop.name}:outage-${times}`);
      await until(
        'Prometheus has seen both',
        30,
        async () => [await refusals(), await passed()],
        (now) => now.every((count, which) => count > (before[which] ?? 0)),
      );
    }
    await awaitStates('the alert fires', 30, { PullgateWebhookErrors: 'firing' });
    await gate.install();
    await awaitStates('Pullgate is healthy again', 60, {
      PullgateNoLeader: 'inactive',
      PullgateNotReady: 'inactive',
    });
  });

  for (const [alert, rule] of alerts) {
    test(`${alert}: Prometheus evaluates the rule, and every series that it selects exists`, async () => {
      const rules = asArray(at(await prometheus.ask('rules', { 'rule_name[]': alert }), 'groups'));
      const [evaluated] = rules.flatMap((group) => asArray(at(group, 'rules')));
      assert.equal(at(evaluated, 'health'), 'ok', `${at(evaluated, 'lastError')}`);
      await assertSelected(asString(rule['expr']) ?? '');
    });
  }

  for (const { panel, expression } of dashboardQueries) {
    test(`dashboard panel ${panel}: the query returns series, and every series that it selects exists`, async () => {
      const query = expression.replaceAll('$__rate_interval', RATE_INTERVAL);
      assert.doesNotMatch(query, /\$/);
      await assertSelected(query);
      const end = Date.now() / 1000;
      const range = { start: `${end - 600}`, end: `${end}`, step: '5' };
      const answer = await prometheus.ask('query_range', { query, ...range });
      assert.ok(asArray(at(answer, 'result')).length > 0, query);
    });
  }
});

async function assertSelected(expression: string): Promise<void> {
  const selectors = await selectorsOf(prometheus, expression);
  assert.ok(selectors.length > 0, expression);
  for (const selector of selectors) {
    const series = asArray(await prometheus.ask('series', { 'match[]': selector, limit: '1' }));
    assert.equal(series.length, 1, `nothing has ${selector}`);
  }
}

/** Without a replica, and without one that still answers while it ends. */
async function stopGate(): Promise<void> {
  const { code, stderr } = await lab.kubectl([
    '-n',
    'pullgate',
    'scale',
    'deployment/pullgate',
    '--replicas=0',
  ]);
  assert.equal(code, 0, stderr);
  await until(
    'no replica is left',
    60,
    () => api.get('/api/v1/namespaces/pullgate/pods'),
    (pods) => asArray(at(pods, 'items')).length === 0,
  );
}
