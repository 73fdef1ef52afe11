import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { Deployment as Stored } from '../../src/api/deployment.ts';
import { parseImagePreload } from '../../src/api/image-preload.ts';
import { DECIDED_ANNOTATION } from '../../src/api/names.ts';
import { asArray, at } from '../../src/json.ts';
import type { CommandResult } from '../cluster/lab/command.ts';
import { withControllersHeldBack } from '../support/e2e/controllers-held-back.ts';
import { deploy, holding } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod, type Namespace } from '../support/e2e/namespace.ts';
import { assertFoundAll } from '../support/e2e/pull-events.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { imagesOf, type Moment, type Timeline } from '../support/e2e/timeline.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

describe('one upgrade, from kubectl set image to the end of its rollout', () => {
  const scope = suiteScope();
  let shop: Namespace;
  let image: string;
  let timeline: Timeline;
  let asked: CommandResult;
  let waited: CommandResult;
  let stores: string[][];
  let podsAtRelease: readonly unknown[];
  let held: Stored;
  let done: Stored;

  before(async () => {
    shop = await world.namespace(scope);
    image = await shop.pushSlow('v2', 25);
    const web = await deploy(shop, 'web', { replicas: 2 });
    timeline = shop.timeline();
    asked = await web.setImage(image);
    held = await web.read();
    const [preload] = await until('a preload', 10, shop.preloads, ({ length }) => length > 0);
    const waiting = shop.kubectl('wait', '--for=condition=Ready', `ipl/${preload?.name}`, '--timeout=60s');
    await withControllersHeldBack(async () => {
      await web.released(60);
      stores = await Promise.all(world.lab.nodes().map((node) => world.lab.nodeImages(node)));
      podsAtRelease = asArray(at(await world.api.get(`/api/v1/namespaces/${shop.name}/pods`), 'items'));
      waited = await waiting;
    });
    done = await web.rolledOut(60);
    await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
    // By the watch, which the tests below look at: it can lag behind a read.
    await until('it is finished', 10, phases, (seen) => seen.at(-1) === 'Finished');
  });

  test('kubectl prints that it is held, where to look and the two ways out', () => {
    const lines = asked.stderr.split('\n').filter((line) => line.startsWith('Warning: '));
    assert.equal(lines.length, 3, asked.stderr);
    assert.match(
      lines[0] ?? '',
      /the rollout of \S+\/web is held until its nodes have \S+:v2; watch: kubectl/,
    );
    assert.match(
      lines[1] ?? '',
      /Release it now: kubectl -n \S+ annotate deployment web pullgate\.io\/bypass=/,
    );
    assert.match(lines[2] ?? '', /Go back: kubectl -n \S+ set image deployment\/web app=\S+$/);
  });

  test('the Deployment is paused and marked as held', () => {
    assert.equal(held.paused, true);
    assert.equal(held.labels['pullgate.io/held'], 'true');
    const hold = JSON.parse(held.annotations['pullgate.io/hold'] ?? '{}') as Record<string, unknown>;
    assert.equal(hold['uid'], held.uid);
    assert.equal(hold['userPaused'], false);
  });

  test('every node has the image in its store before the first new pod is created', () => {
    assert.equal(stores.length, world.lab.nodes().length);
    for (const store of stores) assert.ok(store.includes(image), store.join('\n'));
    const created = podsAtRelease.filter((pod) => !isPullerPod(pod));
    assert.equal(created.length, 2, 'the two old ones');
  });

  test('nothing of the rollout exists while it is held', () => {
    const released = timeline.of('Deployment', 'web').findIndex(holding('web', image, false));
    const release = timeline.of('Deployment', 'web')[released];
    const replicaSet = timeline.of('ReplicaSet').find(({ object }) => imagesOf(object).includes(image));
    const pod = newPods(timeline, image)[0];
    assert.ok(release && replicaSet && pod);
    assert.ok(release.at < replicaSet.at && replicaSet.at < pod.at);
  });

  test('the old pods serve until new ones do', () => {
    assert.ok(fewestReady(timeline) >= 2);
  });

  test('kubectl wait --for=condition=Ready sees the preload become ready', () => {
    assert.match(waited.stdout, /condition met/);
  });

  async function phases(): Promise<(string | undefined)[]> {
    return timeline
      .of('ImagePreload')
      .filter(({ type }) => type !== 'DELETED')
      .map(({ object }) => parseImagePreload(object).status?.phase);
  }

  test('the preload is Ready, and Finished after the rollout', async () => {
    const seen = await phases();
    assert.ok(seen.includes('Ready'), seen.join());
    assert.equal(seen.at(-1), 'Finished');
    assert.ok(seen.indexOf('Ready') < seen.indexOf('Finished'));
  });

  test('it is told that it is held, preloaded, ready and released, once each', async () => {
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
    assert.ok(events.every(({ type }) => type === 'Normal'));
    assert.ok(events.every(({ related }) => related.startsWith('ImagePreload/web-')));
  });

  test('nothing of the hold is left on the Deployment', () => {
    assert.equal(done.paused, false);
    assert.equal(done.labels['pullgate.io/held'], undefined);
    const ours = Object.keys(done.annotations).filter((name) => name.startsWith('pullgate.io/'));
    assert.deepEqual(ours, [DECIDED_ANNOTATION]);
  });

  test('no pod of the rollout had to pull', async () => {
    await assertFoundAll(
      shop,
      newPods(timeline, image).map(({ name }) => name),
      [image],
    );
  });
});

function newPods(timeline: Timeline, image: string): Moment[] {
  return timeline
    .of('Pod')
    .filter(
      ({ type, object }) => type === 'ADDED' && imagesOf(object).includes(image) && !isPullerPod(object),
    );
}

/** The smallest number of ready pods of the workload that there ever was. */
function fewestReady(timeline: Timeline): number {
  const ready = new Set<string>();
  let least = Number.POSITIVE_INFINITY;
  for (const { name, type, object } of timeline.of('Pod')) {
    if (isPullerPod(object)) continue;
    const conditions = asArray(at(object, 'status', 'conditions'));
    const isReady = conditions.some((one) => at(one, 'type') === 'Ready' && at(one, 'status') === 'True');
    if (isReady && type !== 'DELETED') ready.add(name);
    else if (ready.delete(name)) least = Math.min(least, ready.size);
  }
  return Math.min(least, ready.size);
}
