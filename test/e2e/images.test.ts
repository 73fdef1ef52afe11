import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseImagePreload } from '../../src/api/image-preload.ts';
import { asString, at, type JsonObject } from '../../src/json.ts';
import { HUB_ADDRESS, REGISTRY_HOSTS } from '../cluster/lab/addresses.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { type Deployment, deploy, holding, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod, type Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { imagesOf, type Moment, type Timeline } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

describe('with nodes that pull one after another', () => {
  // So that there are pulls that have not begun.
  const world = gatedLab({ flags: ['--parallelism', '1'] });

  describe('ask for a second and a third image while held [supersede]', () => {
    test('each supersedes the one before, no pull of that one begins any more, and the last one rolls out', async (t) => {
      const shop = await world.namespace(t);
      const v2 = await shop.pushSlow('v2', 40);
      const v3 = await shop.pushSlow('v3', 40);
      const v4 = await shop.push('v4');
      const web = await deploy(shop, 'web');
      const timeline = shop.timeline();

      await web.setImage(v2);
      await timeline.first('v2 is being pulled', 20, isPullOf(v2));
      const second = await web.setImage(v3);
      assert.match(
        second.stderr,
        /the rollout of \S+ stays held, now with another pod template, until its nodes have \S+:v3/,
      );
      await timeline.first('v3 is being pulled', 20, isPullOf(v3));
      const third = await web.setImage(v4);
      assert.match(
        third.stderr,
        /the rollout of \S+ stays held, now with another pod template, until its nodes have \S+:v4/,
      );
      await timeline.first('v4 is released', 60, holding('web', v4, false));
      await web.rolledOut(60);

      assert.deepEqual(pulled(timeline), [v2, v3, ...world.lab.nodes().map(() => v4)]);
      const replicaSets = timeline.of('ReplicaSet').flatMap(({ object }) => imagesOf(object));
      assert.deepEqual([...new Set(replicaSets)].sort(), [PAUSE_IMAGE, v4].sort());
      const preloads = await until('all are over', 10, shop.preloads, (all) =>
        all.every(({ status }) => status?.finishedAt !== undefined),
      );
      const phases = preloads.map(({ spec, status }) => `${spec.images[0]?.image} ${status?.phase}`);
      assert.deepEqual(phases.sort(), [`${v2} Superseded`, `${v3} Superseded`, `${v4} Finished`].sort());
      const notes = (await shop.events('web'))
        .filter(({ reason }) => reason === 'HoldSuperseded')
        .map(({ note }) => note);
      assert.equal(notes.length, 2, notes.join('\n'));
      for (const image of [v3, v4])
        assert.ok(
          notes.some((note) => note.includes(image)),
          notes.join('\n'),
        );
    });
  });
});

