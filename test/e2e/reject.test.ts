import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AppsV1Api, KubeConfig, PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { API_GROUP_PATH, MODE_LABEL } from '../../src/api/names.ts';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { admissionReview } from '../support/admission-review.ts';
import { deploy, isHeld, manifestOf } from '../support/e2e/deployment.ts';
import { startGate } from '../support/e2e/gate-process.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { registeredEndpoint, send } from '../support/e2e/review.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { imagesOf, type Timeline } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const REJECT = { [MODE_LABEL]: 'reject' };

const stored = async (namespace: Namespace, name: string): Promise<JsonObject> =>
  asObject(await namespace.api.get(`/apis/apps/v1/namespaces/${namespace.name}/deployments/${name}`));

function withImage(object: JsonObject, image: string): JsonObject {
  const text = JSON.stringify(object);
  const [old] = imagesOf(object);
  return asObject(JSON.parse(text.replaceAll(JSON.stringify(old), JSON.stringify(image))));
}

/** Never paused, never marked: in this mode nothing is held. */
function assertNeverHeld(timeline: Timeline): void {
  for (const { object } of timeline.of('Deployment')) {
    assert.notEqual(at(object, 'spec', 'paused'), true);
    assert.equal(at(object, 'metadata', 'labels', 'pullgate.io/held'), undefined);
  }
}

describe('apply or set an image [reject-apply]', { concurrency: true }, () => {
  test('kubectl set image takes longer, then succeeds with the image on every node', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const image = await shop.pushSlow('v2', 40);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const began = performance.now();
    const asking = web.setImage(image);
    const event = await told(shop, 'web', 'RolloutRejected', 5);
    // The pull alone takes 4 s.
    assert.ok(performance.now() - began < 3000, `told after ${performance.now() - began} ms`);
    assert.match(event.note, /update rejected until the nodes have .*:v2; requested by .*get ipl web-/);
    assertServesOn(timeline, 1);

    await asking;
    const seconds = (performance.now() - began) / 1000;
    t.diagnostic(`kubectl set image took ${seconds.toFixed(1)} s`);
    assert.ok(seconds > 3, 'it waited for the pull');
    await assertOnEveryNode(world.lab, image);
    assert.match((await told(shop, 'web', 'RolloutReleased')).note, /update accepted: 2 of 2 nodes/);
    await web.rolledOut(60);
    assertNeverHeld(timeline);
    const preloads = new Set(timeline.of('ImagePreload').map(({ object }) => at(object, 'metadata', 'uid')));
    assert.equal(preloads.size, 1, 'asked several times, preloaded once');
  });

  test('kubectl apply takes longer, then succeeds', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const image = await shop.pushSlow('v2', 20);
    await shop.apply(manifestOf('web', {}));
    const web = await deploy(shop, 'other');
    const timeline = shop.timeline();
    await shop.apply(manifestOf('web', { image }));
    await assertOnEveryNode(world.lab, image);
    const object = await stored(shop, 'web');
    assert.deepEqual(imagesOf(object), [image]);
    assertNeverHeld(timeline);
    assert.equal(isHeld(await web.read()), false);
  });

  test('what needs no pull goes through at once, and so does a bypass', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const web = await deploy(shop, 'web');
    await shop.kubectl('set', 'env', 'deployment/web', 'COLOUR=green');
    await web.rolledOut(60);
    const image = await shop.pushSlow('v2', 20);
    const patch = {
      metadata: { annotations: { 'pullgate.io/bypass': 'urgent' } },
      spec: { template: { spec: { containers: [{ name: 'app', image }] } } },
    };
    const { stderr } = await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify(patch));
    assert.match(stderr, /starts before its nodes have the images, because of the bypass: urgent/);
    assert.deepEqual(await shop.preloads(), []);
  });

  test('a dry run is answered the same, and makes nothing', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const web = await deploy(shop, 'web');
    const before = await web.read();
    const image = await shop.push('v2');
    const began = performance.now();
    const { code, stderr } = await shop.tryKubectl(
      ...['set', 'image', 'deployment/web', `app=${image}`, '--dry-run=server'],
    );
    assert.equal(code, 1);
    assert.match(
      stderr,
      /pullgate: \S+\/web would wait until its nodes have \S+:v2; a dry run preloads nothing/,
    );
    assert.ok(performance.now() - began < 5000, 'and does not wait for what nobody does');
    assert.deepEqual(await shop.preloads(), []);
    assert.deepEqual(await shop.events('web'), []);
    assert.equal((await web.read()).generation, before.generation);
  });
});

describe('use a client that does not retry [reject-no-retry]', () => {
  test('its error says how far it is, and asking again later succeeds', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const image = await shop.pushSlow('v2', 30);
    await deploy(shop, 'web');
    const config = new KubeConfig();
    config.loadFromFile(world.lab.kubeconfig);
    const apps = config.makeApiClient(AppsV1Api);
    const body = { spec: { template: { spec: { containers: [{ name: 'app', image }] } } } };
    const patch = () =>
      apps.patchNamespacedDeployment(
        { name: 'web', namespace: shop.name, body },
        setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch),
      );

    const error: unknown = await patch().then(
      () => assert.fail('it was let through'),
      (reason: unknown) => reason,
    );
    assert.equal(at(error, 'code') ?? (error as { code?: unknown }).code, 429);
    const said = JSON.stringify(error, Object.getOwnPropertyNames(error));
    assert.match(said, /waits until its nodes have .*:v2: /);
    assert.match(said, /Run the same command again to retry/);
    const ready = shop.kubectl('wait', '--for=condition=Ready', 'ipl', '--all', '--timeout=60s');
    const further: unknown = await until(
      'a node count',
      10,
      () =>
        patch().then(
          () => undefined,
          (reason: unknown) => JSON.stringify(reason, ['body', 'message']),
        ),
      (text) => /of 2 nodes after \d+ s/.test(text ?? ''),
    );
    t.diagnostic(String(further));
    await ready;
    await patch();
    assert.deepEqual(imagesOf(await stored(shop, 'web')), [image]);
  });
});

