import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { JsonObject } from '../../src/json.ts';
import { type Deployment, deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { assertFoundAll, podName, podsOf } from '../support/e2e/pull-events.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { told } from '../support/e2e/told.ts';

const world = gatedLab();

/** A template whose one container waits until the volume holds what its image holds. */
function mounting(app: string, data: string): JsonObject {
  const readinessProbe = { exec: { command: ['test', '-x', '/data/wait'] }, periodSeconds: 1 };
  const volumeMounts = [{ name: 'data', mountPath: '/data' }];
  return {
    volumes: [volumeOf(data)],
    containers: [{ name: 'app', image: app, readinessProbe, volumeMounts }],
  };
}

const volumeOf = (reference: string) => ({ name: 'data', image: { reference } });

async function setVolume(shop: Namespace, reference: string): Promise<void> {
  const spec = { volumes: [volumeOf(reference)] };
  await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify({ spec: { template: { spec } } }));
}

async function deployMounting(shop: Namespace): Promise<Deployment> {
  const [app, data] = await Promise.all([shop.push('app', { base: 'busybox' }), shop.push('data1')]);
  return await deploy(shop, 'web', { pod: mounting(app, data) });
}

async function assertRolledOutWith(shop: Namespace, web: Deployment, images: string[]): Promise<void> {
  await web.released(30);
  for (const image of images) await assertOnEveryNode(world.lab, image);
  await web.rolledOut(60);
  const preloaded = (await shop.preloads()).map(({ spec }) => spec.images.map(({ image }) => image));
  assert.deepEqual(preloaded, [images]);
  const pods = await podsOf(shop, 'web');
  assert.equal(pods.length, 1);
  await assertFoundAll(shop, pods.map(podName), images);
}

describe('change the image of an image volume [image-volume]', { concurrency: true }, () => {
  test('the update is held, only that image is preloaded, and the new pod mounts it without a pull', async (t) => {
    const shop = await world.namespace(t);
    const web = await deployMounting(shop);
    const data = await shop.pushSlow('data2', 20);
    const timeline = shop.timeline();
    await setVolume(shop, data);
    assert.ok(isHeld(await web.read()));
    await told(shop, 'web', 'PreloadStarted');
    assertServesOn(timeline, 1);
    await assertRolledOutWith(shop, web, [data]);
  });

  test('a volume that no container mounts is preloaded like any other', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const data = await shop.push('data1');
    await setVolume(shop, data);
    assert.ok(isHeld(await web.read()));
    await assertRolledOutWith(shop, web, [data]);
  });

  test('a volume that does not exist in the registry fails kubectl rollout status while the old version serves, and rolls out once it is pushed', async (t) => {
    const shop = await world.namespace(t);
    const web = await deployMounting(shop);
    const timeline = shop.timeline();
    const missing = `${world.lab.registry}/${shop.name}:late`;
    await setVolume(shop, missing);
    const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    assert.equal(status.code, 1);
    assert.match(status.stderr, /exceeded its progress deadline/);
    const { note } = await told(shop, 'web', 'PreloadFailed');
    assert.ok(note.includes(missing), note);
    assert.match(note, /not found/);
    assert.ok(isHeld(await web.read()));
    assertServesOn(timeline, 1);

    await shop.push('late');
    // The gate asks the registry again 30 s after the first answer, and 60 s after the second.
    await web.released(70);
    await web.rolledOut(60);
    await assertOnEveryNode(world.lab, missing);
  });
});

test('an image volume that is added beside a new image: both are preloaded', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  const [app, data] = await Promise.all([shop.push('app', { base: 'busybox' }), shop.push('data1')]);
  const spec = mounting(app, data);
  await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify({ spec: { template: { spec } } }));
  assert.ok(isHeld(await web.read()));
  await assertRolledOutWith(shop, web, [app, data]);
});
