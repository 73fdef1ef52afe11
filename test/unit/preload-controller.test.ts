import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { runningTemplate } from '../../src/api/images-to-pull.ts';
import { preloadName } from '../../src/api/preload-name.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import type { Query } from '../../src/cluster/api-call.ts';
import { asArray, asObject, asString, at } from '../../src/json.ts';
import { preloadManifest, preloadSpec } from '../../src/preloads/preload-spec.ts';
import { deployment, PRELOAD_SETTINGS } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, PRELOADS, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject, holdOf, SINCE, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';
import { NOT_FOUND } from '../support/unit/preload-builder.ts';

const creates = ({ api }: World) => api.called('create', PODS);
const statusWrites = ({ api }: World) => api.called('jsonPatch', '/status');

/** Held, and the first wave asked for. */
async function holding(world: World): Promise<World> {
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

test('each image gets one pod on each node', async () => {
  const world = await holding(gateWorld({ nodes: 3 }));
  assert.deepEqual(world.pods(), ['web n1 1', 'web n2 1', 'web n3 1']);
  await world.pass(60_000);
  assert.equal(creates(world).length, 3);
});

test('a late watch does not make it create anything twice', async () => {
  const world = gateWorld();
  world.api.holdBackWatch('pods');
  await holding(world);
  for (let n = 0; n < 20; n += 1) {
    world.preloadController.preloadChanged(`shop/${world.preload().name}`);
    await world.pass(100);
  }
  world.api.catchUp();
  await world.pass(5000);
  assert.equal(creates(world).length, 2);
});

test('a pod that has the name already is waited for, without asking again and again', async () => {
  const world = gateWorld({ nodes: 1 });
  world.api.refuse('create', PODS, refusal(409, 'AlreadyExists'), 3);
  await holding(world);
  assert.equal(creates(world).length, 1);
  await world.pass(10_000);
  assert.equal(creates(world).length, 4);
  assert.deepEqual(world.pods(), ['web n1 1']);
});

test('a name that somebody else has taken is not asked for every second: it is a failure of that attempt', async () => {
  const world = gateWorld({ nodes: 1 });
  world.api.refuse('create', PODS, refusal(409, 'AlreadyExists', 'pods "web-1" already exists'), 1000);
  await holding(world);
  await world.pass(20_000);
  assert.equal(creates(world).length, 5);
  const { status } = world.preload();
  assert.deepEqual(status?.failures[0]?.reason, 'PodRejected');
  assert.match(status?.failures[0]?.message ?? '', /already exists, and it is not Pullgate's/);
  await world.pass(600_000);
  assert.ok(creates(world).length < 60);
});

test("what the API server refuses fails on that node in the API server's words, and is retried by back-off", async () => {
  const world = gateWorld();
  const quota = 'pods "x" is forbidden: exceeded quota: pods=10';
  world.api.refuse('create', PODS, refusal(403, 'Forbidden', quota));
  await holding(world);
  await world.pass(2000);
  const { status } = world.preload();
  assert.deepEqual([status?.failedNodes, status?.failures[0]?.reason], [1, 'PodRejected']);
  assert.match(status?.failures[0]?.message ?? '', /exceeded quota/);
  assert.equal(creates(world).length, 2);
  await world.pass(30_000);
  assert.deepEqual(world.pods().toSorted(), ['web n1 2', 'web n2 1']);
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(2000);
  assert.equal(world.preload().status?.failedNodes, 0);
});

test("why a pod does not begin to pull is told in its events' words, read once, and no more once it has pulled", async () => {
  const world = gateWorld();
  const events = '/api/v1/namespaces/shop/events';
  const message = 'Failed to create pod sandbox: no IP addresses available';
  world.api.put(`${events}/x`, {
    metadata: { namespace: 'shop', name: 'x' },
    reason: 'FailedCreatePodSandBox',
    message,
  });
  await holding(world);
  world.creating('n1');
  world.pulled('n2');
  await world.pass(8000);
  assert.deepEqual(world.api.called('get', events), []);
  await world.pass(60_000);
  assert.equal(world.api.called('get', events).length, 1);
  const { status } = world.preload();
  assert.deepEqual([status?.pullingNodes, status?.readyNodes, status?.failedNodes], [1, 1, 0]);
  assert.deepEqual(
    status?.failures.map(({ node, reason }) => [node, reason]),
    [['n1', 'PodNotStarted']],
  );
  const told = world.events.find(({ reason }) => reason === 'PreloadNodeFailed');
  assert.match(told?.note ?? '', /^n1: .*no IP addresses available \(PodNotStarted\); /);
  assert.equal(creates(world).length, 2, 'no attempt was given up');
  world.pulled('n1');
  await world.pass(2000);
  assert.deepEqual(world.preload().status?.failures, []);
});

for (const error of [
  refusal(409, 'Conflict', 'quota changed'),
  refusal(503, 'ServiceUnavailable'),
  new Error('reset'),
]) {
  test(`${error.message}: nothing is said of the node, and it is asked again a second later`, async () => {
    const world = gateWorld({ nodes: 1 });
    world.api.refuse('create', PODS, error);
    await holding(world);
    assert.deepEqual([world.pods(), creates(world).length], [[], 1]);
    await world.pass(1100);
    assert.deepEqual(world.pods(), ['web n1 1']);
    assert.equal(world.preload().status?.failedNodes, 0);
  });
}

test('a pod that the watch never showed is made again after a minute', async () => {
  const world = gateWorld({ nodes: 1 });
  const { create } = world.api.client;
  let swallowed = 0;
  Object.assign(world.api.client, {
    create: (path: string, body: unknown, query?: Query) => {
      if (!path.startsWith(PODS) || query?.['dryRun'] !== undefined || swallowed > 0)
        return create(path, body, query);
      swallowed += 1;
      return Promise.resolve({});
    },
  });
  await holding(world);
  assert.deepEqual(world.pods(), []);
  await world.pass(61_000);
  assert.deepEqual(world.pods(), ['web n1 1']);
});

test('a pod that somebody deletes is made again', async () => {
  const world = await holding(gateWorld({ nodes: 1 }));
  const [pod = ''] = [...world.api.objects.keys()].filter((path) => path.startsWith(PODS));
  world.api.put(pod, undefined);
  await world.pass(100);
  assert.deepEqual(world.pods(), ['web n1 1']);
});

test('while one is on its way out, its name is not asked for again', async () => {
  const world = await holding(gateWorld({ nodes: 1 }));
  const [pod = ''] = [...world.api.objects.keys()].filter((path) => path.startsWith(PODS));
  world.api.update(pod, (object) => ({
    ...object,
    metadata: { ...asObject(object['metadata']), deletionTimestamp: '2026-01-01T00:00:00Z' },
  }));
  await world.pass(20_000);
  assert.equal(creates(world).length, 1);
  world.api.put(pod, undefined);
  await world.pass(100);
  assert.equal(creates(world).length, 2);
});

test('one that goes with its namespace goes at once, however long its kubelet would take', async () => {
  const world = await holding(gateWorld({ nodes: 1 }));
  const [pod = ''] = [...world.api.objects.keys()].filter((path) => path.startsWith(PODS));
  world.api.refuse(
    'create',
    '/imagepreloads',
    refusal(403, 'Forbidden', 'the namespace is being terminated'),
    99,
  );
  world.api.update(pod, (object) => ({
    ...object,
    metadata: { ...asObject(object['metadata']), deletionTimestamp: '2026-01-01T00:00:00Z' },
  }));
  const [preload = ''] = [...world.api.objects.keys()].filter((path) => path.includes('/imagepreloads/'));
  world.api.put(preload, undefined);
  await world.pass(100);
  assert.deepEqual(world.pods(), []);
});

test('the status is written at most once a second, and not at all if nothing changed', async () => {
  const world = await holding(gateWorld({ nodes: 40 }));
  for (let n = 0; n < 80; n += 1) {
    world.pulled(`n${(n % 40) + 1}`);
    await world.pass(100);
  }
  await world.pass(1000);
  const times = statusWrites(world).map(({ at: time }) => time);
  for (const [index, time] of times.entries())
    assert.ok(index === 0 || time - (times[index - 1] ?? 0) >= 1000);
  assert.ok(times.length >= 4);
  const before = times.length;
  await world.pass(600_000);
  assert.equal(statusWrites(world).length, before);
  assert.equal(world.preload().status?.ready, '40/40');
});

test('a status that cannot be written holds up neither pulls nor the release, and is tried again', async () => {
  const world = gateWorld();
  world.api.refuse('jsonPatch', 'imagepreloads', refusal(422, 'Invalid'), 2);
  await holding(world);
  assert.equal(world.pods().length, 2);
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(100);
  assert.equal(world.web().paused, false);
  await world.pass(20_000);
  assert.equal(world.preload().status?.phase, 'Ready');
});

test('a refused image is probed on one node, and comes by itself once it is there', async () => {
  const world = await holding(gateWorld({ nodes: 3 }));
  await world.refusing(NOT_FOUND, 'n1', 'n2', 'n3');
  assert.equal(world.preload().status?.phase, 'Failed');
  await world.pass(30_000);
  assert.deepEqual(world.pods().toSorted(), ['web n1 2', 'web n1 3', 'web n2 2', 'web n3 2']);
  world.pulled('n1');
  await world.pass(40_000);
  for (const node of ['n2', 'n3']) world.pulled(node);
  await world.pass(2000);
  assert.equal(world.preload().status?.phase, 'Ready');
});

test('a node that joins during a hold is preloaded, too', async () => {
  const world = await holding(gateWorld({ nodes: 1 }));
  world.addNode('n2');
  await world.pass(1100);
  assert.deepEqual(world.pods(), ['web n1 1', 'web n2 1']);
});

test('nodes that report all the time are looked at once a second', async () => {
  const world = await holding(gateWorld({ nodes: 1 }));
  await world.pass(5000);
  const lists = () => world.lines.filter(({ msg }) => msg === 'pull starts').length;
  const before = lists();
  for (let n = 0; n < 100; n += 1) world.addNode(`later-${n}`);
  await world.pass(50);
  const first = lists() - before;
  assert.ok(first > 0 && first < 100, 'the first at once');
  await world.pass(1000);
  // Default parallelism: 20 of 101 nodes.
  assert.equal(lists() - before, 19);
});

test('no more pulls run than the cap allows, over all preloads, and each gets its share', async () => {
  const world = gateWorld({ nodes: 10, maxConcurrentPulls: 4 });
  world.start();
  world.hold();
  const other = deployment().metadata({ name: 'api', uid: 'uid-api' }).image('registry.test/api:2');
  world.hold(heldObject(other, { uid: 'uid-api', preload: 'api-1' }), WEB.replace('web', 'api'));
  const done = new Set<string>();
  let most = 0;
  for (let n = 0; n < 30; n += 1) {
    await world.pass(1000);
    const running = world.pods().filter((pod) => !done.has(pod));
    most = Math.max(most, running.length);
    assert.ok(running.length <= 4);
    if (n === 2) {
      assert.deepEqual(new Set(running.map((pod) => pod.split(' ')[0])), new Set(['web', 'api']));
    }
    const [next] = running;
    if (next === undefined) break;
    const node = next.split(' ')[1] ?? '';
    world.pulled(node);
    for (const pod of world.pods()) if (pod.split(' ')[1] === node) done.add(pod);
  }
  await world.pass(2000);
  assert.equal(most, 4);
  assert.deepEqual(
    world.preloads().map(({ status }) => status?.ready),
    ['10/10', '10/10'],
  );
});

test('of many preloads that wait for a place, one takes each that becomes free, and at once', async () => {
  const names = ['web', 'api', 'cart', 'mail', 'shop', 'stock'];
  const nodes = 3;
  const cap = 4;
  const world = gateWorld({ nodes, maxConcurrentPulls: cap });
  world.start();
  for (const name of names) {
    const one = deployment()
      .metadata({ name, uid: `uid-${name}` })
      .image(`registry.test/${name}:2`);
    const held = heldObject(one, { uid: `uid-${name}`, preload: `${name}-1` });
    world.hold(held, WEB.replace('web', name));
  }
  const ended = new Set<string>();
  for (let left = names.length * nodes; left > 0; left -= 1) {
    await world.pass(1200);
    const running = [...world.api.objects.keys()].filter((path) => path.startsWith(PODS) && !ended.has(path));
    assert.equal(running.length, Math.min(cap, left));
    const [path = ''] = running;
    ended.add(path);
    const state = { terminated: { reason: 'StartError', exitCode: 128 } };
    const containerStatuses = [{ name: 'pull', imageID: `sha256:${'ab'.repeat(32)}`, state }];
    world.api.update(path, (pod) => ({ ...pod, status: { phase: 'Failed', containerStatuses } }));
  }
  await world.pass(2000);
  assert.ok(world.preloads().every(({ status }) => status?.phase === 'Ready'));
});

/** Released and rolled out. */
async function finished(world: World): Promise<World> {
  await holding(world);
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(2000);
  world.rolledOut();
  await world.pass(2000);
  return world;
}

test('the pods stay until the release, then they are deleted, each with one call, and their nodes go on counting', async () => {
  const world = gateWorld();
  await holding(world);
  world.pulled('n1');
  await world.pass(10_000);
  assert.equal(world.pods().length, 2);
  world.pulled('n2');
  await world.pass(2000);
  assert.equal(world.web().paused, false);
  assert.deepEqual([world.pods(), world.preload().status?.ready], [[], '2/2']);
  await world.pass(600_000);
  assert.equal(world.api.called('create', PODS).length, 2, 'no node is asked again');
  world.rolledOut();
  await world.pass(2000);
  assert.deepEqual(world.pods(), []);
  assert.equal(world.api.called('delete', PODS).length, 2);
  const { status } = world.preload();
  assert.deepEqual([status?.phase, status?.ready], ['Finished', '2/2']);
  assert.ok(status?.finishedAt);
});

test('a pod that could not be deleted is deleted later', async () => {
  const world = gateWorld();
  world.api.refuse('delete', PODS, refusal(500, 'InternalError'));
  await finished(world);
  await world.pass(5000);
  assert.deepEqual(world.pods(), []);
});

test('what is superseded starts no new pull, and says so', async () => {
  const world = await holding(gateWorld());
  const first = world.preload().name;
  world.hold(heldObject(updated.image('registry.test/app:3')));
  await world.pass(3000);
  const phases = Object.fromEntries(world.preloads().map(({ name, status }) => [name, status?.phase]));
  assert.equal(phases[first], 'Superseded');
  assert.equal(Object.keys(phases).length, 2);
  assert.equal(world.pods().length, 2);
});

test('a finished preload is kept for its time to live, then deleted', async () => {
  const world = await finished(gateWorld());
  await world.pass(3590_000);
  assert.equal(world.preloads().length, 1);
  await world.pass(20_000);
  assert.equal(world.preloads().length, 0);
});

test('a pod of the Deployment that fails after the rollout pulls nothing again', async () => {
  const world = await finished(gateWorld());
  const { length } = creates(world);
  world.api.update(WEB, (object) => ({
    ...object,
    status: { ...asObject(object['status']), availableReplicas: 1 },
  }));
  await world.pass(10_000);
  assert.equal(creates(world).length, length);
  assert.equal(world.preload().status?.phase, 'Finished');
});

test('after a restart everything goes on from what is stored, and what has finished stays as it was', async () => {
  const world = await holding(gateWorld());
  world.pulled('n1');
  await world.pass(2000);
  await world.stop();
  const second = gateWorld({ stored: world.api.objects, startMs: world.clock.now() });
  second.start();
  await second.pass(2000);
  assert.equal(creates(second).length, 0);
  second.pulled('n2');
  await second.pass(100);
  assert.equal(second.web().paused, false);
  second.rolledOut();
  await second.pass(2000);
  const before = second.preload().status;
  await second.stop();
  const third = gateWorld({ stored: second.api.objects, startMs: second.clock.now() });
  third.start();
  await third.pass(5000);
  assert.deepEqual(third.preload().status, before);
  assert.deepEqual(third.api.calls, []);
});

test('before everything stored has been read nothing is decided', async () => {
  const world = await holding(gateWorld());
  const stored = new Map([...world.api.objects].filter(([path]) => path !== WEB));
  const second = gateWorld({ stored, startMs: world.clock.now() });
  await second.pass(10_000);
  assert.deepEqual(second.api.calls, []);
  second.hold(heldObject());
  second.start();
  await second.pass(2000);
  assert.equal(second.api.called('delete', PODS).length, 0);
  assert.equal(second.preload().status?.finishedAt, undefined);
});

test('an assessment of the past counts for nothing when a rollout waits again', async () => {
  const world = await holding(gateWorld());
  const key = `shop/${world.preload().name}`;
  await world.refusing(NOT_FOUND, 'n1', 'n2');
  assert.equal(world.preloadController.assessmentOf(key)?.outcome.kind, 'fail');
  world.hold(deployment().object);
  await world.pass(1500);
  assert.deepEqual([world.pods(), world.preload().status?.phase], [[], 'Superseded']);
  assert.equal(world.preloadController.assessmentOf(key), undefined);
  world.hold(heldObject());
  await world.pass(1500);
  assert.equal(world.preloadController.assessmentOf(key)?.outcome.kind, 'wait');
  world.collectGarbage();
  assert.deepEqual(world.pods(), ['web n1 1', 'web n2 1']);
  assert.equal(world.preload().status?.finishedAt, undefined);
});

const byHand = {
  metadata: { namespace: 'shop', name: 'early', uid: 'uid-early', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { images: [{ image: 'registry.test/app:9' }] },
};
const EARLY = '/apis/pullgate.io/v1alpha1/namespaces/shop/imagepreloads/early';

test('one made by hand is carried out, finishes when it is ready, and leaves no pods', async () => {
  const world = gateWorld();
  world.start();
  world.api.put(EARLY, byHand);
  await world.pass(100);
  assert.equal(world.pods().length, 2);
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(5000);
  const { status } = world.preload();
  assert.deepEqual([status?.phase, world.pods()], ['Ready', []]);
  assert.ok(status?.finishedAt);
});

test('one whose spec is edited pulls what it says now', async () => {
  const world = gateWorld({ nodes: 1 });
  world.start();
  world.api.put(EARLY, { ...byHand, metadata: { ...byHand.metadata, generation: 1 } });
  await world.pass(100);
  world.api.update(EARLY, (object) => ({ ...object, spec: { images: [{ image: 'registry.test/app:10' }] } }));
  await world.pass(2000);
  assert.match(JSON.stringify(creates(world).map(({ body }) => body)), /app:9.*app:10/);
});

test('one made anew with a narrower node selector pulls on the nodes that are left, and only counts those', async () => {
  const world = gateWorld();
  world.api.update('/api/v1/nodes/n2', (node) => {
    const metadata = asObject(node['metadata']);
    return { ...node, metadata: { ...metadata, labels: { ...asObject(metadata['labels']), pool: 'web' } } };
  });
  await holding(world);
  world.hold(heldObject(updated.annotate('pullgate.io/node-selector', 'pool=web')));
  await world.pass(2000);
  const { spec, status } = world.preload();
  assert.deepEqual(spec.scheduling.nodeSelector, { pool: 'web' });
  assert.deepEqual([status?.desiredNodes, status?.excluded], [1, [{ reason: 'NodeSelector', count: 1 }]]);
  world.pulled('n2');
  await world.pass(100);
  assert.equal(world.web().paused, false);
});

test('one made anew with policy Always trusts no pull that began before it', async () => {
  const world = gateWorld();
  world.start();
  const always = deployment().policy('Always');
  const restarted = always.restartedAt('today');
  const from = { from: runningTemplate(at(always.object, 'spec', 'template')) };
  world.hold(heldObject(restarted, from));
  await world.pass(200);
  world.pulled('n1');
  await world.pass(2000);
  assert.equal(world.preload().status?.ready, '1/2');
  world.hold(heldObject(restarted.annotate('pullgate.io/min-nodes', '1'), from));
  await world.pass(2000);
  assert.deepEqual([world.preload().status?.ready, world.web().paused], ['0/2', true]);
  assert.equal(creates(world).length, 4);
});

test('one made by hand where nobody opted in is left alone', async () => {
  const world = gateWorld();
  world.optIn(undefined);
  world.start();
  world.api.put(EARLY, byHand);
  await world.pass(5000);
  assert.deepEqual(world.api.calls, []);
});

test('a stop leaves no timer behind', async () => {
  const world = gateWorld();
  world.api.refuse('create', PODS, refusal(500, 'InternalError'));
  await holding(world);
  world.addNode('n3');
  await world.stop();
  assert.deepEqual(world.clock.timers(), []);
});

test('what is made for a workload is owned by its preload', async () => {
  const world = await holding(gateWorld({ nodes: 1 }));
  const [pod] = creates(world);
  const [owner] = at(pod?.body, 'metadata', 'ownerReferences') as object[];
  assert.partialDeepStrictEqual(owner, { kind: 'ImagePreload', uid: world.preload().uid, controller: true });
});

test('the path that a puller pod is to run cannot be foreseen: the numbers for delays have no part in it', async () => {
  const random = /^\/pullgate-preload-only-[0-9a-f]{32}$/;
  const paths = creates(await holding(gateWorld({ nodes: 3 }))).map(({ body }) => {
    const [container] = asArray(at(body, 'spec', 'containers'));
    return asString(asArray(at(container, 'command'))[0]) ?? '';
  });
  for (const path of paths) assert.match(path, random);
  assert.equal(
    new Set(paths).size,
    3,
    'one for each pod, although this world has one number for every delay',
  );
});

/** As admission makes it for an update that it rejects in mode reject. */
function requested(world: World, image: string, seconds: number): string {
  const wanted = parseDeployment(deployment().image(image).object);
  const name = preloadName(wanted, templateHash(wanted.template));
  const spec = preloadSpec(wanted, holdOf().from, { ...PRELOAD_SETTINGS, ttlSecondsAfterFinished: 600 });
  const manifest = preloadManifest(wanted, name, spec, PRELOAD_SETTINGS);
  const creationTimestamp = new Date(Date.parse(SINCE) + seconds * 1000).toISOString();
  const metadata = {
    ...asObject(manifest['metadata']),
    uid: `uid-${image}`,
    creationTimestamp,
    generation: 1,
  };
  world.api.put(`${PRELOADS}/${name}`, { ...manifest, metadata });
  return name;
}

test('a request in mode reject is pulled for as long as it is asked for, and its images kept for a while', async () => {
  const world = gateWorld({ nodes: 1 });
  world.optIn('reject');
  world.start();
  requested(world, 'registry.test/app:2', 0);
  await world.pass(100);
  assert.deepEqual(world.pods(), ['web n1 1']);
  world.pulled('n1');
  await world.pass(590_000);
  assert.deepEqual([world.preload().status?.phase, world.pods().length], ['Ready', 1]);
  await world.pass(20_000);
  assert.deepEqual([world.preload().status?.phase, world.pods()], ['Finished', []]);
  assert.equal(world.web().paused, false);
});

test('a newer request ends the one before it at once', async () => {
  const world = gateWorld({ nodes: 1 });
  world.optIn('reject');
  world.start();
  const first = requested(world, 'registry.test/app:2', 0);
  await world.pass(1100);
  requested(world, 'registry.test/app:3', 1);
  await world.pass(1100);
  const phases = new Map(world.preloads().map(({ name, status }) => [name, status?.phase]));
  assert.equal(phases.get(first), 'Superseded');
  assert.equal(phases.size, 2);
  assert.equal(creates(world).length, 2);
  assert.deepEqual(world.pods().length, 1, 'that of the newer one');
});

test('in a namespace with another mode a request is not served', async () => {
  for (const mode of ['pause', 'audit', undefined] as const) {
    const world = gateWorld({ nodes: 1 });
    world.optIn(mode);
    world.start();
    requested(world, 'registry.test/app:2', 0);
    await world.pass(2000);
    assert.deepEqual(creates(world), [], mode);
  }
});
