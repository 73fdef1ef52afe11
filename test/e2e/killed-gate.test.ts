import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { startGate } from '../support/e2e/gate-process.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod } from '../support/e2e/namespace.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

test('a gate that is killed in the middle of a hold is carried on by the next one', async (t) => {
  const shop = await world.namespace(t);
  const image = await shop.pushSlow('v2', 80);
  const web = await deploy(shop, 'web');
  const timeline = shop.timeline();
  await web.setImage(image);
  await until(
    'it pulls',
    20,
    shop.preloads,
    ([one]) => one?.status?.pullingNodes === world.lab.nodes().length,
  );
  const [begun] = await shop.preloads();

  await world.gate.kill9();
  assert.ok(isHeld(await web.read()), 'nobody released it');
  world.gate = await startGate(world.lab);

  await web.released(60);
  for (const node of world.lab.nodes()) {
    assert.ok((await world.lab.nodeImages(node)).includes(image), `${node} has it`);
  }
  await web.rolledOut(60);

  assert.deepEqual([...new Set(timeline.of('ImagePreload').map(({ name }) => name))], [begun?.name]);
  const pullers = timeline.of('Pod').filter(({ type, object }) => type === 'ADDED' && isPullerPod(object));
  assert.equal(pullers.length, world.lab.nodes().length, 'one pull a node, before and after together');
  const events = await until(
    'the events',
    10,
    () => shop.events('web'),
    ({ length }) => length >= 4,
  );
  assert.deepEqual(events.map(({ reason }) => reason).sort(), [
    'PreloadReady',
    'PreloadStarted',
    'RolloutHeld',
    'RolloutReleased',
  ]);
});
