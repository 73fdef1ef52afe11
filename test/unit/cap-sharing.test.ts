import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, PRELOADS, WEB, type World, type WorldOptions } from '../support/unit/gate-world.ts';
import { heldObject } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

const in_ = (path: string, namespace: string) => path.replace('/shop/', `/${namespace}/`);
const podsIn = ({ api }: World, namespace: string) =>
  [...api.objects].filter(([path]) => path.startsWith(in_(PODS, namespace)));

/** A world whose namespace `evil` has opted in as well. Kubelets there never end a pull. */
function world(options: WorldOptions): World {
  const made = gateWorld(options);
  made.optIn('pause', 'evil');
  return made;
}

/** ImagePreloads by hand, each of an image of its own. */
function preloadByHand(
  { api }: World,
  namespace: string,
  { name, spec = {} }: { readonly name: string; readonly spec?: JsonObject },
): void {
  api.put(`${in_(PRELOADS, namespace)}/${name}`, {
    metadata: {
      ...{ namespace, name, uid: `uid-${namespace}-${name}`, generation: 1 },
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { images: [{ image: `slow.test/${name}:1` }], nodeTimeoutSeconds: 86_400, ...spec },
  });
}

function holdIn(world: World, namespace: string, name: string): void {
  const metadata = { namespace, name, uid: `uid-${namespace}-${name}` };
  const updated = deployment().metadata(metadata).image(`registry.test/${namespace}-${name}:2`);
  const object = heldObject(updated, { uid: metadata.uid, preload: `${name}-1` });
  world.hold(object, in_(WEB, namespace).replace(/web$/, name));
}

/** Lets the shop's kubelets pull at once, until its rollout is released; at most for so long. Returns how long it took. */
async function released(world: World, limitMs: number, cap: number): Promise<number> {
  const began = world.clock.monotonic();
  while (world.web().paused) {
    const passed = world.clock.monotonic() - began;
    assert.ok(passed < limitMs, `still paused after ${passed} ms`);
    await world.pass(100);
    assert.ok(world.preloadController.running() <= cap);
    for (const [, pod] of podsIn(world, 'shop')) world.pulled(String(at(pod, 'spec', 'nodeName')));
  }
  return world.clock.monotonic() - began;
}

test('ten slow preloads of another namespace do not keep a rollout waiting', async () => {
  const alone = world({ nodes: 20, maxConcurrentPulls: 40 });
  alone.start();
  alone.hold();
  const time = await released(alone, 10_000, 40);

  const crowded = world({ nodes: 20, maxConcurrentPulls: 40 });
  crowded.start();
  for (let n = 0; n < 10; n += 1) preloadByHand(crowded, 'evil', { name: `slow-${n}` });
  await crowded.pass(60_000);
  assert.equal(crowded.preloadController.running(), 40);
  crowded.hold();
  assert.ok((await released(crowded, 10_000, 40)) <= time + 500);
});

test('ten slow rollouts of another namespace leave a rollout half of the places', async () => {
  const crowded = world({ nodes: 20, maxConcurrentPulls: 20 });
  crowded.start();
  for (let n = 0; n < 10; n += 1) holdIn(crowded, 'evil', `slow-${n}`);
  await crowded.pass(60_000);
  assert.equal(podsIn(crowded, 'evil').length, 20);
  crowded.hold();
  await crowded.pass(1000);
  assert.deepEqual([podsIn(crowded, 'evil').length, podsIn(crowded, 'shop').length], [10, 10]);
  await released(crowded, 10_000, 20);
  await crowded.pass(1000);
  assert.equal(podsIn(crowded, 'evil').length, 20, 'and gets them back');
});

test('a pull of a few seconds is left alone', async () => {
  const crowded = world({ nodes: 20, maxConcurrentPulls: 20 });
  crowded.start();
  holdIn(crowded, 'evil', 'slow');
  await crowded.pass(2000);
  crowded.hold();
  await crowded.pass(7000);
  assert.deepEqual(crowded.api.called('delete', '/pods/'), []);
  await crowded.pass(2000);
  assert.equal(podsIn(crowded, 'shop').length, 10);
});

test('places that wait for a slow webhook of another namespace are not waited for', async () => {
  const crowded = world({ nodes: 20, maxConcurrentPulls: 40 });
  const { create } = crowded.api.client;
  Object.assign(crowded.api.client, {
    create: (path: string, body: unknown, query?: object) =>
      path.startsWith(in_(PODS, 'evil')) && query === undefined
        ? new Promise(() => undefined)
        : create(path, body),
  });
  crowded.start();
  for (let n = 0; n < 10; n += 1) holdIn(crowded, 'evil', `slow-${n}`);
  await crowded.pass(2000);
  assert.equal(crowded.preloadController.running(), 40);
  crowded.hold();
  await released(crowded, 10_000, 40);
});

test('a preload that may pull for a day gives its place away when the time of the gate is over', async () => {
  const crowded = world({ nodes: 2, maxConcurrentPulls: 2 });
  crowded.start();
  preloadByHand(crowded, 'evil', { name: 'slow' });
  await crowded.pass(60_000);
  preloadByHand(crowded, 'evil', { name: 'other' });
  await crowded.pass(800_000);
  assert.equal(
    crowded.api.called('create', in_(PODS, 'evil')).length,
    2,
    'in one namespace nobody has to give before',
  );
  await crowded.pass(60_000);
  const images = podsIn(crowded, 'evil').map(([, pod]) => JSON.stringify(pod).match(/slow\.test\/\w+/)?.[0]);
  assert.deepEqual(images.sort(), ['slow.test/other', 'slow.test/slow']);
  const { status } = asObject(crowded.api.objects.get(`${in_(PRELOADS, 'evil')}/slow`));
  assert.match(
    JSON.stringify(at(status, 'failures')),
    /"reason":"Timeout".*--node-timeout-seconds.*its place/,
  );
});

test('a node whose pull gave its place away as it took too long still leaves the count', async () => {
  const crowded = world({ nodes: 3, maxConcurrentPulls: 1, settings: { minNodes: '100%' } });
  crowded.start();
  crowded.hold();
  await crowded.pass(500);
  const nodes = () => crowded.pods().flatMap((pod) => pod.split(' ')[1] ?? []);
  const [first = ''] = nodes();
  crowded.pulled(first);
  await crowded.pass(500);
  const hanging = nodes().find((node) => node !== first);
  await crowded.pass(901_000);
  const last = nodes().find((node) => node !== first && node !== hanging) ?? '';
  crowded.pulled(last);
  await crowded.pass(1000);
  assert.equal(crowded.web().paused, false);
});

const change = (world: World, node: string, fields: JsonObject) =>
  world.api.update(`/api/v1/nodes/${node}`, (object) => ({ ...object, ...fields }));
const LOST: Readonly<Record<string, (world: World, node: string) => void>> = {
  'that is not ready': (world, node) =>
    void change(world, node, { status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } }),
  'that is deleted': (world, node) => world.api.put(`/api/v1/nodes/${node}`, undefined),
  'that is cordoned': (world, node) => void change(world, node, { spec: { unschedulable: true } }),
};
for (const [what, lose] of Object.entries(LOST)) {
  test(`a pull on a node ${what} gives its place to another node`, async () => {
    const lossy = world({ nodes: 2, maxConcurrentPulls: 2 });
    lossy.start();
    lossy.hold();
    await lossy.pass(500);
    for (const node of ['n3', 'n4']) lossy.addNode(node);
    await lossy.pass(1500);
    assert.deepEqual(
      lossy
        .pods()
        .map((pod) => pod.split(' ')[1])
        .sort(),
      ['n1', 'n2'],
    );
    for (const node of ['n1', 'n2']) lose(lossy, node);
    await lossy.pass(2000);
    assert.deepEqual(
      lossy
        .pods()
        .map((pod) => pod.split(' ')[1])
        .sort(),
      ['n3', 'n4'],
    );
    assert.equal(lossy.preloadController.running(), 2);
  });
}

