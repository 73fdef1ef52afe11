import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deploy, isHeld } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { isPullerPod } from './namespace.ts';
import { until } from './until.ts';

const world = gatedLab();

describe('a pause of the user', { concurrency: true }, () => {
  test('outlives the hold, and a resume then starts the preloaded rollout at once', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2', { megabytes: 5 });
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    await shop.kubectl('rollout', 'pause', 'deployment/web');
    await web.setImage(image);
    assert.ok(isHeld(await web.read()));

    const released = await web.released(60);
    assert.equal(released.paused, true, 'the pause is the users');
    for (const node of world.lab.nodes()) {
      assert.ok((await world.lab.nodeImages(node)).includes(image), `${node} has it`);
    }
    const events = await until(
      'it is told',
      10,
      () => shop.events('web'),
      (all) => all.some(({ reason }) => reason === 'RolloutReleased'),
    );
    assert.match(
      events.find(({ reason }) => reason === 'RolloutReleased')?.note ?? '',
      /stays paused, as asked/,
    );
    assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1, 'nothing has begun');

    const { stderr } = await shop.kubectl('rollout', 'resume', 'deployment/web');
    assert.doesNotMatch(stderr, /pullgate/);
    const resumed = await web.read();
    assert.equal(isHeld(resumed), false);
    assert.equal(resumed.paused, false);
    await web.rolledOut(60);
    await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
    const pullers = timeline.of('Pod').filter(({ type, object }) => type === 'ADDED' && isPullerPod(object));
    assert.equal(pullers.length, world.lab.nodes().length, 'no second preload');
  });

  test('ends with the hold if the user resumes meanwhile, and not before', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 20);
    const web = await deploy(shop, 'web');
    await shop.kubectl('rollout', 'pause', 'deployment/web');
    await web.setImage(image);
    const { stderr } = await shop.kubectl('rollout', 'resume', 'deployment/web');
    assert.match(stderr, /is still held and stays paused/);
    const stored = await web.read();
    assert.ok(isHeld(stored));
    assert.equal(stored.paused, true);
    assert.equal((await web.released(60)).paused, false);
    await web.rolledOut(60);
  });
});
