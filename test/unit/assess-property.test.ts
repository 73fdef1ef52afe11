import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CountOrPercent } from '../../src/api/count-or-percent.ts';
import { type Assessment, assess } from '../../src/preloads/assess/assess.ts';
import {
  at,
  DENIED,
  images,
  NOT_FOUND,
  nodes,
  preload,
  puller,
  REFUSED,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';
import {
  live,
  type Moment,
  type Pull,
  type SimulatedCluster,
  type SimulatedNode,
} from '../support/unit/simulated-cluster.ts';

const NODE_TIMEOUT = 100;
const DEADLINE = 600;
/** Long after anything could still come to a decision. */
const HORIZON = 6000;
const RUNS = { numRuns: 100 };

const anyCount = fc.oneof(
  fc.integer({ min: 1, max: 5 }),
  fc.constantFrom<CountOrPercent>('1%', '25%', '50%', '100%'),
);
const anyPreload = fc
  .record({ parallelism: anyCount, minNodes: anyCount, images: fc.constantFrom(['a:1'], ['a:1', 'b:1']) })
  .map((spec) =>
    preload({
      ...spec,
      images: images(...spec.images),
      nodeTimeoutSeconds: NODE_TIMEOUT,
      deadlineSeconds: DEADLINE,
    }),
  );

const seconds = fc.integer({ min: 1, max: 60 });
const works = seconds.map((after): Pull => ({ end: 'pulled', seconds: after }));
const fails = fc.record({
  end: fc.constantFrom('refused connection' as const, 'rejected' as const),
  seconds,
});
const hangs = fc.constant<Pull>({ end: 'never' });
const badPulls = fc.array(fc.oneof(fails, hangs), { minLength: 1, maxLength: 3 });
/** Works from the first, or after a few failures. */
const goodPulls = fc
  .tuple(fc.array(fails, { maxLength: 3 }), works)
  .map(([before, then]): Pull[] => [...before, then]);
const stays = { joins: fc.constant(0), leaves: fc.constant(Number.POSITIVE_INFINITY) };
const comesAndGoes = fc
  .tuple(fc.nat(300), fc.integer({ min: 1, max: 2000 }))
  .map(([joins, stay]) => ({ joins, leaves: joins + stay }));
const goodNode: fc.Arbitrary<SimulatedNode> = fc.record({ ...stays, pulls: goodPulls });
const badNode: fc.Arbitrary<SimulatedNode> = fc.record({ ...stays, pulls: badPulls });
const anyNode: fc.Arbitrary<SimulatedNode> = fc.oneof(
  goodNode,
  badNode,
  fc.tuple(comesAndGoes, fc.oneof(goodPulls, badPulls)).map(([times, pulls]) => ({ ...times, pulls })),
);
const anyUntil = fc.constantFrom('not found' as const, 'denied' as const);

function isLetGo({ outcome }: Assessment): boolean {
  return outcome.kind === 'release';
}

function isRefused({ outcome }: Assessment): boolean {
  return outcome.kind === 'fail' && outcome.reason !== 'DeadlineExceeded';
}

/** What holds at every moment, whatever happens. */
function check({
  assessment,
  eligible,
  pullingNodes,
  limit,
  moving,
  refused,
  complete,
  seconds: now,
}: Moment): void {
  const { outcome, progress, plan } = assessment;
  const { ready, required, newlyReady, desired, excluded } = progress;
  const { wakeAt } = plan;
  assert.deepEqual(new Set(newlyReady), complete);
  if (outcome.reason === 'Ready') assert.ok(complete.size >= Math.max(1, required));
  if (outcome.reason === 'DeadlineExceeded') assert.equal(outcome.kind, ready > 0 ? 'release' : 'fail');
  if (outcome.reason === 'NoEligibleNodes') assert.equal(eligible, 0);
  assert.ok(ready <= desired && required <= desired && desired <= eligible);
  const gone = excluded.filter(({ reason }) => reason.startsWith('Pull'));
  assert.ok(complete.size > 0 || gone.length === 0, 'nobody leaves while no node is ready');
  if (wakeAt !== undefined) assert.ok(wakeAt > at(now));
  if (outcome.kind === 'wait') assert.ok(wakeAt !== undefined || moving, 'stuck');
  // What a registry refuses is asked of three nodes, whatever the parallelism.
  const probes = refused ? 3 : 0;
  // A percentage of nodes that have left may be less than what runs already.
  if (eligible === RESIDENTS)
    assert.ok(pullingNodes <= limit + probes, `${pullingNodes} pull, limit ${limit}`);
}
/** In properties about parallelism nobody comes or goes. */
const RESIDENTS = 6;

function outcomeOf(cluster: SimulatedCluster): { last: Moment; moments: Moment[] } {
  const moments: Moment[] = [];
  for (const moment of live(cluster, HORIZON)) {
    check(moment);
    moments.push(moment);
    if (isLetGo(moment.assessment)) break;
    assert.ok(moments.length < 5000, 'comes to rest');
  }
  const last = moments.at(-1);
  assert.ok(last);
  return { last, moments };
}

const cluster = (
  nodesOf: fc.Arbitrary<SimulatedNode[]>,
  published: fc.Arbitrary<number> = fc.constant(0),
): fc.Arbitrary<SimulatedCluster> =>
  fc.record({ preload: anyPreload, nodes: nodesOf, published, until: anyUntil });

test('whatever nodes do, nothing gets stuck, and ready means ready', () => {
  const any = cluster(fc.array(anyNode, { maxLength: 6 }), fc.constantFrom(0, 0, 40, 1000, 50_000));
  fc.assert(
    fc.property(any, (given) => {
      outcomeOf(given);
    }),
    RUNS,
  );
});

test('no more nodes pull than parallelism allows', () => {
  const node = fc.oneof(goodNode, badNode);
  const any = cluster(fc.array(node, { minLength: RESIDENTS, maxLength: RESIDENTS }));
  fc.assert(
    fc.property(any, (given) => {
      outcomeOf(given);
    }),
    RUNS,
  );
});

test('an image that one node can pull is let go in the end, however many others cannot', () => {
  const any = cluster(
    fc.tuple(goodNode, fc.array(anyNode, { maxLength: 5 }), fc.nat(5)).map(([good, others, index]) => {
      const all = [...others];
      all.splice(index, 0, good);
      return all;
    }),
  );
  fc.assert(
    fc.property(any, (given) => {
      assert.ok(isLetGo(outcomeOf(given).last.assessment));
    }),
    RUNS,
  );
});

test('an image that no node can pull is never let go', () => {
  const any = cluster(fc.array(badNode, { minLength: 1, maxLength: 6 }));
  fc.assert(
    fc.property(any, (given) => {
      assert.ok(!isLetGo(outcomeOf(given).last.assessment));
    }),
    RUNS,
  );
});

test('a refused image has failed after one wave, and only probes go on', () => {
  const quick = fc.record({ ...stays, pulls: works.map((pull) => [pull]) });
  const any = cluster(
    fc.array(quick, { minLength: 1, maxLength: 30 }),
    fc.constant(Number.POSITIVE_INFINITY),
  );
  fc.assert(
    fc.property(any, (given) => {
      const moments: Moment[] = [];
      for (const moment of live(given, 1000)) {
        check(moment);
        moments.push(moment);
      }
      const first = moments.find(({ assessment }) => isRefused(assessment));
      const count = given.preload.spec.images.length;
      assert.ok(first);
      // Three nodes are asked whatever the parallelism, each twice at first. While the slowest one answers, others may be asked again.
      assert.ok(first.started <= 4 * 2 * (first.limit + 3) * count);
      assert.ok(first.seconds <= (60 + 5) * 6);
      for (const later of moments.slice(moments.indexOf(first))) {
        assert.ok(isRefused(later.assessment));
      }
      // In 1,000 s a back-off of 30 s that doubles up to 300 s has room for six. A node that is asked for the first time is asked twice.
      const last = moments.at(-1);
      assert.ok(last && last.started - first.started <= 7 * 2 * count);
    }),
    RUNS,
  );
});

test('a tag that appears late resumes by itself', () => {
  const quick = fc.record({ ...stays, pulls: works.map((pull) => [pull]) });
  const any = cluster(fc.array(quick, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 3000 }));
  fc.assert(
    fc.property(any, (given) => {
      const { last } = outcomeOf(given);
      assert.equal(last.assessment.outcome.reason, 'Ready');
      assert.ok(last.seconds <= given.published + 1000, `${last.seconds} s`);
    }),
    RUNS,
  );
});

