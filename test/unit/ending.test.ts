import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImagePreload, ImagePreloadStatus } from '../../src/api/image-preload.ts';
import type { GateEvent } from '../../src/cluster/events.ts';
import { assess } from '../../src/preloads/assess/assess.ts';
import { createEnding } from '../../src/preloads/ending.ts';
import { PULLER_RESOURCES } from '../../src/preloads/pods/puller-resources.ts';
import { createPreloadPods } from '../../src/preloads/preload-pods.ts';
import { waitingStatus } from '../../src/preloads/preload-status.ts';
import { trimPreload } from '../../src/preloads/trimmed-preload.ts';
import { at, nodes, preload, puller, situation } from '../support/unit/preload-builder.ts';
import { KEY, preloadParts } from '../support/unit/preload-parts.ts';

function withEnding({ storedStatus }: { storedStatus?: ImagePreloadStatus } = {}) {
  const parts = preloadParts();
  const written: ImagePreloadStatus[] = [];
  const expired: (string | undefined)[] = [];
  const events: GateEvent[] = [];
  const forgotten: string[] = [];
  const preloadPods = createPreloadPods({
    ...parts,
    nodes: { get: () => undefined },
    modeOf: () => undefined,
    pullerResources: PULLER_RESOURCES,
    wake: () => undefined,
  });
  const ending = createEnding({
    ...{ ...parts, preloadPods },
    random: () => 0.5,
    writeEvent: (event) => void events.push(event),
    inputs: {
      nodesChanged: () => undefined,
      of: async (known) => situation({ preload: known, nodes: nodes(2), now: 60 }),
    },
    preloadWriter: {
      async writeStatus(_preload, before, status) {
        written.push(status);
        before.status = status;
        return undefined;
      },
      readStatus: async () => storedStatus,
      async expire(_preload, finished) {
        expired.push(finished);
        return 3600_000;
      },
    },
    served: { waiting: () => 100 },
    ownerOf: () => undefined,
    forget: (key) => void forgotten.push(key),
  });
  return { ...parts, ending, written, expired, events, forgotten };
}
const ready = (status: ImagePreloadStatus | undefined) => [status?.phase, status?.readyNodes];

test('one that waits for others says so once, and the pods that an earlier leader made for it go', async () => {
  const { ending, written, found, calls, over, podOf, stored } = withEnding();
  over();
  found.own.push(podOf(puller('n1').pulling()));
  assert.equal(await ending.wait(KEY, stored), undefined);
  assert.deepEqual(calls, ['delete n1']);
  const [status, ...others] = written;
  assert.ok(status);
  assert.deepEqual([status.conditions[0]?.reason, others], ['WaitingForOthers', []]);
  assert.equal(await ending.wait(KEY, { ...stored, status }), undefined);
  assert.equal(written.length, 1);
});

test('of a namespace in which thousands wait, 20 say so at once and then one in 100 ms', async () => {
  const { ending, written, clock, stored } = withEnding();
  for (let n = 0; n < 20; n += 1) assert.equal(await ending.wait(`shop/${n}`, stored), undefined);
  // The others come back spread over the time that it takes.
  assert.equal(await ending.wait('shop/20', stored), 1000 + 0.5 * 100 * 100);
  assert.equal(await ending.wait('market/1', { ...stored, namespace: 'market' }), undefined);
  clock.advance(100);
  assert.equal(await ending.wait('shop/20', stored), undefined);
  assert.equal(written.length, 22);
});

test('one that nothing needs any more gives up its places and pods, and its status says how far it came', async () => {
  const { ending, written, expired, calls, seen, over, stored, state } = withEnding();
  seen(puller('n1').pulled(5));
  state.assessment = assess(situation({ nodes: nodes(1), pods: [puller('n1').pulled(5)], now: 60 }));
  over();
  assert.equal(await ending.finish(KEY, stored, state, 'finished'), 3600_000);
  assert.deepEqual(calls, [`satisfied ${KEY}`, 'delete n1']);
  assert.deepEqual(written.map(ready), [['Finished', 1]]);
  const [{ finishedAt } = {}] = written;
  assert.ok(finishedAt);
  assert.deepEqual(expired, [finishedAt], 'its time to live begins');

  await ending.finish(KEY, stored, state, 'finished');
  assert.deepEqual([written.length, expired.length], [1, 2], 'the status is written once');
});

test('one that was superseded before it was looked at is assessed once more', async () => {
  const { ending, written, over, stored, state } = withEnding();
  over();
  await ending.finish(KEY, stored, state, 'superseded');
  assert.deepEqual(written.map(ready), [['Superseded', 0]]);
  assert.equal(written[0]?.desiredNodes, 2);
});

test('pods that could not be deleted are tried again a second later', async () => {
  const { ending, undeletable, seen, over, stored, state } = withEnding();
  seen(puller('n1').pulled(5));
  undeletable.add('n1');
  over();
  assert.equal(await ending.finish(KEY, stored, state, 'finished'), 1000);
});

test('nothing is written about one whose namespace has no mode', async () => {
  const { ending, written, expired, calls, seen, over, stored, state } = withEnding();
  seen(puller('n1').pulling());
  over();
  assert.equal(await ending.finish(KEY, stored, state, 'unserved'), undefined);
  assert.deepEqual([written, expired], [[], []]);
  assert.ok(calls.includes('delete n1'));
});

test('one that asks for more than is carried says why, also in an Event', async () => {
  const { ending, written, events, over, state } = withEnding();
  over();
  await ending.finish(KEY, preload({}, { refused: 'too many' }), state, 'superseded');
  assert.deepEqual(
    written[0]?.conditions.map(({ message }) => message),
    Array(4).fill('nothing is preloaded: too many'),
  );
  assert.deepEqual(
    events.map(({ reason }) => reason),
    ['LimitExceeded'],
  );
});

test('one that the cache keeps in part ends with the status that is stored', async () => {
  const storedStatus = { ...waitingStatus(preload(), at(60)), readyNodes: 7 };
  const { ending, written } = withEnding({ storedStatus });
  const partial: ImagePreload = trimPreload(preload({}, { status: storedStatus }));
  await ending.finish(KEY, partial, undefined, 'finished');
  assert.deepEqual(written.map(ready), [['Finished', 7]]);
});

test('one that has ended is forgotten when its pods are gone, because the cache keeps too little of it', async () => {
  const finishedAt = new Date(at(0)).toISOString();
  const { ending, forgotten, undeletable, seen, over, state } = withEnding();
  const ended = { ...waitingStatus(preload(), at(0)), finishedAt };
  const partial: ImagePreload = trimPreload(preload({}, { status: ended }));
  state.status = ended;
  seen(puller('n1').pulled(5));
  over();
  undeletable.add('n1');
  await ending.finish(KEY, partial, state, 'finished');
  assert.deepEqual(forgotten, []);
  undeletable.clear();
  await ending.finish(KEY, partial, state, 'finished');
  assert.deepEqual(forgotten, [KEY]);
});
