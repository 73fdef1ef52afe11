import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asObject, at } from '../../src/json.ts';
import { gateWorld, PODS, type World } from './gate-world.ts';

/** Held, and the first wave asked for. */
async function holding(world: World): Promise<World> {
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

function taint(world: World, node: string, ...taints: object[]): void {
  world.api.update(`/api/v1/nodes/${node}`, (object) => ({
    ...object,
    spec: { ...asObject(object['spec']), taints },
  }));
}

test('a node with a startup taint gets the image by a pod that tolerates that taint', async () => {
  const world = gateWorld({ nodes: 1 });
  taint(world, 'n1', { key: 'pullgate.io/images-not-ready', value: 'true', effect: 'NoExecute' });
  await holding(world);
  const [pod] = [...world.api.objects].flatMap(([path, raw]) => (path.startsWith(PODS) ? [raw] : []));
  assert.deepEqual(at(pod, 'spec', 'tolerations'), [
    { key: 'pullgate.io/images-not-ready', operator: 'Exists', effect: 'NoExecute' },
  ]);
  world.pulled('n1');
  await world.pass(1000);
  assert.equal(world.web().paused, false);
});
