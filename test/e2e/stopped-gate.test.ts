import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { startGate } from '../support/e2e/gate-process.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { told } from '../support/e2e/told.ts';

const world = gatedLab();

test('a gate that is stopped releases its holds and takes away what it registered', async (t) => {
  const shop = await world.namespace(t);
  const [web, quiet] = await Promise.all([deploy(shop, 'web'), deploy(shop, 'quiet')]);
  await shop.kubectl('rollout', 'pause', 'deployment/quiet');
  await web.setImage(await shop.pushSlow('v2', 60));
  await quiet.setImage(`${world.lab.registry}/${shop.name}:missing`);
  assert.ok(isHeld(await web.read()));

  // As a terminal does that is closed: to the whole group, and a parent passes it on.
  assert.equal(await world.gate.stop('SIGHUP', 'SIGTERM'), 0);
  const stored = await web.read();
  assert.equal(isHeld(stored), false);
  assert.equal(stored.paused, false);
  assert.equal((await quiet.read()).paused, true, 'the users own pause');
  assert.match(
    (await told(shop, 'web', 'RolloutReleased')).note,
    /^Pullgate stops, so the rollout was released after /,
  );
  assert.equal(isHeld(await quiet.read()), false);
  for (const left of [
    ['get', 'mutatingwebhookconfiguration', 'pullgate'],
    ['get', 'crd', 'imagepreloads.pullgate.io'],
  ]) {
    const { code, stderr } = await world.lab.kubectl(left);
    assert.equal(code, 1);
    assert.match(stderr, /NotFound/);
  }
  await web.rolledOut(60);

  // Without a gate nothing is gated, and the next one finds nothing to fix.
  await web.setImage(await shop.push('v3'));
  assert.equal(isHeld(await web.read()), false);
  await web.rolledOut(60);
  world.gate = await startGate(world.lab);
  await web.setImage(await shop.push('v4'));
  assert.ok(isHeld(await web.read()));
  await web.released(60);
});