test('what a node has pulled is kept while it is not ready', async () => {
  const lossy = world({ nodes: 2, maxConcurrentPulls: 2 });
  lossy.start();
  lossy.hold();
  await lossy.pass(500);
  lossy.pulled('n1');
  await lossy.pass(500);
  LOST['that is not ready']?.(lossy, 'n1');
  await lossy.pass(5000);
  assert.deepEqual(lossy.pods(), ['web n1 1', 'web n2 1']);
});

test('a pull goes on as long as one of its preloads counts the node', async () => {
  const shared = world({ nodes: 2 });
  change(shared, 'n2', { metadata: { name: 'n2', labels: { 'kubernetes.io/os': 'linux', pool: 'a' } } });
  shared.start();
  const images = [{ image: 'slow.test/app:1' }];
  preloadByHand(shared, 'shop', { name: 'wide', spec: { images } });
  await shared.pass(500);
  const scheduling = { nodeSelector: { pool: 'a' } };
  preloadByHand(shared, 'shop', { name: 'narrow', spec: { images, scheduling } });
  await shared.pass(5000);
  assert.deepEqual(shared.pods(), ['wide n1 1', 'wide n2 1']);
});

test('a place that cannot be taken back now is taken back later', async () => {
  const crowded = world({ nodes: 2, maxConcurrentPulls: 2 });
  crowded.start();
  preloadByHand(crowded, 'evil', { name: 'slow' });
  await crowded.pass(60_000);
  crowded.api.refuse('delete', in_(PODS, 'evil'), refusal(500, 'InternalError'), 4);
  crowded.hold();
  await released(crowded, 30_000, 2);
});
