import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { API_GROUP_PATH, API_VERSION, IMAGE_PRELOAD_KIND, MODE_LABEL } from '../../src/api/names.ts';
import { deploy, manifestOf } from '../support/e2e/deployment.ts';
import { startGate } from '../support/e2e/gate-process.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

describe('a namespace without a mode', () => {
  test('its large objects keep nobody from starting, and no hold of another namespace', async (t) => {
    const crowd = await world.namespace(t, {});
    const env = [{ name: 'LARGE', value: 'x'.repeat(1_000_000) }];
    for (let index = 0; index < 5; index += 1) {
      const container = { name: 'app', image: 'registry.test/app:1', env };
      await world.api.create(
        `/apis/apps/v1/namespaces/${crowd.name}/deployments`,
        manifestOf(`large-${index}`, { replicas: 0, pod: { containers: [container] } }),
      );
      await world.api.create(`${API_GROUP_PATH}/namespaces/${crowd.name}/imagepreloads`, {
        apiVersion: API_VERSION,
        kind: IMAGE_PRELOAD_KIND,
        metadata: { name: `large-${index}`, annotations: { note: '<'.repeat(250_000) } },
        spec: { images: [{ image: 'registry.test/app:1' }] },
      });
    }
    await world.gate.kill9();
    world.gate = await startGate(world.lab);
    for (let index = 0; index < 5; index += 1)
      await crowd.kubectl('annotate', 'imagepreload', `large-${index}`, 'changed=true');
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    await web.released(60);
    await assertOnEveryNode(world.lab, image);
    assert.deepEqual(await crowd.pullerPods(), []);
  });

  test('an ImagePreload there says that nobody serves it, and begins when the namespace gets a mode', async (t) => {
    const shop = await world.namespace(t, {});
    const spec = { images: [{ image: await shop.push('v2') }] };
    const metadata = { name: 'early' };
    await shop.apply({ apiVersion: API_VERSION, kind: IMAGE_PRELOAD_KIND, metadata, spec });
    await shop.kubectl('wait', '--for=condition=Failed', '--timeout=20s', 'ipl/early');
    const { stdout } = await shop.kubectl('describe', 'ipl', 'early');
    assert.match(
      stdout,
      /NotServed .*the namespace \S+ has no label pullgate\.io\/mode; to preload it, set a mode: kubectl label/,
    );
    await world.api.mergePatch(`/api/v1/namespaces/${shop.name}`, {
      metadata: { labels: { [MODE_LABEL]: 'audit' } },
    });
    await shop.kubectl('wait', '--for=condition=Ready', '--timeout=30s', 'ipl/early');
  });

  test('a rollout that is under way when it gets a mode is caught up with', async (t) => {
    const shop = await world.namespace(t, {});
    const image = await shop.pushSlow('v2', 60);
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    await world.api.mergePatch(`/api/v1/namespaces/${shop.name}`, {
      metadata: { labels: { [MODE_LABEL]: 'pause' } },
    });
    const { note } = await told(shop, 'web', 'UngatedRollout');
    assert.match(note, /started while the Pullgate webhook was unavailable/);
    await web.rolledOut(60);
    await until(
      'the node without a pod has it, too',
      30,
      () => Promise.all(world.lab.nodes().map((node) => world.lab.nodeImages(node))),
      (stores) => stores.every((images) => images.includes(image)),
    );
    const next = await shop.push('v3');
    await web.setImage(next);
    await web.released(60);
    await assertOnEveryNode(world.lab, next);
  });
});
