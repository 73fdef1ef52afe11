import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment, type Deployment as Stored } from '../../src/api/deployment.ts';
import { type ImagePreload, parseImagePreload } from '../../src/api/image-preload.ts';
import { API_GROUP_PATH, API_VERSION, IMAGE_PRELOAD_KIND } from '../../src/api/names.ts';
import { preloadName } from '../../src/api/preload-name.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { type Deployment, deploy, isHeld, replaceDeployment } from '../support/e2e/deployment.ts';
import { gateAccount, gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { imagesOf, type Timeline } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

// Two of these at a time, and two tests in each.
describe('several side by side', { concurrency: 2 }, () => {
  describe('delete the Deployment or the namespace while held [delete-while-held]', () => {
    test('the Deployment: it is gone within seconds, its puller pods too, and its preload with them', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await web.setImage(await shop.pushSlow('v2', 60));
      await until('puller pods', 20, shop.pullerPods, ({ length }) => length === world.lab.nodes().length);

      await shop.kubectl('delete', 'deployment', 'web', '--timeout=5s');
      await until('the puller pods go', 5, shop.pullerPods, ({ length }) => length === 0);
      // By the garbage collector, which looks for new kinds of objects twice a minute: the gate has just made this one.
      await until('the preload goes', 60, shop.preloads, ({ length }) => length === 0);
    });

    test('the namespace: preload and puller pods are gone as soon as its other objects are', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await web.setImage(await shop.pushSlow('v2', 60));
      await until('puller pods', 20, shop.pullerPods, ({ length }) => length === world.lab.nodes().length);

      await shop.kubectl('delete', 'namespace', shop.name, '--wait=false');
      // The cluster takes its time, more when it is busy: for all objects of a namespace, whosever they are.
      const left = () => world.api.get(`/apis/apps/v1/namespaces/${shop.name}/deployments`);
      await until('the Deployment goes', 30, left, (list) => asArray(at(list, 'items')).length === 0);
      await until('the preload goes', 5, shop.preloads, ({ length }) => length === 0);
      await until('the puller pods go', 5, shop.pullerPods, ({ length }) => length === 0);
    });
  });

  describe("remove the namespace's label, change it to another mode, or set `off` while held [mode-change]", () => {
    test('without the label: released within 5 s, with an event', async (t) => {
      const { shop, web, image } = await held(await world.namespace(t));
      const timeline = shop.timeline();
      await shop.kubectl('label', 'namespace', shop.name, 'pullgate.io/mode-');
      await letGo(web, 5);
      await rolloutBegins(timeline, image);
      const { note, type } = await told(shop, 'web', 'RolloutReleased', 5);
      assert.match(note, /OptedOut/);
      assert.equal(type, 'Warning');
    });

    test('a label that is no mode: released within 5 s, with events on both', async (t) => {
      const { shop, web, image } = await held(await world.namespace(t));
      const timeline = shop.timeline();
      await shop.kubectl('label', 'namespace', shop.name, 'pullgate.io/mode=paws', '--overwrite');
      await letGo(web, 5);
      await rolloutBegins(timeline, image);
      await told(shop, 'web', 'RolloutReleased', 5);
      await told(shop, shop.name, 'InvalidMode', 5);
    });

    test('mode audit: released within 5 s, with an event', async (t) => {
      const { shop, web, image } = await held(await world.namespace(t));
      const timeline = shop.timeline();
      await shop.kubectl('label', 'namespace', shop.name, 'pullgate.io/mode=audit', '--overwrite');
      await letGo(web, 5);
      await rolloutBegins(timeline, image);
      await told(shop, 'web', 'RolloutReleased', 5);
    });

    test('mode reject: what is held stays so, and is released once its images are there', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      const image = await shop.pushSlow('v2', 30);
      await web.setImage(image);
      const made = await preload(shop, 10, () => true);
      await shop.kubectl('label', 'namespace', shop.name, 'pullgate.io/mode=reject', '--overwrite');
      await releasedWithImage(web, image);
      await readyOnEveryNode(shop, made.uid);
      await told(shop, 'web', 'RolloutReleased', 5);
      await web.rolledOut(60);
    });

    test('`off` on the Deployment: released by that same request, with an event', async (t) => {
      const { shop, web, image } = await held(await world.namespace(t));
      const timeline = shop.timeline();
      const { stderr } = await shop.kubectl('label', 'deployment', 'web', 'pullgate.io/mode=off');
      assert.match(stderr, /is opted out/);
      const stored = await web.read();
      assert.equal(isHeld(stored), false);
      assert.equal(stored.paused, false);
      await rolloutBegins(timeline, image);
      const { note } = await told(shop, 'web', 'GateOptedOut', 5);
      assert.match(note, /opted out by pullgate-lab-admin/);
    });
  });

  describe('delete the ImagePreload while held, edit its spec, or forge a ready one [preload-tampering]', () => {
    test('deleted: it is made anew, and the hold ends when that one is ready', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      const image = await shop.pushSlow('v2', 30);
      await web.setImage(image);
      const made = await preload(shop, 10, () => true);
      await shop.kubectl('delete', 'ipl', made.name);
      const anew = await preload(shop, 5, ({ uid }) => uid !== made.uid);
      assert.equal(anew.name, made.name);
      assert.ok(isHeld(await web.read()));
      await releasedWithImage(web, image);
      await readyOnEveryNode(shop, anew.uid);
      await web.rolledOut(60);
    });

    test('its images exchanged for one that the nodes have: it is made anew, and only the right one releases', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      const image = await shop.pushSlow('v2', 30);
      await web.setImage(image);
      const made = await preload(shop, 10, () => true);
      const patch = JSON.stringify({ spec: { images: [{ image: PAUSE_IMAGE }] } });
      await shop.kubectl('patch', 'ipl', made.name, '--type=merge', '-p', patch);
      const anew = await preload(shop, 5, ({ uid }) => uid !== made.uid);
      assert.deepEqual(anew.spec.images, made.spec.images);
      await releasedWithImage(web, image);
      await readyOnEveryNode(shop, anew.uid);
      await web.rolledOut(60);
    });

    test('one forged as ready with other images is not believed', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      const image = await shop.pushSlow('v2', 30);
      const forged = await forge(shop, web, image, [{ image: PAUSE_IMAGE }]);

      const { stderr } = await web.setImage(image);
      assert.match(stderr, new RegExp(`get ipl ${forged.name} -w`));
      const anew = await preload(shop, 5, ({ uid }) => uid !== forged.uid);
      assert.equal(anew.name, forged.name);
      await releasedWithImage(web, image);
      await readyOnEveryNode(shop, anew.uid);
      await web.rolledOut(60);
    });

    test('nor is the status of one that is forged to the last field', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      const image = await shop.pushSlow('v2', 30);
      const forged = await forge(shop, web, image, [{ image, imagePullPolicy: 'IfNotPresent' }]);

      const { stderr } = await web.setImage(image);
      assert.match(stderr, new RegExp(`get ipl ${forged.name} -w`));
      await releasedWithImage(web, image);
      await web.rolledOut(60);
    });
  });

  describe('copy a held Deployment, or restore it from a backup [copied-hold]', () => {
    test('a copy under another name, here and where nobody opted in: free within 5 s, while the original is held', async (t) => {
      const { shop, web } = await held(await world.namespace(t));
      const elsewhere = await world.namespace(t, {});
      const original = asObject(
        JSON.parse((await shop.kubectl('get', 'deployment', 'web', '-o', 'json')).stdout),
      );
      for (const namespace of [shop, elsewhere]) {
        const timeline = namespace.timeline();
        await namespace.apply(withMetadata(original, { name: 'copy', namespace: namespace.name }));
        await until('the copy is free', 5, () => read(namespace, 'copy'), isFree);
        await timeline.first(
          'it goes its own way',
          10,
          ({ kind, name }) => kind === 'ReplicaSet' && name.startsWith('copy-'),
        );
      }
      assert.ok(isHeld(await web.read()), 'the original is held as before');
    });

    test('one that is restored from a backup: free within 5 s', async (t) => {
      const { shop } = await held(await world.namespace(t));
      const backup = asObject(
        JSON.parse((await shop.kubectl('get', 'deployment', 'web', '-o', 'json')).stdout),
      );
      await shop.kubectl('delete', 'deployment', 'web');
      const restored = JSON.stringify(withMetadata(backup, {}));
      const created = await world.lab.kubectl(['-n', shop.name, 'create', '-f', '-'], { input: restored });
      assert.equal(created.code, 0, created.stderr);
      await until('it is free', 5, () => read(shop, 'web'), isFree);
    });

    test('one that is put back over itself, from a backup of its hold: not held for ever', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await web.setImage(await shop.push('v2', { megabytes: 5 }));
      const backup = asObject(
        JSON.parse((await shop.kubectl('get', 'deployment', 'web', '-o', 'json')).stdout),
      );
      await web.released(60);
      await web.rolledOut(60);
      await replaceDeployment(shop, withMetadata(backup, {}));
      await until('it is free', 5, () => read(shop, 'web'), isFree);
      await web.rolledOut(10);
    });
  });
});

