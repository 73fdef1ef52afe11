import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deploy } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';

const world = gatedLab();
const LABEL = 'pullgate-e2e/disk';
const TAINT = 'pullgate-e2e/dedicated';

async function whoHas(image: string): Promise<string[]> {
  const nodes = world.lab.nodes();
  const stores = await Promise.all(nodes.map((node) => world.lab.nodeImages(node)));
  return nodes.filter((_, index) => stores[index]?.includes(image));
}

async function admin(...args: string[]): Promise<void> {
  const { code, stderr } = await world.lab.kubectl(args);
  assert.equal(code, 0, stderr);
}

describe('a node where the pods could not land', { concurrency: true }, () => {
  let one: string;
  let other: string;

  before(async () => {
    [one = '', other = ''] = world.lab.nodes();
    await admin('label', 'node', one, `${LABEL}=ssd`);
    await admin('taint', 'node', other, `${TAINT}=db:NoSchedule`);
  });
  after(async () => {
    await admin('label', 'node', one, `${LABEL}-`);
    await admin('taint', 'node', other, `${TAINT}-`);
  });

  test('by the nodeSelector does not get the image', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    // The toleration makes the label the only thing that keeps the other node out.
    const pod = { nodeSelector: { [LABEL]: 'ssd' }, tolerations: [{ key: TAINT, operator: 'Exists' }] };
    const web = await deploy(shop, 'web', { pod });
    await web.setImage(image);
    await web.released(60);
    await web.rolledOut(60);
    assert.deepEqual(await whoHas(image), [one]);
    assert.deepEqual((await shop.preloads())[0]?.status?.excluded, [{ reason: 'NodeSelector', count: 1 }]);
  });

  test('by its taint does not get the image', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    await web.released(60);
    await web.rolledOut(60);
    assert.deepEqual(await whoHas(image), [one]);
    assert.deepEqual((await shop.preloads())[0]?.status?.excluded, [{ reason: 'Taint', count: 1 }]);
  });

  test('gets it where the pods tolerate that taint', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const pod = { tolerations: [{ key: TAINT, operator: 'Equal', value: 'db', effect: 'NoSchedule' }] };
    const web = await deploy(shop, 'web', { pod });
    await web.setImage(image);
    await web.released(60);
    assert.deepEqual(await whoHas(image), [one, other]);
  });
});
