import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { API_GROUP_PATH, API_VERSION, HOLD_ANNOTATION, IMAGE_PRELOAD_KIND } from '../../src/api/names.ts';
import { isInvalid } from '../../src/cluster/api-error.ts';
import { at, type JsonObject } from '../../src/json.ts';
import { deploy, deploymentOf, isHeld, manifestOf } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const tolerations = Array.from({ length: 101 }, (_, n) => ({ key: `key-${n}`, operator: 'Exists' }));

/** It was let through, rolled out and told of, and nothing was preloaded. */
async function assertWentAhead(shop: Namespace, stderr: string, why: string): Promise<void> {
  assert.ok(
    stderr.includes(`Warning: pullgate: ${shop.name}/web continues without a preload: ${why}`),
    stderr,
  );
  const event = await told(shop, 'web', 'LimitExceeded');
  assert.equal(event.type, 'Warning');
  assert.ok(event.note.startsWith(`continues without a preload: ${why}`), event.note);
  await deploymentOf(shop, 'web').rolledOut(60);
  assert.deepEqual(await shop.preloads(), []);
}

describe('an update beyond a limit', { concurrency: true }, () => {
  test('ask for more tolerations, node affinity or images than Pullgate carries [limit-template]', async (t) => {
    const shop = await world.namespace(t);
    await deploy(shop, 'web');
    const image = await shop.push('v2');
    const { stderr } = await shop.apply(manifestOf('web', { image, pod: { tolerations } }));
    await assertWentAhead(shop, stderr, 'tolerations has 101 entries, more than 100');
  });

  test('have annotations that leave no room for a hold [limit-annotations]', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    // One argument of a command may have 128 KiB.
    for (const [name, length] of [
      ['a', 120_000],
      ['b', 120_000],
      ['c', 17_500],
    ] as const)
      await shop.kubectl('annotate', 'deployment/web', `${name}=${'x'.repeat(length)}`);
    const { stderr } = await web.setImage(await shop.push('v2'));
    await assertWentAhead(shop, stderr, 'with a hold its annotations would have ');
  });

  test('store a hold that is longer than any of the gate [limit-hold]', async (t) => {
    const shop = await world.namespace(t);
    const manifest = manifestOf('web');
    const annotations = { [HOLD_ANNOTATION]: 'x'.repeat(40_000) };
    const held = {
      ...manifest,
      metadata: { ...Object(manifest['metadata']), annotations },
      spec: { ...Object(manifest['spec']), paused: true },
    };
    await shop.api.create(`/apis/apps/v1/namespaces/${shop.name}/deployments`, held);
    const web = await deploymentOf(shop, 'web').released(10);
    assert.equal(web.paused, false);
    const { note } = await told(shop, 'web', 'LimitExceeded');
    assert.match(
      note,
      /^a hold was removed, together with its pause: its annotation .* has 40000 characters/,
    );
  });
});

describe('an ImagePreload beyond a limit', () => {
  const collection = ({ name }: Namespace) => `${API_GROUP_PATH}/namespaces/${name}/imagepreloads`;
  const byHand = (name: string, spec: JsonObject): JsonObject => ({
    apiVersion: API_VERSION,
    kind: IMAGE_PRELOAD_KIND,
    metadata: { name },
    spec: { images: [{ image: 'registry.test/none:1' }], ...spec },
  });
  const required = (value: unknown) => ({
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: value },
      podAffinity: { x: 1 },
    },
  });

  test('ask for too much in an ImagePreload made by hand [limit-preload]', async (t) => {
    const shop = await world.namespace(t);
    await assert.rejects(
      shop.api.create(collection(shop), byHand('many', { scheduling: { tolerations } })),
      (error) => isInvalid(error) && /tolerations.*must have at most 100 items/.test(error.apiMessage),
    );
    const images = Array.from({ length: 100 }, (_, n) => ({
      image: `registry.test/${'x'.repeat(800)}:${n}`,
    }));
    await shop.api.create(collection(shop), byHand('large', { images }));
    const [large] = await until(
      'it is refused',
      10,
      shop.preloads,
      ([one]) => one?.status?.phase === 'Failed',
    );
    const ready = large?.status?.conditions.find(({ type }) => type === 'Ready');
    assert.deepEqual(
      [ready?.reason, ready?.message],
      [
        'LimitExceeded',
        'nothing is preloaded: its images, node affinity and other scheduling take more than 64 KiB',
      ],
    );
    assert.equal((await told(shop, 'large', 'LimitExceeded')).type, 'Warning');
    assert.deepEqual(await shop.pullerPods(), []);
  });

  test('what the schema does not know is not stored, and delays nobody', async (t) => {
    const shop = await world.namespace(t);
    const deep = JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`) as unknown;
    await shop.api.create(
      collection(shop),
      byHand('deep', { scheduling: required({ nodeSelectorTerms: [], x: deep }) }),
    );
    await shop.kubectl('label', 'ipl/deep', 'touched=yes');
    const stored = await shop.api.get(`${collection(shop)}/deep`);
    assert.deepEqual(at(stored, 'spec', 'scheduling', 'affinity'), {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } },
    });

    const web = await deploy(shop, 'web');
    await web.setImage(await shop.push('v2'));
    await web.released(60);
  });
});

test('a hold is released whose images and annotations Go and JavaScript write in different ways', async (t) => {
  const shop = await world.namespace(t);
  // It names no image, so nothing of it ever runs.
  const odd = manifestOf('web', { image: 'a&b <c>' });
  const annotations = { note: 'a && b <c>' };
  await shop.apply({ ...odd, metadata: { ...Object(odd['metadata']), annotations } });
  const web = deploymentOf(shop, 'web');
  await web.setImage(await shop.push('v2'));
  assert.ok(isHeld(await web.read()));
  await web.released(60);
  await web.rolledOut(60);
});
