import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deploy, holding } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';

const world = gatedLab();

describe('roll back to an image that is still on the nodes [roll-back-warm]', () => {
  test('from the request to the release it takes less than 2 s', async (t) => {
    const shop = await world.namespace(t);
    const [v1, v2] = await Promise.all([shop.push('v1'), shop.push('v2')]);
    const web = await deploy(shop, 'web', { image: v1 });
    await web.setImage(v2);
    await web.released(60);
    await web.rolledOut(60);

    const timeline = shop.timeline();
    await timeline.first('v2 runs', 10, holding('web', v2, false));
    await shop.kubectl('rollout', 'undo', 'deployment/web');
    const released = await timeline.first('v1 is released', 10, holding('web', v1, false));
    const asked = await timeline.first('v1 is held', 10, holding('web', v1, true));
    const ms = released.at - asked.at;
    t.diagnostic(`released ${ms.toFixed(0)} ms after the request`);
    assert.ok(ms > 0 && ms < 2000, `${ms} ms`);
    await web.rolledOut(30);
  });
});