describe('with nodes that pull at once', () => {
  const world = gatedLab();

  // Two of these at a time, and two tests in each.
  describe('several side by side', { concurrency: 2 }, () => {
    describe('go back to the running image while held [go-back-image]', () => {
      test('the hold ends in that same request, and no rollout ever was', async (t) => {
        const shop = await world.namespace(t);
        const web = await deploy(shop, 'web');
        const timeline = shop.timeline();
        await web.setImage(await shop.pushSlow('v2', 20));
        assert.ok(isHeld(await web.read()));

        const back = await shop.kubectl('set', 'image', 'deployment/web', `app=${PAUSE_IMAGE}`, '-o', 'json');
        assert.match(back.stderr, /the hold of \S+\/web has ended/);
        const answered = parseDeployment(JSON.parse(back.stdout));
        assert.equal(isHeld(answered), false);
        assert.equal(answered.paused, false);

        await told(shop, 'web', 'HoldReverted');
        await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
        const stored = await web.rolledOut(10);
        assert.equal(isHeld(stored), false);
        assert.equal(replicaSets(timeline).length, 1);
        const reasons = (await shop.events('web')).map(({ reason }) => reason);
        assert.ok(!reasons.includes('RolloutReleased'), reasons.join());
      });
    });

    describe('go v1, v2, v1, v2, or restart the same mutable tag twice [mutable-tag]', () => {
      test('v1, v2, v1, v2: each has a preload of its own and is released by that one', async (t) => {
        const shop = await world.namespace(t);
        const [v1, v2] = await Promise.all([shop.push('v1'), shop.push('v2')]);
        const web = await deploy(shop, 'web', { image: v1 });
        const timeline = shop.timeline();
        const preloads: string[] = [];
        for (const image of [v2, v1, v2]) preloads.push(await throughTheGate(web, image));

        assert.equal(new Set(preloads).size, 3, preloads.join());
        assert.equal(new Set(timeline.of('ImagePreload').map(uid)).size, 3);
        for (const name of preloads) await wasReady(timeline, name);
      });

      test('the same tag, moved and restarted twice: each time the nodes pull what it is by then', async (t) => {
        const shop = await world.namespace(t);
        await pushVersion(shop, 'stable', '1');
        const web = await deployAlways(shop, 'stable');
        const timeline = shop.timeline();
        const preloads: string[] = [];
        for (const version of ['2', '3']) {
          const digest = await pushVersion(shop, 'stable', version);
          const preload = await restartThroughTheGate(shop, web);
          preloads.push(preload);
          assert.deepEqual(await pulledDigests(shop, preload), [digest]);
          await assertOnEveryNode(world.lab, `${world.lab.registry}/${shop.name}@${digest}`);
        }
        assert.equal(new Set(preloads).size, 2);
        assert.equal(new Set(timeline.of('ImagePreload').map(uid)).size, 2);
        for (const name of preloads) await wasReady(timeline, name);
      });
    });

    describe('change only an init container, or add a sidecar [init-container]', () => {
      test('an init container: only its image is preloaded', async (t) => {
        const shop = await world.namespace(t);
        const [before, next] = await Promise.all(
          ['setup1', 'setup2'].map((tag) => shop.push(tag, { base: 'busybox', entrypoint: ['/bin/true'] })),
        );
        const web = await deploy(shop, 'web', {
          pod: { initContainers: [{ name: 'setup', image: before }] },
        });
        await shop.kubectl('set', 'image', 'deployment/web', `setup=${next}`);
        assert.ok(isHeld(await web.read()));
        await web.released(60);
        await web.rolledOut(60);
        assert.deepEqual(await preloadedImages(shop), [[next]]);
      });

      test('a sidecar: only its image is preloaded', async (t) => {
        const shop = await world.namespace(t);
        const image = await shop.push('side');
        const web = await deploy(shop, 'web');
        const timeline = shop.timeline();
        await patchPods(shop, { containers: [{ name: 'side', image }] });
        assert.ok(isHeld(await web.read()));
        await web.released(60);
        await web.rolledOut(60);
        assert.deepEqual(await preloadedImages(shop), [[image]]);
        assert.deepEqual(
          pulled(timeline),
          world.lab.nodes().map(() => image),
        );
      });
    });

    describe('restart with policy Always and the same tag [restart-always]', () => {
      test('is held, pulled afresh and released, and is one restart', async (t) => {
        const shop = await world.namespace(t);
        await pushVersion(shop, 'stable', '1');
        const web = await deployAlways(shop, 'stable');
        const timeline = shop.timeline();
        const digest = await pushVersion(shop, 'stable', '2');

        const preload = await restartThroughTheGate(shop, web);
        assert.deepEqual(await pulledDigests(shop, preload), [digest]);
        assert.equal(pulled(timeline).length, world.lab.nodes().length);
        assert.equal(replicaSets(timeline).length, 2, 'the old one and the new one');
        const pods = new Set(
          timeline
            .of('Pod')
            .filter(({ object }) => !isPullerPod(object))
            .map(({ name }) => name),
        );
        assert.equal(pods.size, 2, 'the old one and the new one');
      });
    });

    describe('change something that needs no pull: policy Never, replicas 0 and scaled up then or later, an environment variable [no-pull-needed]', () => {
      test('policy Never', async (t) => {
        const shop = await world.namespace(t);
        const pod = { containers: [{ name: 'app', image: PAUSE_IMAGE, imagePullPolicy: 'Never' }] };
        await deploy(shop, 'web', { pod });
        await notHeld(shop, ['set', 'image', 'deployment/web', `app=${await shop.push('v2')}`]);
      });

      test('replicas 0 and scaled up later', async (t) => {
        const shop = await world.namespace(t);
        const image = await shop.push('v2');
        const web = await deploy(shop, 'web', { replicas: 0 });
        await notHeld(shop, ['set', 'image', 'deployment/web', `app=${image}`]);
        await shop.kubectl('scale', 'deployment', 'web', '--replicas=2');
        const stored = await web.rolledOut(60);
        assert.equal(isHeld(stored), false);
        assert.deepEqual(await shop.preloads(), []);
      });

      test('an environment variable', async (t) => {
        const shop = await world.namespace(t);
        const web = await deploy(shop, 'web');
        await notHeld(shop, ['set', 'env', 'deployment/web', 'LEVEL=debug']);
        await web.rolledOut(60);
      });
    });

    describe("write an image as a digest, tag and digest, with a registry's port, or too long [image-spelling]", () => {
      test("a digest, a tag and a digest, a registry's port: held, pulled and released", async (t) => {
        const shop = await world.namespace(t);
        const name = `${world.lab.registry}/${shop.name}`;
        assert.match(name, /^[a-z.]+:\d+\//);
        const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((tag) => pushVersion(shop, tag, '1')));
        const web = await deploy(shop, 'web');
        for (const [image, stored] of [
          [`${name}@${a}`, `${name}@${a}`],
          // Of the two only the digest counts, and the runtime keeps no more.
          [`${name}:b@${b}`, `${name}@${b}`],
          [`${name}:c`, `${name}@${c}`],
        ] as const) {
          const preload = await throughTheGate(web, image);
          assert.deepEqual(await pulledDigests(shop, preload), [stored.split('@')[1]]);
          await assertOnEveryNode(world.lab, stored);
        }
      });

      for (const [what, repository, words] of [
        ['a name of 300 characters', 'a'.repeat(300), /repository name must not be more than 255 characters/],
        ['a name that is none', 'Shop//Web', /invalid reference format/],
      ] as const) {
        test(`${what}: the kubelet's words are told, what runs goes on, and going back works`, async (t) => {
          const shop = await world.namespace(t);
          const web = await deploy(shop, 'web');
          const timeline = shop.timeline();
          await web.setImage(`${world.lab.registry}/${repository}:v2`);
          await rolloutStatusFails(shop);
          const { note } = await told(shop, 'web', 'PreloadFailed');
          assert.match(note, /\(InvalidName on node-\d\)/);
          assert.match(note, words);
          const [preload] = await until(
            'the status',
            10,
            shop.preloads,
            ([one]) => one?.status?.phase === 'Failed',
          );
          assert.equal(preload?.status?.failures[0]?.reason, 'InvalidName');
          assert.ok(isHeld(await web.read()));
          await goesBack(web, timeline);
        });
      }

      test('a name that is longer than an ImagePreload takes: not held, as the warning and an Event say, and going back works', async (t) => {
        const shop = await world.namespace(t);
        const web = await deploy(shop, 'web');
        const { stderr } = await web.setImage(`${world.lab.registry}/${'a'.repeat(1500)}:v2`);
        const why = /continues without a preload: the name of an image has 15\d\d characters, more than 1024/;
        assert.match(stderr, why);
        assert.match((await told(shop, 'web', 'LimitExceeded')).note, why);
        assert.equal(isHeld(await web.read()), false);
        assert.deepEqual(await shop.preloads(), []);
        // A change like any other, as the template with the long name is the running one.
        await web.setImage(PAUSE_IMAGE);
        await web.rolledOut(30);
      });

      test('what the API server refuses changes nothing', async (t) => {
        const shop = await world.namespace(t);
        const web = await deploy(shop, 'web');
        const before = await web.read();
        const patch = { spec: { template: { spec: { containers: [{ name: 'app', image: '' }] } } } };
        const refused = await shop.tryKubectl('patch', 'deployment', 'web', '-p', JSON.stringify(patch));
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /containers\[0\]\.image: Required value/);
        assert.equal((await web.read()).generation, before.generation);
        assert.deepEqual(await shop.preloads(), []);
      });
    });

    describe('use strategy Recreate, or change the image while a rollout is under way [recreate]', () => {
      test('Recreate: the old pod serves until the release', async (t) => {
        const shop = await world.namespace(t);
        const image = await shop.pushSlow('v2', 20);
        const web = await deploy(shop, 'web');
        const strategy = { type: 'Recreate', rollingUpdate: null };
        await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify({ spec: { strategy } }));
        assert.deepEqual(await shop.preloads(), []);

        const timeline = shop.timeline();
        await web.setImage(image);
        const released = await timeline.first('released', 60, holding('web', image, false));
        await web.rolledOut(60);
        const stopped = await timeline.first('the old pod is stopped', 10, isStopping);
        assert.ok(released.at < stopped.at);
      });

      test('a rollout under way: what serves of the version before goes on, and the next one replaces both', async (t) => {
        const shop = await world.namespace(t);
        const [v2, v3] = await Promise.all([shop.push('v2'), shop.pushSlow('v3', 20)]);
        const web = await deploy(shop, 'web', { replicas: 2 });
        const timeline = shop.timeline();
        // Nobody listens there.
        const readinessProbe = { tcpSocket: { port: 1 } };
        await patchPods(shop, { containers: [{ name: 'app', image: v2, readinessProbe }] });
        await web.released(60);
        await timeline.first('a pod of v2 runs', 30, isRunning(v2));

        await patchPods(shop, { containers: [{ name: 'app', image: v3, readinessProbe: null }] });
        assert.ok(isHeld(await web.read()));
        const released = await timeline.first('v3 is released', 60, holding('web', v3, false));
        await web.rolledOut(60);
        const available = timeline
          .of('Deployment')
          .map(({ object }) => parseDeployment(object).status.availableReplicas);
        assert.ok(Math.min(...available) >= 2, available.join());
        const stopped = timeline.of('Pod').find(isStopping);
        assert.ok(stopped !== undefined && stopped.at > released.at);
      });
    });
  });
});

