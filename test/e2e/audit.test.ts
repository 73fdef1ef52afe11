import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MODE_LABEL } from '../../src/api/names.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { imagesOf } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';

const world = gatedLab();

describe('update to an image that nodes lack [audit-update]', () => {
  test('is told, and preloaded beside the rollout, but never held', async (t) => {
    const shop = await world.namespace(t, { [MODE_LABEL]: 'audit' });
    const image = await shop.pushSlow('v2', 30);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();

    const { stderr } = await web.setImage(image);
    assert.match(
      stderr,
      /Warning: pullgate: \S+\/web would be held in mode pause until its nodes have \S+:v2/,
    );
    assert.equal(isHeld(await web.read()), false);
    await timeline.first(
      'the rollout begins at once',
      10,
      ({ kind, object }) => kind === 'ReplicaSet' && imagesOf(object).includes(image),
    );
    const { note, type } = await told(shop, 'web', 'RolloutAudited');
    assert.equal(type, 'Normal');
    assert.match(note, /would have been held for \S+:v2: 2 of 2 nodes lack the image; requested by /);

    await web.rolledOut(60);
    for (const { object } of timeline.of('Deployment')) {
      assert.notEqual((object['spec'] as { paused?: unknown }).paused, true);
    }
    const nodes = new Set(
      timeline
        .of('Pod')
        .filter(({ object }) => JSON.stringify(object).includes('/pullgate-preload-only-'))
        .map(({ object }) => (object['spec'] as { nodeName?: string }).nodeName),
    );
    assert.deepEqual([...nodes].sort(), world.lab.nodes().toSorted(), 'a preload on each node');
  });

  test('a change that needs no pull is not told', async (t) => {
    const shop = await world.namespace(t, { [MODE_LABEL]: 'audit' });
    const web = await deploy(shop, 'web');
    const { stderr } = await shop.kubectl('set', 'env', 'deployment/web', 'COLOUR=green');
    assert.equal(stderr, '');
    await web.rolledOut(60);
    assert.deepEqual(await shop.events('web'), []);
    assert.deepEqual(await shop.preloads(), []);
  });
});
