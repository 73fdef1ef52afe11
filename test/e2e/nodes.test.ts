import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ImagePreloadStatus } from '../../src/api/image-preload.ts';
import { PULL_TIMES, type PullTimes } from '../../src/preloads/assess/pull-times.ts';
import { GROUP_LABEL } from '../cluster/simulated/node-object.ts';
import { digestOf } from '../cluster/simulated/registry.ts';
import { simulateNodes } from '../cluster/simulated/simulated-nodes.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

/** Everything that takes minutes takes a sixth of it here. */
const FASTER = 6;
const TIMES = {
  ...Object.fromEntries(Object.entries(PULL_TIMES).map(([name, ms]) => [name, ms / FASTER])),
  // Simulated nodes report their images with the heartbeat, every 10 s.
  absentMs: PULL_TIMES.absentMs,
} as unknown as PullTimes;
const NO_NODES_SECONDS = TIMES.noNodesMs / 1000;
const GIVEN_UP_SECONDS = TIMES.givenUpAfterMs / 1000;

/**
 * Between what the tests need: a node whose third attempt fails leaves the count after that, so that one that
 * fails is still counted at the deadline; and the pull of a slow node is not out of time.
 */
const DEADLINE_SECONDS = 15;
const NODE_TIMEOUT_SECONDS = 10;
const SLOW_SECONDS = 8;

const world = gatedLab({
  flags: [
    ...['--deadline-seconds', `${DEADLINE_SECONDS}`, '--node-timeout-seconds', `${NODE_TIMEOUT_SECONDS}`],
    ...['--startup-taints', 'example.com/booting'],
  ],
  pullTimes: TIMES,
});

const POOL_LABEL = 'sim.pullgate.io/pool';
const REFUSED = {
  fails:
    'failed to do request: Head "http://registry.test/v2/app/manifests/2": dial tcp 10.0.0.9:80: connect: connection refused',
};

/** No node has it, and only simulated ones could get it. */
function imageOf(shop: Namespace): string {
  return `registry.test/${shop.name}:2`;
}

function statusOf(shop: Namespace): () => Promise<ImagePreloadStatus | undefined> {
  return async () => (await shop.preloads())[0]?.status;
}

/** How many nodes are left out for that reason. */
function excluded(status: ImagePreloadStatus | undefined, reason: string): number {
  return status?.excluded.find((entry) => entry.reason === reason)?.count ?? 0;
}