async function rolloutStatusFails(shop: Namespace): Promise<void> {
  const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=30s');
  assert.equal(status.code, 1);
  assert.match(status.stderr, /exceeded its progress deadline/);
}

async function goesBack(web: Deployment, timeline: Timeline): Promise<void> {
  await web.setImage(PAUSE_IMAGE);
  assert.equal(isHeld(await web.rolledOut(10)), false);
  assert.equal(replicaSets(timeline).length, 1);
}

/** Sets the image and waits until it runs everywhere. Returns the name of the preload that the hold waited for. */
async function throughTheGate(web: Deployment, image: string): Promise<string> {
  const { stderr } = await web.setImage(image);
  await web.released(60);
  await web.rolledOut(60);
  return awaited(stderr);
}

async function restartThroughTheGate(shop: Namespace, web: Deployment): Promise<string> {
  const { stderr } = await shop.kubectl('rollout', 'restart', 'deployment/web');
  await web.released(60);
  await web.rolledOut(60);
  return awaited(stderr);
}

function awaited(stderr: string): string {
  const preload = /is held until .* get ipl (\S+) -w/.exec(stderr)?.[1];
  assert.ok(preload, stderr);
  return preload;
}

async function notHeld(shop: Namespace, command: string[]): Promise<void> {
  const timeline = shop.timeline();
  const { stdout, stderr } = await shop.kubectl(...command, '-o', 'json');
  assert.equal(stderr, '');
  const answered = parseDeployment(JSON.parse(stdout));
  assert.equal(isHeld(answered), false);
  assert.equal(answered.paused, false);
  await until(
    'the rollout begins',
    10,
    () => replicaSets(timeline),
    ({ length }) => length === 2,
  );
  assert.deepEqual(await shop.preloads(), []);
}