describe('ask for an image that does not exist [reject-missing-image]', () => {
  test("the command fails in seconds with the registry's words, and the old version serves on", async (t) => {
    const shop = await world.namespace(t, REJECT);
    await deploy(shop, 'web');
    const timeline = shop.timeline();
    const began = performance.now();
    const { code, stderr } = await shop.tryKubectl(
      ...['set', 'image', 'deployment/web', `app=${world.lab.registry}/${shop.name}:typo`],
    );
    const seconds = (performance.now() - began) / 1000;
    t.diagnostic(`it failed after ${seconds.toFixed(1)} s: ${stderr}`);
    assert.equal(code, 1);
    assert.match(stderr, /rejected; the running version is unchanged: .*not found.*NotFound/);
    assert.ok(seconds < 15, `${seconds} s`);
    assertServesOn(timeline, 1);

    // The right one does not wait for the wrong one.
    const image = await shop.push('v2');
    await shop.kubectl('set', 'image', 'deployment/web', `app=${image}`);
    await until(
      'the wrong one is superseded',
      5,
      shop.preloads,
      (all) =>
        all.find(({ spec }) => spec.images[0]?.image.endsWith(':typo'))?.status?.phase === 'Superseded',
    );
  });
});

describe('have a quota that refuses the ImagePreload [reject-quota]', () => {
  test('the command fails with the words of the refusal, and is not let through', async (t) => {
    const shop = await world.namespace(t, REJECT);
    const web = await deploy(shop, 'web');
    const before = await web.read();
    await shop.kubectl('create', 'quota', 'none', '--hard=count/imagepreloads.pullgate.io=0');
    const quota = () => shop.kubectl('get', 'quota', 'none', '-o', 'jsonpath={.status.used}');
    await until('the quota is in force', 30, quota, ({ stdout }) => stdout.includes('imagepreloads'));
    const image = await shop.push('v2');
    const { code, stderr } = await shop.tryKubectl('set', 'image', 'deployment/web', `app=${image}`);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /rejected; the running version is unchanged: ImagePreload \S+ was refused: .* quota: none/,
    );
    assert.equal((await web.read()).generation, before.generation);
  });
});

describe('forge a review [reject-forged-review]', () => {
  test('nothing is made for one that is not about the stored Deployment', async (t) => {
    const [shop, paused] = await Promise.all([world.namespace(t, REJECT), world.namespace(t)]);
    await deploy(shop, 'web');
    await deploy(paused, 'web');
    const endpoint = await registeredEndpoint(world.api);
    const image = `${world.lab.registry}/${shop.name}:any`;
    const old = await stored(shop, 'web');
    const change = (metadata: JsonObject) => ({
      ...old,
      metadata: { ...asObject(old['metadata']), ...metadata },
    });
    const other = await stored(paused, 'web');
    const forged: readonly (readonly [string, JsonObject])[] = [
      ['a Deployment that does not exist', change({ name: 'nothing' })],
      ['a namespace that does not exist', change({ namespace: 'e2e-nowhere' })],
      ['another uid', change({ uid: 'forged' })],
      ['another generation', change({ generation: 77 })],
      ['another template than the stored one', withImage(old, `${world.lab.registry}/${shop.name}:older`)],
      ['a namespace in another mode', other],
    ];
    for (const [what, oldObject] of forged) {
      const { allowed, status } = await send(
        endpoint,
        'reject',
        admissionReview(oldObject, withImage(oldObject, image)),
      );
      assert.equal(allowed, false, what);
      assert.equal(at(status, 'code'), 429, what);
      assert.match(String(at(status, 'message')), /changed while it was being checked/, what);
    }
    const all = await world.api.get(`${API_GROUP_PATH}/imagepreloads`);
    const made = JSON.stringify(all).includes(image);
    assert.equal(made, false);
  });
});

// Last: it takes the registration away from the gate of this file.
describe('ask two replicas of the gate at once [reject-two-replicas]', () => {
  test('one preload, one event', async (t) => {
    const shop = await world.namespace(t, REJECT);
    await deploy(shop, 'web');
    const image = await shop.pushSlow('v2', 20);
    const old = await stored(shop, 'web');
    const first = await registeredEndpoint(world.api);
    const another = await startGate(world.lab);
    t.after(() => another.stop());
    const second = await registeredEndpoint(world.api);
    assert.notEqual(first.url, second.url);

    const body = admissionReview(old, withImage(old, image));
    const answers = await Promise.all(
      [first, second, first, second].map((endpoint) => send(endpoint, 'reject', body)),
    );
    for (const { allowed, status } of answers) {
      assert.equal(allowed, false);
      assert.equal(at(status, 'code'), 429);
      assert.ok(Number(at(status, 'details', 'retryAfterSeconds')) >= 1);
    }
    await shop.kubectl('wait', '--for=condition=Ready', 'ipl', '--all', '--timeout=30s');
    assert.equal((await shop.preloads()).length, 1);
    const events = await shop.events('web');
    assert.equal(events.filter(({ reason }) => reason === 'RolloutRejected').length, 1);
    assert.equal(events.filter(({ reason }) => reason === 'PreloadStarted').length, 1);
    const { allowed } = await send(second, 'reject', body);
    assert.equal(allowed, true);
  });
});
