import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ATTEMPT_ANNOTATION,
  FIRST_ATTEMPT_ANNOTATION,
  PRELOAD_LABEL,
  PULL_LABEL,
  PULLER_LABEL,
} from '../../src/api/names.ts';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { podName, pullKey } from '../../src/preloads/pods/puller-pod.ts';
import { gateWorld, PODS, PRELOADS, type World } from '../support/unit/gate-world.ts';
import { NOT_FOUND } from '../support/unit/preload-builder.ts';

/** What anybody can work out about the pull of the update that the world holds. */
const PULL = pullKey({
  namespace: 'shop',
  image: 'registry.test/app:2',
  imagePullPolicy: 'IfNotPresent',
  imagePullSecrets: [],
  serviceAccountName: '',
  tolerations: [],
});

const PENDING = { phase: 'Pending' };
const PULLED = {
  phase: 'Running',
  containerStatuses: [{ name: 'pull', imageID: 'x', state: { running: {} } }],
};
const waiting = (reason: string, message: string) => ({
  phase: 'Pending',
  containerStatuses: [{ name: 'pull', state: { waiting: { reason, message } } }],
});

interface Forgery {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly status: JsonObject;
  readonly attempt?: number;
  readonly owner?: JsonObject;
}

function forge({ api, clock }: World, { namespace, name, node, status, attempt = 1, owner }: Forgery): void {
  api.put(`/api/v1/namespaces/${namespace}/pods/${name}`, {
    metadata: {
      ...{ namespace, name, uid: `uid-${namespace}-${name}` },
      creationTimestamp: new Date(clock.now()).toISOString(),
      labels: { [PULLER_LABEL]: 'true', [PULL_LABEL]: PULL, [PRELOAD_LABEL]: 'web-1' },
      annotations: {
        [ATTEMPT_ANNOTATION]: String(attempt),
        [FIRST_ATTEMPT_ANNOTATION]: '2020-01-01T00:00:00Z',
      },
      ...(owner !== undefined && { ownerReferences: [owner] }),
    },
    spec: { nodeName: node },
    status,
  });
}

