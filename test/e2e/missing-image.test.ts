import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deploy, isHeld } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { assertServesOn } from './serves-on.ts';
import { until } from './until.ts';

const world = gatedLab();

test('a tag that does not exist fails a waiting kubectl rollout status within 15 s, and what runs goes on running', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web', { replicas: 2 });
  const timeline = shop.timeline();
  const asked = performance.now();
  await web.setImage(`${world.lab.registry}/${shop.name}:typo`);

  const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
  const seconds = (performance.now() - asked) / 1000;
  t.diagnostic(`kubectl rollout status failed after ${seconds.toFixed(1)} s`);
  assert.equal(status.code, 1);
  assert.match(status.stderr, /exceeded its progress deadline/);
  assert.ok(seconds < 15, `${seconds} s`);

  const events = await until(
    'the failure is told',
    10,
    () => shop.events('web'),
    (all) => all.some(({ reason }) => reason === 'PreloadFailed'),
  );
  const note = events.find(({ reason }) => reason === 'PreloadFailed')?.note ?? '';
  assert.match(note, new RegExp(`${shop.name}:typo: not found|${shop.name}:typo": not found`));
  const { progressing } = (await web.read()).status;
  assert.match(progressing?.message ?? '', /^pullgate: .*not found/);

  // The kubelets try on by themselves meanwhile: that changes nothing.
  assertServesOn(timeline, 2);
  assert.ok(isHeld(await web.read()));
});
