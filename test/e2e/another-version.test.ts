import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { PAUSE_IMAGE } from '../lab/images.ts';
import { deploy, holding, isHeld } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { isPullerPod } from './namespace.ts';
import { imagesOf } from './timeline.ts';
import { until } from './until.ts';

// One node at a time, so that there are pulls that have not begun.
const world = gatedLab(['--parallelism', '1']);

describe('while a version is held', { concurrency: true }, () => {
  test('another one supersedes it, and no further pull of it begins', async (t) => {
    const shop = await world.namespace(t);
    const v2 = await shop.pushSlow('v2', 50);
    const v3 = await shop.push('v3');
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();

    await web.setImage(v2);
    await until('v2 is being pulled', 20, shop.preloads, ([one]) => one?.status?.pullingNodes === 1);
    const { stderr } = await web.setImage(v3);
    assert.match(stderr, /was held and is held again, for the new template until its nodes have \S+:v3/);
    await timeline.first('v3 is released', 60, holding('web', v3, false));
    await web.rolledOut(60);

    const replicaSets = timeline.of('ReplicaSet').flatMap(({ object }) => imagesOf(object));
    assert.deepEqual([...new Set(replicaSets)].sort(), [PAUSE_IMAGE, v3].sort());
    const pulled = timeline
      .of('Pod')
      .filter(({ type, object }) => type === 'ADDED' && isPullerPod(object))
      .flatMap(({ object }) => imagesOf(object));
    assert.deepEqual(pulled, [v2, ...world.lab.nodes().map(() => v3)]);
    const preloads = await until('both are over', 10, shop.preloads, (all) =>
      all.every(({ status }) => status?.finishedAt !== undefined),
    );
    assert.deepEqual(preloads.map(({ status }) => status?.phase).sort(), ['Finished', 'Superseded']);
    const reasons = (await shop.events('web')).map(({ reason }) => reason);
    assert.equal(reasons.filter((reason) => reason === 'HoldSuperseded').length, 1);
  });

  test('going back to what runs ends the hold in that same request', async (t) => {
    const shop = await world.namespace(t);
    const v2 = await shop.pushSlow('v2', 30);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    await web.setImage(v2);
    assert.ok(isHeld(await web.read()));

    const back = await shop.kubectl('set', 'image', 'deployment/web', `app=${PAUSE_IMAGE}`, '-o', 'json');
    assert.match(back.stderr, /the hold of \S+\/web has ended/);
    const answered = parseDeployment(JSON.parse(back.stdout));
    assert.equal(isHeld(answered), false);
    assert.equal(answered.paused, false);

    const events = await until(
      'it is told',
      10,
      () => shop.events('web'),
      (all) => all.some(({ reason }) => reason === 'HoldReverted'),
    );
    assert.ok(!events.some(({ reason }) => reason === 'RolloutReleased'));
    await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
    const stored = await web.rolledOut(10);
    assert.equal(isHeld(stored), false);
    assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
  });
});
