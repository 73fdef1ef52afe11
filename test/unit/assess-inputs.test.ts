import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImagePreload } from '../../src/api/image-preload.ts';
import { assess } from '../../src/preloads/assess/assess.ts';
import { PULL_TIMES } from '../../src/preloads/assess/pull-times.ts';
import { createAssessInputs } from '../../src/preloads/assess-inputs.ts';
import { podKey } from '../../src/preloads/pods/pod-index.ts';
import { preloadStatus } from '../../src/preloads/preload-status.ts';
import {
  at,
  IMAGE,
  images,
  node,
  nodes,
  preload,
  puller,
  refusedOn,
  situation,
} from '../support/unit/preload-builder.ts';
import { preloadParts } from '../support/unit/preload-parts.ts';

/** The inputs of one preload, and what was asked about its workload. */
function withInputs(stored: ImagePreload = preload(), { handler = '', maxConcurrentPulls = 200 } = {}) {
  const { pods, clock, state, pull } = preloadParts({ stored });
  const cluster = new Map(nodes(3).map((one) => [one.name, one]));
  const asked = new Set<string>();
  const inputs = createAssessInputs({
    ...{ clock, pods, maxConcurrentPulls, pullTimes: PULL_TIMES },
    awaitedOf: () => undefined,
    nodes: { values: () => cluster.values() },
    troubles: { of: () => undefined, read: () => undefined },
    lookups: {
      async accountHasSecret() {
        asked.add('account');
        return true;
      },
      async nodesOf() {
        asked.add('nodes');
        return new Set(['n3']);
      },
      rulesOf: async () => ({ countsPods: false, resources: [] }),
      handlerOf: async () => handler,
    },
  });
  return {
    ...{ inputs, pods, cluster, asked, state, pull },
    of: (activity: 'holding' | 'rolling' = 'holding') => inputs.of(stored, state, activity, undefined),
  };
}

/** A status that records that n1 was refused the image. */
const failedStatus = () => {
  const assessment = assess(situation({ nodes: nodes(3), pods: refusedOn(['n1', 'n2', 'n3']), now: 5 }));
  return preloadStatus({ preload: preload(), assessment, activity: 'holding', now: at(5) });
};

test('nodes are looked through again only when one of them has changed', async () => {
  const { of, inputs, cluster } = withInputs();
  const names = async () => (await of()).eligible.map(({ name }) => name);
  assert.deepEqual(await names(), ['n1', 'n2', 'n3']);
  cluster.delete('n2');
  assert.deepEqual(await names(), ['n1', 'n2', 'n3']);
  inputs.nodesChanged();
  assert.deepEqual(await names(), ['n1', 'n3']);
});

test('with policy Always the pull of another preload counts only if it began later, because tags move', async () => {
  for (const [imagePullPolicy, createdAt, counts] of [
    ['IfNotPresent', -60, true],
    ['Always', -60, false],
    ['Always', 60, true],
  ] as const) {
    const image = { image: IMAGE, imagePullPolicy };
    const { of, pods, pull } = withInputs(preload({ images: [image] }));
    const shared = { pull: pull.pull, preloadUid: 'uid-of-another', createdAt: at(createdAt) };
    const { pod } = puller('n1').with(shared);
    pods.observe(podKey(pod), pod);
    assert.deepEqual(
      (await of()).podsOf(image)('n1'),
      counts ? [pod] : [],
      `${imagePullPolicy} ${createdAt}`,
    );
  }
});

test('after a restart the failures that the status records are known', async () => {
  const { of, state } = withInputs(preload({}, { status: failedStatus() }));
  const { knownFailure } = await of();
  assert.equal(knownFailure(IMAGE, 'n1')?.reason, 'NotFound');
  assert.equal(knownFailure(IMAGE, 'n4'), undefined);
  assert.equal(knownFailure('another:1', 'n1'), undefined);
  assert.equal(state.assessment, undefined);
});

test('whether the pods pull with a secret is asked only where a node says that it has the image', async () => {
  const { of, inputs, cluster, asked } = withInputs();
  assert.equal((await of()).withSecret, false);
  assert.deepEqual([...asked], []);
  cluster.set('n2', node('n2', { images: new Set([IMAGE]) }));
  inputs.nodesChanged();
  assert.equal((await of('rolling')).withSecret, false, 'nobody waits any more');
  assert.deepEqual([...asked], []);
  assert.equal((await of()).withSecret, true);
  assert.deepEqual([...asked], ['account']);
});

test('a preload with a pull secret of its own needs no answer about its account', async () => {
  const { of, asked } = withInputs(preload({ imagePullSecrets: [{ name: 'registry' }] }));
  assert.equal((await of()).withSecret, true);
  assert.deepEqual([...asked], []);
});

test('the nodes of the running pods come first, where not all nodes can be asked at once', async () => {
  const all = withInputs();
  assert.deepEqual(
    [(await all.of()).preferred, (await all.of()).beginAt, [...all.asked]],
    [new Set(), 0, []],
  );
  for (const some of [
    withInputs(preload({ parallelism: 2 })),
    withInputs(preload(), { maxConcurrentPulls: 2 }),
  ]) {
    const { preferred, beginAt } = await some.of();
    assert.deepEqual([preferred, beginAt], [new Set(['n3']), some.state.beginAt]);
  }
});

test('an image that a puller pod would run is not preloaded', async () => {
  const scheduling = { runtimeClassName: 'fast' };
  assert.equal((await withInputs(preload({ scheduling })).of()).notPreloadable, undefined);
  const { notPreloadable } = await withInputs(preload({ scheduling }), { handler: 'spin' }).of();
  assert.match(notPreloadable ?? '', /^the runtime class fast runs WebAssembly/);
  assert.equal((await withInputs(preload({ images: images('a:1') })).of()).notPreloadable, undefined);
});
