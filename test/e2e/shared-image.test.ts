import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at } from '../../src/json.ts';
import { deploy } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod } from '../support/e2e/namespace.ts';

const world = gatedLab();

test('two Deployments that need the same image share one pull a node', async (t) => {
  const shop = await world.namespace(t);
  const image = await shop.pushSlow('v2', 30);
  const [web, worker] = await Promise.all([deploy(shop, 'web'), deploy(shop, 'worker')]);
  const timeline = shop.timeline();
  await Promise.all([web.setImage(image), worker.setImage(image)]);
  await Promise.all([web.released(60), worker.released(60)]);
  await Promise.all([web.rolledOut(60), worker.rolledOut(60)]);

  assert.equal(new Set(timeline.of('ImagePreload').map(({ name }) => name)).size, 2);
  const nodes = timeline
    .of('Pod')
    .filter(({ type, object }) => type === 'ADDED' && isPullerPod(object))
    .map(({ object }) => at(object, 'spec', 'nodeName'));
  assert.deepEqual(nodes.sort(), world.lab.nodes());
});
