import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { deploy, isHeld } from './deployment.ts';
import { gatedLab } from './gated-lab.ts';
import { until } from './until.ts';

const world = gatedLab();

describe('a tag that does not exist', { concurrency: true }, () => {
  test('fails a waiting kubectl rollout status within 15 s, and what runs goes on running', async (t) => {
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
    const available = timeline
      .of('Deployment')
      .map(({ object }) => parseDeployment(object).status.availableReplicas);
    assert.deepEqual([...new Set(available)], [2]);
    assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
    assert.ok(isHeld(await web.read()));
  });

  test('resumes by itself when it is pushed late, and kubectl rollout status waits again', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const image = `${world.lab.registry}/${shop.name}:late`;
    await web.setImage(image);
    await until('it is known to be missing', 20, shop.preloads, ([one]) => one?.status?.phase === 'Failed');

    assert.equal(await shop.push('late'), image);
    await web.released(60);
    for (const node of world.lab.nodes()) {
      assert.ok((await world.lab.nodeImages(node)).includes(image), `${node} has it`);
    }
    await shop.kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    const { progressing } = (await web.read()).status;
    assert.equal(progressing?.reason, 'NewReplicaSetAvailable');
  });
});