const anyPod = fc
  .record({
    node: fc.constantFrom('n1', 'n2', 'n3'),
    image: fc.constantFrom('a:1', 'b:1'),
    attempt: fc.integer({ min: 1, max: 4 }),
    made: fc.nat(400),
    state: fc.constantFrom('new', 'pulling', 'pulled', REFUSED, NOT_FOUND, DENIED),
    first: fc.nat(100),
  })
  .map(({ node, image, attempt, made, state, first }) => {
    const pod = puller(node).attempt(attempt, made).image(image).firstAt(Math.min(first, made));
    if (state === 'new') return pod;
    if (state === 'pulling') return pod.pulling();
    return state === 'pulled' ? pod.pulled(made + 5) : pod.failing(state);
  });
const anySituation: fc.Arbitrary<Situation> = fc.record({
  preload: anyPreload,
  nodes: fc.nat(3).map(nodes),
  pods: fc.array(anyPod, { maxLength: 8 }),
  now: fc.nat(1000),
  noNodesSince: fc.nat(10),
});

test('until it asks to be woken, time alone changes nothing', () => {
  /** What follows from an assessment. A pull that is wanted has its start from the time of the look. */
  const consequence = ({ outcome, progress, plan: { wanted, remove, creating } }: Assessment) => ({
    outcome,
    desired: progress.desired,
    excluded: progress.excluded,
    wanted: wanted.map(({ node, image, attempt }) => `${node} ${image.image} ${attempt}`),
    remove,
    creating,
  });
  fc.assert(
    fc.property(anySituation, fc.nat(1000), (given, later) => {
      const now = assess(situation(given));
      const start = given.now ?? 0;
      const { wakeAt } = now.plan;
      const end = wakeAt === undefined ? start + later : (wakeAt - at(0)) / 1000 - 0.001;
      const then = assess(situation({ ...given, now: end }));
      assert.deepEqual(consequence(then), consequence(now));
    }),
    { numRuns: 500 },
  );
});

test('the same is decided each time', () => {
  fc.assert(
    fc.property(anySituation, (given) => {
      assert.deepEqual(assess(situation(given)), assess(situation(given)));
    }),
    RUNS,
  );
});