function deployAlways(shop: Namespace, tag: string): Promise<Deployment> {
  const image = `${shop.lab.registry}/${shop.name}:${tag}`;
  return deploy(shop, 'web', { pod: { containers: [{ name: 'app', image, imagePullPolicy: 'Always' }] } });
}

async function patchPods(shop: Namespace, spec: JsonObject): Promise<void> {
  await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify({ spec: { template: { spec } } }));
}

/** Another image with each version, whatever the tag. Returns its digest. */
async function pushVersion(shop: Namespace, tag: string, version: string): Promise<string> {
  await shop.push(tag, { env: { VERSION: version } });
  const url = `http://${HUB_ADDRESS}:${REGISTRY_HOSTS.registry.port}/v2/${shop.name}/manifests/${tag}`;
  const answer = await fetch(url, { headers: { accept: 'application/vnd.oci.image.manifest.v1+json' } });
  const digest = answer.headers.get('docker-content-digest');
  assert.ok(digest, `${url}: ${answer.status}`);
  return digest;
}

/** What the puller pods of every node got, as the preload's status has it. */
async function pulledDigests(shop: Namespace, preload: string): Promise<readonly string[]> {
  const nodes = shop.lab.nodes().length;
  const all = await until('every pull is in the status', 10, shop.preloads, (preloads) =>
    preloads.some(({ name, status }) => name === preload && status?.images[0]?.pulled === nodes),
  );
  return all.find(({ name }) => name === preload)?.status?.images[0]?.digests ?? [];
}