interface Held {
  readonly shop: Namespace;
  readonly web: Deployment;
  readonly image: string;
}

/** For as long as the test likes: the image does not exist, and no node is busy with pulling it. */
async function held(shop: Namespace): Promise<Held> {
  const web = await deploy(shop, 'web');
  const image = `${world.lab.registry}/${shop.name}:missing`;
  await web.setImage(image);
  await preload(shop, 10, () => true);
  assert.ok(isHeld(await web.read()));
  return { shop, web, image };
}

async function letGo(web: Deployment, seconds: number): Promise<void> {
  const stored = await web.released(seconds);
  assert.equal(stored.paused, false);
}

async function rolloutBegins(timeline: Timeline, image: string): Promise<void> {
  await timeline.first(
    'the rollout begins',
    10,
    ({ kind, object }) => kind === 'ReplicaSet' && imagesOf(object).includes(image),
  );
}

async function preload(
  shop: Namespace,
  seconds: number,
  isIt: (preload: ImagePreload) => boolean,
): Promise<ImagePreload> {
  const all = await until('the preload', seconds, shop.preloads, (found) => found.some(isIt));
  const found = all.find(isIt);
  if (found === undefined) throw new Error('no preload');
  return found;
}

/**
 * Every node has the image as soon as it is released. It comes slowly: what the rollout's own pod would pull could not be
 * there yet.
 */
