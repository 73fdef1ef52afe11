import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { asArray, at } from '../../src/json.ts';
import { parseImagePreload } from '../../src/preload/image-preload.ts';
import { mainProcess } from '../lab/process-table.ts';
import { deploy, holding, isHeld } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { isPullerPod } from './namespace.ts';
import { imagesOf, type Moment, type Timeline } from './timeline.ts';
import { until } from './until.ts';

const { lab, ...world } = destructurable(gatedLab());

test('the image is in the store of every node before the first new pod is created', async (t) => {
  const shop = await world.namespace(t);
  const image = await shop.pushSlow('v2', 25);
  const web = await deploy(shop, 'web');
  const timeline = shop.timeline();
  const old = new Set(await runningPods(timeline));

  const { stderr } = await web.setImage(image);
  assert.match(stderr, /^Warning: pullgate: the rollout of \S+\/web is held until its nodes have \S+v2; watch: /m);
  assert.match(stderr, /^Warning: Let it through now: kubectl -n \S+ annotate deployment web /m);
  assert.match(stderr, /^Warning: Go back: kubectl -n \S+ set image deployment\/web app=\S+$/m);

  const [held] = await shop.preloads();
  assert.ok(held, 'a preload begins');
  const waiting = shop.kubectl('wait', '--for=condition=Ready', `ipl/${held.name}`, '--timeout=60s');

  // The controller that would make the new pods stands still, so that there is time to look into the stores.
  await withoutControllers(async () => {
    await web.released(60);
    for (const node of lab().nodes()) {
      assert.ok((await lab().nodeImages(node)).includes(image), `${node} has it`);
    }
    const list = await world.api().get(`/api/v1/namespaces/${shop.name}/pods`);
    const users = asArray(at(list, 'items')).filter((pod) => !isPullerPod(pod));
    assert.equal(users.length, 2, 'no new pod yet');
    await waiting;
  });
});
