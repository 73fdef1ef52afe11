import { describe, test } from 'node:test';
import { deploy } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { givePassword, PULL_SECRET, storePassword } from '../support/e2e/pull-secret.ts';

const world = gatedLab();

describe('an image behind a password', { concurrency: true }, () => {
  test("is preloaded with the template's own pull secret", async (t) => {
    const shop = await world.namespace(t);
    await storePassword(shop);
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web', { pod: PULL_SECRET });
    await web.setImage(image);
    await web.released(60);
    await assertOnEveryNode(world.lab, image);
    await web.rolledOut(60);
  });

  test("is preloaded with the pull secret of the template's service account", async (t) => {
    const shop = await world.namespace(t);
    await storePassword(shop);
    await shop.kubectl('create', 'serviceaccount', 'clerk');
    await givePassword(shop, 'clerk');
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web', { pod: { serviceAccountName: 'clerk' } });
    await web.setImage(image);
    await web.released(60);
    await assertOnEveryNode(world.lab, image);
    await web.rolledOut(60);
  });
});
