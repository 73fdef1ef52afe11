import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import type { Query } from '../../src/cluster/api-call.ts';
import type { CallOptions } from '../../src/cluster/api-client.ts';
import { createWorkloadLookups } from '../../src/preloads/workload-lookups.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { preload } from '../support/unit/preload-builder.ts';

/** Pods on as many nodes, and the queries of the lists of them. */
function lookups(pods: number, podBytes = 1000) {
  const queries: Query[] = [];
  const client = {
    async get(_path: string, query: Query = {}, options: CallOptions = {}) {
      queries.push(query);
      const from = Number(query['continue'] ?? 0);
      const to = Math.min(pods, from + Number(query['limit'] ?? pods));
      const items = Array.from({ length: to - from }, (_, n) => ({ spec: { nodeName: `n${from + n}` } }));
      options.onBytes?.(items.length * podBytes);
      return { items, metadata: to < pods ? { continue: String(to) } : {} };
    },
  };
  return { queries, ...createWorkloadLookups({ client, clock: manualClock(), log: logDouble().log }) };
}

const STATE = {};

const selecting = (selector: unknown) => {
  const { object } = deployment();
  return parseDeployment({ ...object, spec: { ...(object['spec'] as object), selector } });
};
const web = selecting({ matchLabels: { app: 'web' } });

test('the nodes of a workload are read in pages, once', async () => {
  const { nodesOf, queries } = lookups(250);
  assert.equal((await nodesOf(preload(), STATE, web)).size, 250);
  assert.equal((await nodesOf(preload(), STATE, web)).size, 250);
  assert.deepEqual(
    queries.map((query) => [query['labelSelector'], query['limit'], query['continue']]),
    [
      ['app=web', 100, undefined],
      ['app=web', 100, '100'],
      ['app=web', 100, '200'],
    ],
  );
});

test('of a large workload no more than 1,000 pods are read', async () => {
  const { nodesOf, queries } = lookups(5000);
  assert.equal((await nodesOf(preload(), STATE, web)).size, 1000);
  assert.equal(queries.length, 10);
});

test('of pods that a user has made large no more than 16 MiB are read', async () => {
  const { nodesOf, queries } = lookups(5000, 1024 * 1024);
  await nodesOf(preload(), STATE, web);
  assert.ok(queries.length < 20, `${queries.length} pages`);
});

test('a workload that selects by expressions is requested by them', async () => {
  const { nodesOf, queries } = lookups(1);
  const matchExpressions = [{ key: 'app', operator: 'In', values: ['web', 'api'] }];
  await nodesOf(preload(), STATE, selecting({ matchExpressions }));
  assert.equal(queries[0]?.['labelSelector'], 'app in (web,api)');
});

test('without a selector nothing is listed: it would be all pods of the namespace', async () => {
  const { nodesOf, queries } = lookups(1);
  assert.equal((await nodesOf(preload(), {}, selecting({}))).size, 0);
  assert.equal((await nodesOf(preload(), {}, undefined)).size, 0);
  assert.deepEqual(queries, []);
});

test('a pod without a node counts for none', async () => {
  const client = { get: async () => ({ items: [{ spec: {} }] }) };
  const { nodesOf } = createWorkloadLookups({ client, clock: manualClock(), log: logDouble().log });
  assert.equal((await nodesOf(preload(), STATE, web)).size, 0);
});

test('another preload is asked about anew, and as many of them as there may be push out no answer', async () => {
  const { nodesOf, queries } = lookups(1);
  await nodesOf(preload(), STATE, web);
  for (let n = 0; n < 3000; n += 1) await nodesOf(preload(), {}, web);
  assert.equal(queries.length, 3001);
  await nodesOf(preload(), STATE, web);
  assert.equal(queries.length, 3001);
});
