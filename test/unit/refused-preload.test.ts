import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../src/json.ts';
import { gateWorld, PODS, PRELOADS } from '../support/unit/gate-world.ts';

const LARGE = `${PRELOADS}/large`;
const large = (metadata: JsonObject = {}): JsonObject => ({
  metadata: {
    namespace: 'shop',
    name: 'large',
    uid: 'uid-large',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...metadata,
  },
  spec: {
    images: [{ image: 'registry.test/app:9' }],
    scheduling: { tolerations: Array.from({ length: 101 }, () => ({ operator: 'Exists' })) },
  },
});
const WHY = 'nothing is preloaded: tolerations has 101 entries, more than 100';

test('an ImagePreload that asks for more than the gate carries pulls nothing, and says why', async () => {
  const world = gateWorld();
  world.start();
  world.api.put(LARGE, large());
  await world.pass(5000);
  const { status } = world.preload();
  assert.deepEqual([status?.phase, status?.ready, world.pods()], ['Failed', '0/0', []]);
  assert.deepEqual(
    status?.conditions.map(({ type, status: value, reason, message }) => [type, value, reason, message]),
    [
      ['Ready', 'False', 'LimitExceeded', WHY],
      ['Progressing', 'False', 'LimitExceeded', WHY],
      ['Failed', 'True', 'LimitExceeded', WHY],
      ['Degraded', 'True', 'LimitExceeded', WHY],
    ],
  );
  const [event, ...others] = new Map(world.events.map((one) => [one.dedupKey, one])).values();
  assert.deepEqual([event?.reason, event?.regarding.name, others], ['LimitExceeded', 'large', []]);
  assert.ok(event?.note.startsWith(WHY));
});

test('it goes when its time to live is over, as any other that has its answer', async () => {
  const world = gateWorld();
  world.start();
  world.api.put(LARGE, large());
  await world.pass(25 * 3600_000);
  assert.deepEqual(world.preloads(), []);
});

test('one in the place of the preload of a hold is made anew', async () => {
  const world = gateWorld({ nodes: 1 });
  world.start();
  world.hold();
  await world.pass(200);
  const [path] = [...world.api.objects.keys()].filter((key) => key.startsWith(PRELOADS));
  assert.ok(path !== undefined);
  world.api.update(path, (object) => ({ ...object, spec: large()['spec'] }));
  await world.pass(5000);
  assert.deepEqual(
    world.preload().spec.images.map(({ image }) => image),
    ['registry.test/app:2'],
  );
  assert.equal(world.preload().refused, undefined);
  assert.ok(world.api.called('create', PODS).length > 0);
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, false);
});