async function preloadedImages(shop: Namespace): Promise<string[][]> {
  return (await shop.preloads()).map(({ spec }) => spec.images.map(({ image }) => image));
}

/** Images of the puller pods, one for each, in the order in which they began. */
function pulled(timeline: Timeline): string[] {
  return timeline
    .of('Pod')
    .filter(({ type, object }) => type === 'ADDED' && isPullerPod(object))
    .flatMap(({ object }) => imagesOf(object));
}

function isPullOf(image: string): (moment: Moment) => boolean {
  return ({ kind, object }) => kind === 'Pod' && isPullerPod(object) && imagesOf(object).includes(image);
}

function isRunning(image: string): (moment: Moment) => boolean {
  return ({ kind, object }) =>
    kind === 'Pod' &&
    !isPullerPod(object) &&
    imagesOf(object).includes(image) &&
    at(object, 'status', 'phase') === 'Running';
}

function isStopping({ kind, object }: Moment): boolean {
  return kind === 'Pod' && !isPullerPod(object) && at(object, 'metadata', 'deletionTimestamp') !== undefined;
}

function replicaSets(timeline: Timeline): string[] {
  return [...new Set(timeline.of('ReplicaSet').map(({ name }) => name))];
}

function uid({ object }: Moment): string {
  return asString(at(object, 'metadata', 'uid')) ?? '';
}

/** A preload that was never ready itself cannot have released anything. */
function wasReady(timeline: Timeline, preload: string): Promise<Moment> {
  return timeline.first(
    `${preload} is ready`,
    10,
    ({ kind, name, object }) =>
      kind === 'ImagePreload' &&
      name === preload &&
      parseImagePreload(object).status?.conditions.some(
        ({ type, status }) => type === 'Ready' && status === 'True',
      ) === true,
  );
}
