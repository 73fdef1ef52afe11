import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { startGate } from '../support/e2e/gate-process.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

describe('update while the gate is down [update-ungated]', () => {
  test('it rolls out; the gate, back again, says so and preloads for the nodes to come', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 60);
    const web = await deploy(shop, 'web');
    const finished = await deploy(shop, 'finished');
    await world.gate.kill9();
    await finished.setImage(await shop.push('quick'));
    await finished.rolledOut(60);
    await web.setImage(image);
    assert.equal(isHeld(await web.read()), false);

    const timeline = shop.timeline();
    world.gate = await startGate(world.lab);
    const { type, note } = await told(shop, 'web', 'UngatedRollout');
    assert.equal(type, 'Warning');
    assert.match(note, /started while the Pullgate webhook was unavailable; it continues/);
    await web.rolledOut(60);
    await until(
      'the node without a pod has it, too',
      30,
      () => Promise.all(world.lab.nodes().map((node) => world.lab.nodeImages(node))),
      (stores) => stores.every((images) => images.includes(image)),
    );
    for (const { object } of timeline.of('Deployment')) {
      assert.notEqual((object['spec'] as { paused?: unknown }).paused, true);
    }
    assert.deepEqual(await shop.events('finished'), [], 'what has finished is left alone');
  });

  test('a second update over a hold is not released by the preload of the first', async (t) => {
    const shop = await world.namespace(t);
    const [second, third] = await Promise.all([shop.pushSlow('v2', 20), shop.pushSlow('v3', 60)]);
    const web = await deploy(shop, 'web');
    await web.setImage(second);
    const [first] = await until(
      'it pulls',
      20,
      shop.preloads,
      ([one]) => (one?.status?.pullingNodes ?? 0) > 0,
    );
    await world.gate.kill9();
    await web.setImage(third);
    assert.ok(isHeld(await web.read()), 'the hold of the first stays: nobody was there to take it off');
    // By themselves, as kubelets do.
    await until(
      'the first image is there',
      60,
      () => Promise.all(world.lab.nodes().map((node) => world.lab.nodeImages(node))),
      (stores) => stores.every((images) => images.includes(second)),
    );

    world.gate = await startGate(world.lab);
    await web.released(90);
    await assertOnEveryNode(world.lab, third);
    const names = (await shop.preloads()).map(({ name }) => name);
    assert.ok(
      names.some((name) => name !== first?.name),
      names.join(),
    );
    await web.rolledOut(60);
  });
});