async function releasedWithImage(web: Deployment, image: string): Promise<void> {
  await web.released(90);
  await assertOnEveryNode(world.lab, image);
}

async function readyOnEveryNode(shop: Namespace, uid: string): Promise<void> {
  const nodes = world.lab.nodes().length;
  await preload(shop, 10, (one) => one.uid === uid && one.status?.ready === `${nodes}/${nodes}`);
}

/** An ImagePreload by hand, in the place of the one that the hold for this image will wait for, that says it is ready. */
async function forge(
  shop: Namespace,
  web: Deployment,
  image: string,
  images: readonly JsonObject[],
): Promise<ImagePreload> {
  const stored = await web.read();
  const template = {
    ...stored.template,
    spec: { ...asObject(stored.template['spec']), containers: withImage(stored.template, image) },
  };
  const hash = templateHash(template);
  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: stored.uid, controller: true };
  const collection = `${API_GROUP_PATH}/namespaces/${shop.name}/imagepreloads`;
  const forged = parseImagePreload(
    await world.api.create(collection, {
      apiVersion: API_VERSION,
      kind: IMAGE_PRELOAD_KIND,
      metadata: { name: preloadName(stored, hash), ownerReferences: [owner] },
      spec: { images, templateHash: hash },
    }),
  );
  const time = new Date().toISOString();
  const condition = { observedGeneration: 1, lastTransitionTime: time, reason: 'AllNodesReady', message: '' };
  const status = {
    phase: 'Ready',
    ready: '2/2',
    desiredNodes: 2,
    readyNodes: 2,
    conditions: [{ type: 'Ready', status: 'True', ...condition }],
    startedAt: time,
  };
  // The policy pullgate-status lets no other account write it.
  const account = await gateAccount(world.lab);
  try {
    await account.mergePatch(`${collection}/${forged.name}/status`, { status });
  } finally {
    await account.close();
  }
  return forged;
}

function withImage(template: JsonObject, image: string): JsonObject[] {
  const containers = at(template, 'spec', 'containers') as JsonObject[];
  return containers.map((container) => ({ ...container, image }));
}

/** As people do it: all that the API server adds goes, all else stays. */
function withMetadata(deployment: JsonObject, changes: JsonObject): JsonObject {
  const { uid, resourceVersion, creationTimestamp, generation, managedFields, ...metadata } = asObject(
    deployment['metadata'],
  );
  const { status, ...rest } = deployment;
  return { ...rest, metadata: { ...metadata, ...changes } };
}

async function read(shop: Namespace, name: string): Promise<Stored> {
  return parseDeployment(await world.api.get(`/apis/apps/v1/namespaces/${shop.name}/deployments/${name}`));
}

function isFree(deployment: Stored): boolean {
  return !isHeld(deployment) && !deployment.paused;
}
