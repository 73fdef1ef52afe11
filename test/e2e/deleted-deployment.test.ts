import { test } from 'node:test';
import { deploy } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { until } from './until.ts';

const world = gatedLab();

test('the preload and its pods go with a Deployment that is deleted while it is held', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  await web.setImage(await shop.pushSlow('v2', 30));
  await until('puller pods', 20, shop.pullerPods, ({ length }) => length === world.lab.nodes().length);

  await shop.kubectl('delete', 'deployment', 'web');
  await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
  // By the garbage collector, which looks for new kinds of objects twice a minute.
  await until('the preload goes', 120, shop.preloads, ({ length }) => length === 0);
});