/** Two nodes, one hold that has asked for both. */
async function holding(options: Parameters<typeof gateWorld>[0] = {}): Promise<World> {
  const world = gateWorld(options);
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

const controller = (world: World, fields: JsonObject = {}) => ({
  ...{ apiVersion: 'pullgate.io/v1alpha1', kind: 'ImagePreload', controller: true },
  ...{ name: world.preload().name, uid: world.preload().uid },
  ...fields,
});
const NAMESPACES = ['evil', 'shop'];

for (const namespace of NAMESPACES) {
  test(`pods with the label that nobody pulls take no place in the cap (${namespace})`, async () => {
    const world = gateWorld();
    for (let n = 0; n < 200; n += 1) forge(world, { namespace, name: `p${n}`, node: '', status: PENDING });
    world.start();
    world.hold();
    await world.pass(1000);
    assert.equal(world.preloadController.running(), 2);
    for (const node of ['n1', 'n2']) world.pulled(node);
    await world.pass(1000);
    assert.equal(world.web().paused, false);
  });

  test(`pods that seem to have pulled release nothing (${namespace})`, async () => {
    const world = await holding();
    for (const node of ['n1', 'n2'])
      forge(world, { namespace, name: `forged-${node}`, node, status: PULLED });
    await world.pass(60_000);
    assert.equal(world.web().paused, true);
    assert.equal(world.preload().status?.ready, '0/2');
    assert.deepEqual(world.ended.pulls, []);
  });

  test(`pods that fail fail nobody else, and their words are not told (${namespace})`, async () => {
    const world = await holding();
    const status = waiting('ErrImagePull', `${NOT_FOUND} kubectl delete all`);
    for (const node of ['n1', 'n2']) forge(world, { namespace, name: `forged-${node}`, node, status });
    await world.pass(60_000);
    assert.equal(world.preload().status?.phase, 'Preloading');
    assert.doesNotMatch(JSON.stringify([...world.api.objects.values(), world.events]), /phase":"Failed"/);
    assert.doesNotMatch(JSON.stringify([world.preload(), world.web(), world.events]), /kubectl delete all/);
  });

  test(`pods of a late attempt have no pod of the gate's deleted (${namespace})`, async () => {
    const world = await holding();
    const status = waiting('ErrImagePull', 'net/http: timeout');
    for (const node of ['n1', 'n2'])
      forge(world, { namespace, name: `forged-${node}`, node, status, attempt: 999 });
    await world.pass(600_000);
    assert.deepEqual(world.api.called('delete', '/pods/'), []);
    assert.equal(world.api.called('create', PODS).length, 2);
  });
}

test('a pod that an ImagePreload owns but does not control is nobody’s', async () => {
  const world = await holding();
  for (const [n, fields] of [{ controller: false }, { kind: 'Deployment' }, { apiVersion: 'v1' }].entries())
    forge(world, {
      namespace: 'shop',
      name: `p${n}`,
      node: 'n1',
      status: PULLED,
      owner: controller(world, fields),
    });
  await world.pass(5000);
  assert.equal(world.preload().status?.ready, '0/2');
  assert.deepEqual(world.api.called('delete', PODS), []);
});

test('a pod whose controller has the uid of an ImagePreload in another namespace is nobody’s', async () => {
  const world = await holding();
  const { name, uid } = world.preload();
  const forged = podName({ name, uid }, PULL, 'n1', 7);
  forge(world, {
    namespace: 'evil',
    name: forged,
    node: 'n1',
    status: PULLED,
    attempt: 7,
    owner: controller(world),
  });
  await world.pass(5000);
  assert.equal(world.preload().status?.ready, '0/2');
  assert.equal(world.preloadController.running(), 2);
});

test('a pod of the gate’s in one namespace tells another namespace nothing', async () => {
  const world = await holding();
  world.api.put('/api/v1/namespaces/evil', {
    metadata: { name: 'evil', labels: { 'pullgate.io/mode': 'pause' } },
  });
  world.api.put(`${PRELOADS.replace('shop', 'evil')}/own`, {
    metadata: { namespace: 'evil', name: 'own', uid: 'uid-own', generation: 1 },
    spec: { images: [{ image: 'registry.test/other:1' }] },
  });
  const owner = controller(world, { name: 'own', uid: 'uid-own' });
  for (const node of ['n1', 'n2']) {
    const name = podName({ name: 'own', uid: 'uid-own' }, PULL, node, 1);
    forge(world, { namespace: 'evil', name, node, status: PULLED, owner });
  }
  await world.pass(5000);
  assert.equal(world.preload().status?.ready, '0/2');
  assert.equal(world.web().paused, true);
});

test('a pod of the gate’s from another version goes, as do those that somebody has edited', async () => {
  const world = await holding();
  const owner = controller(world);
  forge(world, { namespace: 'shop', name: 'web-of-old', node: 'n1', status: PULLED, owner });
  const [path = ''] = [...world.api.objects.keys()].filter((key) => key.startsWith(PODS));
  world.api.update(path, (pod) => {
    const metadata = asObject(pod['metadata']);
    return { ...pod, metadata: { ...metadata, annotations: { [ATTEMPT_ANNOTATION]: '3' } } };
  });
  await world.pass(2000);
  const deleted = world.api.called('delete', PODS).map(({ path: at }) => at);
  assert.deepEqual(deleted.toSorted(), [path, `${PODS}/web-of-old`].toSorted());
  assert.equal(world.preload().status?.ready, '0/2');
  assert.deepEqual(world.pods(), ['web n2 1', 'web n1 1'], 'what was edited is made again');
});

test('a pod from another version that cannot be deleted is deleted later', async () => {
  const world = await holding();
  world.api.refuse('delete', PODS, new Error('reset'));
  forge(world, {
    namespace: 'shop',
    name: 'web-of-old',
    node: 'n1',
    status: PULLED,
    owner: controller(world),
  });
  await world.pass(65_000);
  assert.equal(world.api.objects.has(`${PODS}/web-of-old`), false);
});

test('whichever is seen first, an ImagePreload or its pods: after a restart no pod is made twice', async () => {
  for (const last of ['imagepreloads', 'pods']) {
    const world = await holding();
    await world.stop();
    const entries = [...world.api.objects];
    const isLast = ([path]: [string, JsonObject]) => path.split('/').at(-2) === last;
    const stored = new Map([...entries.filter((entry) => !isLast(entry)), ...entries.filter(isLast)]);
    const second = gateWorld({ stored, startMs: world.clock.now() });
    second.start();
    await second.pass(2000);
    assert.deepEqual(second.api.called('create', PODS), [], last);
    for (const node of ['n1', 'n2']) second.pulled(node);
    await second.pass(1000);
    assert.equal(second.web().paused, false, last);
  }
});

test('an ImagePreload that is made anew under its name does not take over what a stranger has made for it', async () => {
  const world = await holding();
  const { name, uid } = world.preload();
  const path = `${PRELOADS}/${name}`;
  const again = {
    ...world.api.objects.get(path),
    metadata: { ...asObject(at(world.api.objects.get(path), 'metadata')), uid: 'uid-anew' },
  };
  // The uid of an ImagePreload that never was.
  const owner = controller(world, { uid: 'uid-anew' });
  const forged = podName({ name, uid }, PULL, 'n1', 5);
  forge(world, { namespace: 'shop', name: forged, node: 'n1', status: PULLED, attempt: 5, owner });
  world.api.put(path, undefined);
  world.api.put(path, again);
  await world.pass(2000);
  assert.equal(world.preload().status?.ready, '0/2');
  assert.equal(world.api.objects.has(`${PODS}/${forged}`), false, 'its name is not one of ours');
});