describe('Nodes', { concurrency: true }, () => {
  test('cordon, delete, add, relabel a node while held, or one becomes not ready [node-changes]', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 6);
    const [kept = '', cordoned = '', returning = '', silent = '', deleted = '', relabelled = ''] =
      nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, { hangs: true });
    // Not by the nodeSelector: it leaves out the nodes of the other tests, too.
    const outside = { key: POOL_LABEL, operator: 'DoesNotExist' };
    const required = { nodeSelectorTerms: [{ matchExpressions: [outside] }] };
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } };
    const web = await deploy(shop, 'web', { pod: { ...nodes.pod, affinity } });
    const status = statusOf(shop);

    await web.setImage(image);
    await until('all are pulling', 20, status, (now) => now?.pullingNodes === 6 && now.desiredNodes === 6);
    await Promise.all([
      nodes.cordon(cordoned),
      nodes.cordon(returning),
      nodes.notReady(silent),
      nodes.delete(deleted),
      nodes.label(relabelled, { [POOL_LABEL]: 'other' }),
    ]);
    const reasons = ['Cordoned', 'NotReady', 'NodeAffinity'];
    await until('only one is left', 20, status, (now) => now?.desiredNodes === 1);
    const left = await status();
    assert.deepEqual(
      reasons.map((reason) => excluded(left, reason)),
      [2, 1, 1],
    );
    await nodes.uncordon(returning);
    const added = await nodes.add();
    await until(
      'two more are pulling, and the one that joined is not waited for',
      20,
      status,
      (now) => now?.pullingNodes === 3 && now.desiredNodes === 2 && excluded(now, 'JoinedLater') === 1,
    );
    assert.equal(excluded(await status(), 'Cordoned'), 1);
    assert.ok(isHeld(await web.read()));

    nodes.registry.answer(image, { hangs: true }, cordoned, silent, relabelled);
    nodes.registry.answer(image, { seconds: 0.5 });
    await web.released(20);
    const having = async () => nodes.having(image).sort();
    const all = [kept, returning, added].sort().join();
    await until('the one that joined has it as well', 5, having, (now) => now.join() === all);
    const end = await until('the end is told', 5, status, (now) => now?.readyNodes === 2);
    assert.equal(end?.desiredNodes, 2);
    await web.rolledOut(20);
  });

  test('have no eligible node [no-eligible-node]', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 2);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    // As if their pool had been scaled to zero.
    await Promise.all(nodes.names().map((name) => nodes.label(name, { [GROUP_LABEL]: 'other' })));

    await web.setImage(imageOf(shop));
    const asked = performance.now();
    await until('none is eligible', 20, statusOf(shop), (now) => excluded(now, 'NodeSelector') > 1);
    await web.released(NO_NODES_SECONDS + 15);
    const seconds = (performance.now() - asked) / 1000;
    assert.ok(seconds > NO_NODES_SECONDS - 1, `not before its time: ${seconds} s`);
    assert.equal((await told(shop, 'web', 'NoEligibleNodes')).type, 'Warning');
    assert.deepEqual(
      nodes.pulls.filter(({ preload }) => preload),
      [],
    );
  });

  test('are virtual, are left out by a set-based node selector, or have a startup taint [excluded-nodes]', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 5);
    const [plain = '', starting = '', booting = '', virtual = '', other = ''] = nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, { seconds: 0.5 });
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    const selector = `${POOL_LABEL} notin (other)`;
    await shop.kubectl('annotate', 'deployment', 'web', `pullgate.io/node-selector=${selector}`);
    await nodes.label(virtual, { type: 'virtual-kubelet' });
    await nodes.label(other, { [POOL_LABEL]: 'other' });
    const taint = 'startup-taint.cluster-autoscaler.kubernetes.io/e2e=true:NoSchedule';
    await shop.kubectl('taint', 'node', starting, taint);
    await shop.kubectl('taint', 'node', booting, 'example.com/booting=true:NoSchedule');

    await web.setImage(image);
    await web.released(20);
    assert.deepEqual(nodes.having(image).sort(), [plain, starting, booting].sort());
    const end = await until('the end is told', 5, statusOf(shop), (now) => now?.readyNodes === 3);
    assert.equal(excluded(end, 'VirtualNode'), 1);
    assert.equal(excluded(end, 'NodeAffinity'), 1);
    assert.equal(excluded(end, 'Taint'), 0);
  });

  test('have one node of ten that fails and one that hangs [bad-nodes]', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 10);
    const [failing = '', hanging = '', slow = '', ...others] = nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, { seconds: 1 });
    nodes.registry.answer(image, REFUSED, failing);
    nodes.registry.answer(image, { hangs: true }, hanging);
    // The deadline counts from the last node that became ready: without this one it would come first.
    nodes.registry.answer(image, { seconds: SLOW_SECONDS }, slow);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    const status = statusOf(shop);

    await web.setImage(image);
    const asked = performance.now();
    const secondsSince = () => (performance.now() - asked) / 1000;
    await until('the others go on', 20, status, (now) => now?.readyNodes === others.length);
    const late = await until(
      'the hanging one leaves the count',
      NODE_TIMEOUT_SECONDS + 10,
      status,
      (now) => excluded(now, 'PullTimedOut') === 1,
    );
    assert.ok(secondsSince() > NODE_TIMEOUT_SECONDS - 1, `not before its time: ${secondsSince()} s`);
    assert.equal(excluded(late, 'PullFailed'), 0);
    assert.equal(late?.desiredNodes, 9);
    assert.ok(isHeld(await web.read()), 'the failing one still counts');

    await web.released(GIVEN_UP_SECONDS + 20 - secondsSince());
    assert.ok(secondsSince() > GIVEN_UP_SECONDS - 1, `not before its time: ${secondsSince()} s`);
    const end = await until('the end is told', 5, status, (now) => excluded(now, 'PullFailed') === 1);
    assert.deepEqual([end?.readyNodes, end?.desiredNodes], [8, 8]);

    const attempts = nodes.pulls.filter((pull) => pull.node === failing && pull.preload);
    assert.equal(new Set(attempts.map(({ pod }) => pod)).size, 3, 'three attempts');
    const warnings = (await shop.events('web')).filter(({ type }) => type === 'Warning');
    const leaving = warnings.filter(({ note }) => note.includes('; this node no longer counts; '));
    assert.deepEqual(
      leaving.map(({ note }) => `${note.split(':')[0]} ${/\((\w+)\)/.exec(note)?.[1]}`).sort(),
      [`${failing} PullFailed`, `${hanging} PullTimedOut`],
    );
    assert.ok(!warnings.some(({ reason }) => reason === 'HoldDeadlineExceeded'));
    // Its pod may land on one of the two.
    nodes.registry.answer(image, { seconds: 0.5 }, failing, hanging);
    await web.rolledOut(30);
  });

  describe('reach the deadline with some nodes ready, or with none [deadline]', { concurrency: true }, () => {
    test('with some: released with a warning', async (t) => {
      const shop = await world.namespace(t);
      const nodes = await simulateNodes(t, world.api, 3);
      const [good = '', ...others] = nodes.names();
      const image = imageOf(shop);
      nodes.registry.answer(image, { seconds: 1 }, good);
      nodes.registry.answer(image, REFUSED, ...others);
      const web = await deploy(shop, 'web', { pod: nodes.pod });

      await web.setImage(image);
      const asked = performance.now();
      await web.released(DEADLINE_SECONDS + 15);
      const seconds = (performance.now() - asked) / 1000;
      assert.ok(seconds > DEADLINE_SECONDS - 1, `not before the deadline: ${seconds} s`);
      assert.equal((await told(shop, 'web', 'HoldDeadlineExceeded')).type, 'Warning');
      assert.deepEqual(nodes.having(image), [good]);
    });

    test('with none: kept, and kubectl rollout status fails', async (t) => {
      const shop = await world.namespace(t);
      const nodes = await simulateNodes(t, world.api, 3);
      const image = imageOf(shop);
      nodes.registry.answer(image, REFUSED);
      const web = await deploy(shop, 'web', { pod: nodes.pod });

      await web.setImage(image);
      const asked = performance.now();
      const waiting = await shop.tryKubectl(
        'rollout',
        'status',
        'deployment/web',
        `--timeout=${DEADLINE_SECONDS + 25}s`,
      );
      const seconds = (performance.now() - asked) / 1000;
      assert.equal(waiting.code, 1);
      assert.match(waiting.stderr, /exceeded its progress deadline/);
      assert.ok(seconds > DEADLINE_SECONDS - 1, `not before the deadline: ${seconds} s`);
      const stored = await web.read();
      assert.match(
        stored.status.progressing?.message ?? '',
        /the deadline has passed with 0 of 3 nodes ready/,
      );
      assert.ok(isHeld(stored));
      assert.equal(stored.status.availableReplicas, 1);
    });
  });

  test('have one tag that is another image on some nodes [diverged-tag]', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 5);
    const [first = '', second = '', ...others] = nodes.names();
    const image = imageOf(shop);
    const [old, moved] = [digestOf(`${image}, as it was`), digestOf(`${image}, as it is`)];
    nodes.registry.answer(image, { hangs: true });
    nodes.registry.answer(image, { seconds: 0.5, digest: old }, first, second);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    await web.setImage(image);
    const status = statusOf(shop);
    await until('two nodes have it', 20, status, (now) => now?.readyNodes === 2);
    // The tag is pushed again while the others are at it.
    nodes.registry.answer(image, { seconds: 0.5, digest: moved });

    await web.released(20);
    const { type, note } = await told(shop, 'web', 'ImageDiverged');
    assert.equal(type, 'Warning');
    assert.ok(note.includes(image), note);
    // Told as soon as it is so: what the others get, the status tells.
    assert.ok(note.includes(first) && note.includes(second), note);
    assert.ok(
      others.some((name) => note.includes(name)),
      note,
    );
    for (const digest of [old, moved]) assert.ok(note.includes(digest.slice(0, 19)), `${digest}: ${note}`);
    const end = await until('the status has all', 5, status, (now) => now?.readyNodes === 5);
    assert.deepEqual(end?.images[0]?.digestNodes, [
      { digest: moved, count: 3, nodes: others.toSorted() },
      { digest: old, count: 2, nodes: [first, second].toSorted() },
    ]);
  });
});
