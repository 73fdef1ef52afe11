import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gateWorld, PRELOADS } from '../support/unit/gate-world.ts';

/** How often a preload of so many images on 40 nodes is looked at in a second in which something happens all the time. */
async function looksPerSecond(images: number): Promise<number> {
  const world = gateWorld({ nodes: 40, maxConcurrentPulls: 1 });
  world.start();
  world.api.put(`${PRELOADS}/many`, {
    metadata: {
      namespace: 'shop',
      name: 'many',
      uid: 'uid-many',
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { images: Array.from({ length: images }, (_, n) => ({ image: `registry.test/app:${n}` })) },
  });
  await world.pass(1000);
  const seen = new Set<unknown>();
  for (let ms = 0; ms < 1000; ms += 5) {
    world.preloadController.preloadChanged('shop/many');
    await world.pass(5);
    seen.add(world.preloadController.assessmentOf('shop/many'));
  }
  await world.stop();
  return seen.size;
}

test('a preload that takes long to look at is looked at less often, so that it takes no time from others', async () => {
  const [one, many] = [await looksPerSecond(1), await looksPerSecond(100)];
  assert.ok(one > 30, `${one} times`);
  assert.ok(many < 12, `${many} times`);
});
