import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { deployment, UID } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, PRELOADS } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

const placed = (fields: JsonObject) => (pod: JsonObject) => ({
  ...pod,
  spec: { ...asObject(pod['spec']), ...fields },
});
const denied = refusal(403, 'Forbidden', 'admission webhook "policy.test" denied the request: not signed');

test('only nodes where the pods as admitted could land are asked, and one dry run is enough', async () => {
  const world = gateWorld();
  world.api.admits(placed({ nodeSelector: { 'kubernetes.io/os': 'linux', box: 'yes' } }));
  world.api.update('/api/v1/nodes/n2', (node) => ({
    ...node,
    metadata: { ...asObject(node['metadata']), labels: { 'kubernetes.io/os': 'linux', box: 'yes' } },
  }));
  world.start();
  world.hold();
  await world.pass(3000);
  assert.deepEqual(world.pods(), ['web n2 1']);
  const { uid } = world.preload();
  // Another answer from now on.
  world.api.admits((pod) => pod);
  world.pulled('n2');
  await world.pass(5000);
  assert.equal(world.web().paused, false);
  assert.equal(world.preload().uid, uid);
  assert.equal(world.api.called('dryRun', PODS).length, 1);
});

test('a refusal of the new version alone is told once, before the release, and the hold goes on', async () => {
  const world = gateWorld();
  const template = asObject(at(deployment().object, 'spec', 'template'));
  const labels = { app: 'web', 'pod-template-hash': '12ab' };
  world.api.put('/apis/apps/v1/namespaces/shop/replicasets/web-12ab', {
    metadata: { labels, ownerReferences: [{ uid: UID, controller: true }] },
    spec: { template: { ...template, metadata: { ...asObject(template['metadata']), labels } } },
  });
  world.api.refuse('dryRun', PODS, denied);
  // The ImagePreload is refused at first, so that all is asked again.
  world.api.refuse('create', PRELOADS, refusal(403, 'Forbidden', 'exceeded quota'));
  world.start();
  world.hold();
  await world.pass(5000);
  const told = world.events.filter(({ reason }) => reason === 'PodsMayBeRefused');
  assert.equal(new Set(told.map(({ dedupKey }) => dedupKey)).size, 1);
  assert.match(
    told[0]?.note ?? '',
    /^a dry run as Pullgate's account was refused: .* not signed; .* go back: kubectl -n shop set image /,
  );
  assert.equal(world.web().paused, true);
  for (const node of ['n1', 'n2']) world.pulled(node);
  await world.pass(3000);
  assert.equal(world.web().paused, false);
});

test('an update that comes during a slow dry run gets its own preload, and the old template none', async () => {
  const world = gateWorld();
  const { create } = world.api.client;
  Object.assign(world.api.client, {
    async create(path: string, body: unknown, query?: { dryRun?: string }) {
      if (query?.dryRun === 'All')
        await new Promise<void>((resolve) => world.clock.setTimer(4000, () => resolve()));
      return await create(path, body, query);
    },
  });
  world.start();
  world.hold();
  await world.pass(1000);
  world.hold(heldObject(updated.image('registry.test/app:3')));
  await world.pass(12_000);
  assert.deepEqual(
    world.preload().spec.images.map(({ image }) => image),
    ['registry.test/app:3'],
  );
  assert.equal(world.api.called('create', PRELOADS).length, 1);
});

test('with AlwaysPullImages a held restart is not taken for one that needs no image', async () => {
  const world = gateWorld({ settings: { alwaysPullImages: true } });
  world.start();
  const restarted = updated.image('registry.test/app:1').restartedAt('2026-01-01T00:00:00Z');
  world.hold(heldObject(restarted));
  await world.pass(3000);
  assert.equal(world.web().paused, true);
  assert.deepEqual(world.preload().spec.images, [
    { image: 'registry.test/app:1', imagePullPolicy: 'Always' },
  ]);
});
