import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asArray, at } from '../../src/json.ts';
import { up } from '../cluster/lab/lab.ts';
import { signal } from '../cluster/lab/process-table.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

test('a node that joins during a hold gets the image before the release', async (t) => {
  const shop = await world.namespace(t);
  // Time enough for a node to become Ready.
  const image = await shop.pushSlow('v2', 150);
  const web = await deploy(shop, 'web');
  const before = world.lab.nodes().length;

  const adding = world.lab.addNode();
  t.after(async () => world.lab.removeNode(await adding));
  // On the way, but no node for the gate yet: hold now, and it joins in the middle of it.
  await until('the node registers', 60, nodeNames, ({ length }) => length > before);
  await web.setImage(image);
  const joined = await adding;
  assert.ok(isHeld(await web.read()), 'still held when the node is Ready');

  await web.released(120);
  assert.ok((await world.lab.nodeImages(joined)).includes(image), `${joined} has it`);
  const [preload] = await shop.preloads();
  assert.equal(preload?.status?.desiredNodes, before + 1);
  await web.rolledOut(60);
});

test('a node that reboots in the middle of a pull pulls again, and the rollout waits for it', async (t) => {
  const shop = await world.namespace(t);
  const image = await shop.pushSlow('v2', 150);
  const web = await deploy(shop, 'web');
  const [pod] = await podsOf(shop.name);
  // The pod of the running version keeps serving: without one, a single ready node would be enough.
  const node = world.lab.nodes().find((name) => name !== at(pod, 'spec', 'nodeName')) ?? '';
  await web.setImage(image);
  const active = () => world.lab.ctr(node, 'content', 'active');
  await until('the node pulls a layer', 60, active, (downloads) => /layer-sha256/.test(downloads));

  const { init } = world.lab.nodeProcess(node);
  assert.ok(init !== undefined);
  // The init process of the PID namespace: everything on the node ends with it.
  signal(init, 'SIGKILL');
  await up({ nodes: world.lab.nodes().length });
  assert.notEqual(world.lab.nodeProcess(node).init, init);
  assert.ok(isHeld(await web.read()), 'still held when the node is Ready again');

  await web.released(120);
  assert.ok((await world.lab.nodeImages(node)).includes(image), `${node} has it`);
  await web.rolledOut(60);
});

async function podsOf(namespace: string): Promise<readonly unknown[]> {
  return asArray(at(await world.api.get(`/api/v1/namespaces/${namespace}/pods`), 'items'));
}

async function nodeNames(): Promise<unknown[]> {
  const list = await world.api.get('/api/v1/nodes');
  return asArray(at(list, 'items')).map((node) => at(node, 'metadata', 'name'));
}
