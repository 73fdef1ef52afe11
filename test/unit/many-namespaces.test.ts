import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import { MODE_LABEL } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { createObjectCache } from '../../src/cluster/object-cache.ts';
import { readConfig } from '../../src/config.ts';
import { createControllers } from '../../src/controllers.ts';
import { createDeploymentController } from '../../src/deployments/deployment-controller.ts';
import { asObject, asString, at, type JsonObject } from '../../src/json.ts';
import { PULL_TIMES } from '../../src/preloads/assess/pull-times.ts';
import { deployment, PRELOAD_SETTINGS } from '../support/unit/deployment-builder.ts';
import { gateWorld } from '../support/unit/gate-world.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

const MANY = 2000;

/** An API server in memory: it answers lists at once, and its watches pass on what a test tells them. */
function crowdedServer(collections: Readonly<Record<string, readonly JsonObject[]>>) {
  const lists: string[] = [];
  const watches = new Map<string, (event: unknown) => void>();
  const idle = new Set<string>();
  const resourceOf = (path: string) => path.split('/').at(-1) ?? '';
  const client: Pick<ApiClient, 'cluster' | 'get' | 'watch'> = {
    cluster: 'crowded',
    async get(path, query) {
      lists.push(path);
      const all = collections[resourceOf(path)] ?? [];
      const from = Number(query?.['continue'] ?? 0);
      const to = from + Number(query?.['limit']);
      return {
        metadata: { resourceVersion: '1', ...(to < all.length && { continue: String(to) }) },
        items: all.slice(from, to),
      };
    },
    async *watch(path, _query, signal) {
      const events: unknown[] = [];
      let wake = () => undefined as undefined;
      watches.set(resourceOf(path), (event) => {
        events.push(event);
        idle.delete(resourceOf(path));
        wake();
      });
      signal.addEventListener('abort', () => wake());
      while (!signal.aborted) {
        const next = events.shift();
        if (next !== undefined) yield next;
        else {
          idle.add(resourceOf(path));
          await new Promise<undefined>((resolve) => {
            wake = () => resolve(undefined) as undefined;
          });
        }
      }
    },
  };
  return {
    client: client as ApiClient,
    lists,
    watches,
    /** Whether everything that was told has been taken. */
    isIdle: (resource: string) => idle.has(resource),
  };
}

const namespaceOf = (index: number, mode: string): JsonObject => ({
  metadata: {
    ...{ name: `ns-${index}`, uid: `uid-ns-${index}`, resourceVersion: String(index + 2) },
    labels: { [MODE_LABEL]: mode },
  },
});

function inNamespace(index: number): JsonObject {
  const { object } = deployment();
  const own = { namespace: `ns-${index}`, uid: `uid-${index}`, resourceVersion: '1' };
  return { ...object, metadata: { ...asObject(object['metadata']), ...own } };
}

test('2,000 namespaces with 2,000 Deployments start and change within seconds of CPU, and none is listed', async () => {
  const server = crowdedServer({
    namespaces: Array.from({ length: MANY }, (_, index) => namespaceOf(index, 'pause')),
    deployments: Array.from({ length: MANY }, (_, index) => inNamespace(index)),
  });
  const began = process.cpuUsage();
  const controllers = createControllers({
    config: readConfig(['node', 'gate', '--kubeconfig', 'none']),
    client: server.client,
    writeEvent: () => undefined,
    clock: manualClock(),
    random: () => 0.5,
    log: logDouble().log,
    pullTimes: PULL_TIMES,
    metrics: undefined,
  });
  try {
    controllers.start();
    await controllers.synced;
    await until(() => server.watches.has('namespaces'));
    for (let index = 0; index < MANY; index += 1)
      server.watches.get('namespaces')?.({ type: 'MODIFIED', object: namespaceOf(index, 'audit') });
    await until(() => server.isIdle('namespaces'));
    // A third of a second where this was written, and 35 s with a list for each namespace.
    const { user, system } = process.cpuUsage(began);
    assert.ok(user + system < 3e6, `${(user + system) / 1e6} s`);
    assert.deepEqual(
      server.lists.filter((path) => path.includes('/namespaces/')),
      [],
    );
  } finally {
    await controllers.stop();
  }
});

test('of a namespace that changes, its own Deployments are looked at and no others', async () => {
  const world = gateWorld();
  let looked = 0;
  const count = function* (found: Iterable<Deployment>) {
    for (const one of found) {
      looked += 1;
      yield one;
    }
  };
  const all = Array.from({ length: MANY }, (_, index) => parseDeployment(inNamespace(index)));
  const controller = createDeploymentController({
    client: world.api.client,
    clock: world.clock,
    random: () => 0.5,
    log: logDouble().log,
    writeEvent: () => undefined,
    deployments: {
      get: () => undefined,
      values: () => count(all),
      inNamespace: (namespace) => count(all.slice(Number(namespace.slice(3))).slice(0, 1)),
    },
    preloads: { get: () => undefined, values: () => [].values(), inNamespace: () => [].values() },
    modeOf: () => 'pause',
    awaitedOf: () => undefined,
    assessmentOf: () => undefined,
    onPreloadAwaited: () => undefined,
    settings: PRELOAD_SETTINGS,
  });
  for (let index = 0; index < MANY; index += 1) controller.namespaceChanged(`ns-${index}`);
  assert.equal(looked, MANY);
  await controller.stop();
});

test('the cache knows the objects of a namespace without looking at those of others', () => {
  let looked = 0;
  let isFollowed = false;
  const cache = createObjectCache<{ readonly name: string }>({
    parse: (raw) => ({ name: asString(at(raw, 'metadata', 'name')) ?? '' }),
    scope: {
      isFollowed: () => isFollowed,
      keepElsewhere(object) {
        looked += 1;
        return object;
      },
    },
    onChange: () => undefined,
    onTrouble: () => undefined,
  });
  isFollowed = true;
  for (let index = 0; index < MANY; index += 1) cache.put(cache.read(inNamespace(index)));
  isFollowed = false;
  for (let index = 0; index < MANY; index += 1) {
    cache.namespaceChanged(`ns-${index}`);
    assert.equal([...cache.inNamespace(`ns-${index}`)].length, 1);
  }
  assert.equal(looked, MANY);
});
