import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImagePreload, ImagePreloadStatus } from '../../src/api/image-preload.ts';
import type { Activity } from '../../src/preloads/activity.ts';
import { assess } from '../../src/preloads/assess/assess.ts';
import { endedStatus, noNodesSince, preloadStatus } from '../../src/preloads/preload-status.ts';
import {
  DIGEST,
  IMAGE,
  images,
  nodes,
  preload,
  puller,
  REFUSED,
  refusedOn,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';

/** The status at that moment, after the one before. */
function statusOf(
  given: Situation,
  { before, activity = 'holding' }: { before?: ImagePreloadStatus; activity?: Activity } = {},
): ImagePreloadStatus {
  const itself: ImagePreload = { ...(given.preload ?? preload()), ...(before && { status: before }) };
  const input = situation({ ...given, preload: itself });
  return preloadStatus({ preload: itself, assessment: assess(input), activity, now: input.now });
}
const condition = (status: ImagePreloadStatus, type: string) => {
  const found = status.conditions.find((one) => one.type === type);
  assert.ok(found);
  return found;
};
const brief = (status: ImagePreloadStatus) => [
  status.phase,
  ...['Ready', 'Progressing', 'Degraded'].map((type) => condition(status, type).status),
  condition(status, 'Ready').reason,
];

const pulling = { nodes: nodes(2), pods: [puller('n1').pulled(5), puller('n2').pulling()], now: 6 };
const ready = { nodes: nodes(2), pods: [puller('n1').pulled(5), puller('n2').pulled(9)], now: 9 };

const table: readonly (readonly [string, Situation, readonly string[]])[] = [
  ['nothing has begun', { nodes: nodes(2) }, ['Pending', 'False', 'True', 'False', 'Pulling']],
  ['some pull', pulling, ['Preloading', 'False', 'True', 'False', 'Pulling']],
  ['all are ready', ready, ['Ready', 'True', 'False', 'False', 'AllNodesReady']],
  [
    'enough are ready',
    { ...pulling, preload: preload({ minNodes: 1 }) },
    ['Ready', 'True', 'False', 'False', 'EnoughNodesReady'],
  ],
  [
    'a registry has refused it',
    { nodes: nodes(2), pods: refusedOn(['n1', 'n2']) },
    ['Failed', 'False', 'True', 'True', 'NotFound'],
  ],
  [
    'a pull fails in passing',
    { nodes: nodes(2), pods: [puller('n1').failing(REFUSED)] },
    ['Preloading', 'False', 'True', 'True', 'ConnectionRefused'],
  ],
  [
    'the deadline has passed',
    { ...pulling, now: 3605 + 900 },
    ['Failed', 'False', 'True', 'False', 'DeadlineExceeded'],
  ],
  ['no node is eligible', { nodes: [] }, ['Pending', 'False', 'True', 'False', 'NoEligibleNodes']],
];
for (const [when, given, want] of table) {
  test(`phase, conditions and reason when ${when}`, () => {
    const late = when === 'the deadline has passed' ? preload({ nodeTimeoutSeconds: 86_400 }) : undefined;
    assert.deepEqual(brief(statusOf(late ? { ...given, preload: late } : given)), want);
  });
}

test('it counts nodes and images, and has one field for each printed column', () => {
  const status = statusOf(ready);
  assert.deepEqual(
    [status.ready, status.imageNames, status.desiredNodes, status.readyNodes, status.failedNodes],
    ['2/2', IMAGE, 2, 2, 0],
  );
  assert.deepEqual(status.images[0]?.digests, [DIGEST]);
  assert.equal(status.startedAt, '2026-01-01T00:00:09Z');
});

test("a failure is told with its node and the registry's words", () => {
  const status = statusOf({ nodes: nodes(2), pods: refusedOn(['n1', 'n2']) });
  const [failure] = status.failures;
  assert.deepEqual([failure?.node, failure?.image, failure?.reason], ['n1', IMAGE, 'NotFound']);
  assert.match(failure?.message ?? '', /not found/);
  assert.match(condition(status, 'Degraded').message, /^n1: .*not found/);
});

const ready0 = '0 of 2 nodes have every image';
const words: readonly (readonly [string, Situation, string])[] = [
  [
    'a registry has refused it',
    { nodes: nodes(2), pods: refusedOn(['n1', 'n2']) },
    `${ready0}; n1: ${IMAGE}: not found`,
  ],
  [
    'a pull fails in passing',
    { nodes: nodes(2), pods: [puller('n1').failing(REFUSED)] },
    `${ready0}, 0 pulling; n1: ${IMAGE}: ${REFUSED}`,
  ],
  [
    'the deadline has passed',
    { nodes: nodes(2), pods: [puller('n1').failing(REFUSED)], now: 3600 },
    `the deadline has passed: ${ready0}; n1: ${IMAGE}: ${REFUSED}`,
  ],
  [
    'no node is eligible',
    { nodes: [], excluded: [{ reason: 'Cordoned', count: 2, node: 'n1' }] },
    'no node is eligible: 2 Cordoned (such as n1)',
  ],
];
for (const [when, given, want] of words) {
  test(`the message has the count, a node, the image and the words when ${when}`, () => {
    assert.equal(condition(statusOf(given), 'Ready').message, want);
  });
}

test('a node that hangs is counted as failing, with its reason', () => {
  const status = statusOf({ nodes: nodes(2), pods: [puller('n1').pulling()], now: 900 });
  assert.deepEqual([status.failedNodes, condition(status, 'Ready').reason], [1, 'Timeout']);
});

test('of the nodes that are left out the status has the reason and the count', () => {
  const excluded = [{ reason: 'Cordoned', count: 2, node: 'n7' }] as const;
  assert.deepEqual(statusOf({ ...ready, excluded }).excluded, [{ reason: 'Cordoned', count: 2 }]);
});

test('an image that differs between nodes is told with the nodes, and degrades unless a pull is failing', () => {
  const pods = [puller('n1').pulled(5), puller('n2').pulled(9, `sha256:${'cd'.repeat(32)}`)];
  const status = statusOf({ nodes: nodes(2), pods, now: 9 });
  assert.deepEqual(
    status.images[0]?.digestNodes?.map(({ count, nodes: names }) => [count, names]),
    [
      [1, ['n1']],
      [1, ['n2']],
    ],
  );
  assert.deepEqual(brief(status), ['Ready', 'True', 'False', 'True', 'AllNodesReady']);
  assert.equal(condition(status, 'Degraded').reason, 'ImageDiverged');
  assert.match(
    condition(status, 'Degraded').message,
    /sha256:abababababab on n1; sha256:cdcdcdcdcdcd on n2$/,
  );
  const failing = statusOf({ nodes: nodes(3), pods: [...pods, puller('n3').failing(REFUSED)], now: 9 });
  assert.equal(condition(failing, 'Degraded').reason, 'ConnectionRefused');
});

test('lists are cut where the API server would refuse them, counts are whole', () => {
  const many = nodes(50);
  const status = statusOf({ nodes: many, pods: many.map(({ name }) => puller(name).failing(REFUSED)) });
  assert.deepEqual([status.failures.length, status.failedNodes], [20, 50]);
  const digest = (index: number) => `sha256:${String(index).padStart(2, '0').repeat(32)}`;
  const moving = statusOf({
    nodes: many,
    pods: many.map(({ name }, index) => puller(name).pulled(5, digest(index % 12))),
    now: 9,
  });
  const [image] = moving.images;
  assert.deepEqual([image?.digests.length, image?.digestNodes?.length, image?.pulled], [10, 10, 50]);
  assert.deepEqual([image?.digestNodes?.[0]?.count, image?.digestNodes?.[0]?.nodes.length], [5, 3]);
  const names = statusOf({ nodes: nodes(1), preload: preload({ images: images('a'.repeat(300), 'b') }) });
  assert.equal(names.imageNames.length, 256);
  assert.match(names.imageNames, /\.\.\.$/);
});

test('what does not change is equal, later too: there is nothing to write', () => {
  const failing = { nodes: nodes(2), pods: [puller('n1').failing(REFUSED)] };
  const all: Situation[] = [pulling, ready, { nodes: [] }, failing];
  for (const given of all) {
    const before = statusOf(given);
    const noNodes = noNodesSince({ ...preload(), status: before });
    assert.deepEqual(
      statusOf({ ...given, now: (given.now ?? 0) + 20, ...(noNodes && { noNodesSince: 0 }) }, { before }),
      before,
    );
  }
});

test("a condition's time is when its status changed", () => {
  const before = statusOf(pulling);
  const after = statusOf(ready, { before });
  assert.equal(condition(before, 'Ready').lastTransitionTime, '2026-01-01T00:00:06Z');
  assert.equal(condition(after, 'Ready').lastTransitionTime, '2026-01-01T00:00:09Z');
  assert.equal(condition(after, 'Degraded').lastTransitionTime, '2026-01-01T00:00:06Z');
  assert.equal(after.startedAt, before.startedAt);
});

test('since when no node is eligible survives a restart, and ends with a node', () => {
  const empty = statusOf({ nodes: [], now: 10 });
  assert.equal(noNodesSince({ ...preload(), status: empty }), Date.parse('2026-01-01T00:00:10Z'));
  const still = statusOf({ nodes: [], now: 70, noNodesSince: 10 }, { before: empty });
  assert.equal(noNodesSince({ ...preload(), status: still }), Date.parse('2026-01-01T00:00:10Z'));
  const back = statusOf({ ...pulling, now: 80 }, { before: still });
  assert.equal(noNodesSince({ ...preload(), status: back }), undefined);
  assert.equal(noNodesSince(preload()), undefined);
});

const byHand = { activity: 'standalone' } as const;
const answers: readonly (readonly [string, Situation, boolean])[] = [
  ['pulling goes on', pulling, false],
  ['it is ready', ready, true],
  ['a registry has refused it', { nodes: nodes(1), pods: refusedOn(['n1']), now: 60 }, false],
  ['a registry refuses it until the deadline', { nodes: nodes(1), pods: refusedOn(['n1']), now: 3600 }, true],
  ['no node is eligible yet', { nodes: [], now: 60, noNodesSince: 0 }, false],
  ['no node is eligible for 2 minutes', { nodes: [], now: 120, noNodesSince: 0 }, true],
];
for (const [when, given, want] of answers) {
  test(`one made by hand has ${want ? '' : 'not '}finished when ${when}`, () => {
    assert.equal(statusOf(given, byHand).finishedAt !== undefined, want);
  });
}

test('one that a rollout waits for does not finish by itself, and has not finished if it is taken up again', () => {
  assert.equal(statusOf(ready).finishedAt, undefined);
  const before = endedStatus(statusOf(ready), 'finished', Date.parse('2026-01-01T01:00:00Z'));
  assert.equal(before.finishedAt, '2026-01-01T01:00:00Z');
  assert.equal(statusOf(ready, { before }).finishedAt, undefined);
});

test('what is left in the end tells how far it came', () => {
  const end = (given: Situation, activity: Activity) =>
    endedStatus(statusOf(given), activity, Date.parse('2026-01-01T01:00:00Z'));
  assert.equal(end(ready, 'finished').phase, 'Finished');
  assert.equal(end(pulling, 'finished').phase, 'Finished', 'let go at the deadline, say');
  assert.equal(end(pulling, 'superseded').phase, 'Superseded');
  assert.equal(end(ready, 'superseded').phase, 'Finished', 'the next rollout came quickly');
  const last = end(pulling, 'superseded');
  assert.deepEqual([last.ready, last.pullingNodes], ['1/2', 0]);
  assert.deepEqual(
    [condition(last, 'Progressing').status, condition(last, 'Progressing').lastTransitionTime],
    ['False', '2026-01-01T01:00:00Z'],
  );
  assert.deepEqual(endedStatus(last, 'superseded', Date.parse('2026-01-01T02:00:00Z')), last);
});

test('one that ends while nodes still pull does not say that they do', () => {
  const ended = (given: Situation) =>
    endedStatus(statusOf(given), 'superseded', Date.parse('2026-01-01T01:00:00Z')).conditions.find(
      ({ type }) => type === 'Ready',
    );
  const half = [puller('n1').pulled(5), puller('n2').pulling()];
  assert.deepEqual(
    [ended({ nodes: nodes(2), pods: half })?.reason, ended({ nodes: nodes(2), pods: half })?.message],
    ['Superseded', '1 of 2 nodes had every image when the preload was no longer needed'],
  );
  const failing = ended({ nodes: nodes(2), pods: [puller('n1').failing(REFUSED), puller('n2').pulling()] });
  assert.equal(failing?.reason, 'ConnectionRefused');
  assert.match(
    failing?.message ?? '',
    /^0 of 2 nodes had every image when .* no longer needed; n1: .*refused$/,
  );
});
