import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CountOrPercent } from '../../src/api/count-or-percent.ts';
import { assess } from '../../src/preloads/assess/assess.ts';
import type { ExclusionReason } from '../../src/preloads/nodes/eligible-nodes.ts';
import { preloadStatus } from '../../src/preloads/preload-status.ts';
import {
  at,
  BACK_OFF,
  DENIED,
  DIGEST,
  IMAGE,
  images,
  lookAt,
  NOT_FOUND,
  node,
  nodes,
  preload,
  puller,
  REFUSED,
  refusedOn,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';

const look = (given: Situation) => lookAt(situation(given));
type Look = ReturnType<typeof look>;
const statusAfter = (given: Situation) => {
  const input = situation(given);
  return preloadStatus({
    preload: input.preload,
    assessment: assess(input),
    activity: 'holding',
    now: input.now,
  });
};
const wantedNodes = ({ wanted }: Look) => wanted.map((pull) => pull.node);
const outcomeOf = (given: Situation) => look(given).outcome;
/** Failed three times, the last time made at 90 s. */
const failedThrice = (name: string) => puller(name).attempt(3, 90).failing(REFUSED);

describe('waves', () => {
  const cases: { parallelism?: CountOrPercent; total: number; want: number }[] = [
    { parallelism: 1, total: 10, want: 1 },
    { parallelism: 4, total: 10, want: 4 },
    { parallelism: 40, total: 10, want: 10 },
    { parallelism: '25%', total: 10, want: 3 },
    { parallelism: '100%', total: 10, want: 10 },
    { parallelism: '1%', total: 10, want: 1 },
    { total: 10, want: 10 },
    { total: 100, want: 20 },
    { total: 300, want: 30 },
  ];
  for (const { parallelism, total, want } of cases) {
    test(`with parallelism ${parallelism ?? 'by default'}, ${want} of ${total} nodes begin`, () => {
      const spec = parallelism === undefined ? {} : { parallelism };
      const { wanted, outcome } = look({ preload: preload(spec), nodes: nodes(total) });
      assert.equal(wanted.length, want);
      assert.equal(outcome, 'wait Preloading');
      for (const pull of wanted)
        assert.deepEqual([pull.attempt, pull.firstAttemptAt, pull.image.image], [1, at(0), IMAGE]);
    });
  }

  test('nodes that run the pods of the workload come first', () => {
    const given = { preload: preload({ parallelism: 2 }), nodes: nodes(5), preferred: ['n5', 'n3'] };
    assert.deepEqual(wantedNodes(look(given)), ['n3', 'n5']);
  });

  test('the next node begins when one is ready, not while it pulls', () => {
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(3) };
    assert.deepEqual(wantedNodes(look({ ...given, pods: [puller('n1').pulling()] })), []);
    assert.deepEqual(wantedNodes(look({ ...given, pods: [puller('n1').pulled(5)], now: 5 })), ['n2']);
  });

  test('all images of a node are pulled at the same time, and take one place', () => {
    const given = { preload: preload({ parallelism: 1, images: images('a:1', 'b:1') }), nodes: nodes(2) };
    assert.deepEqual(
      look(given).wanted.map((pull) => `${pull.node} ${pull.image.image}`),
      ['n1 a:1', 'n1 b:1'],
    );
    const half = look({ ...given, pods: [puller('n1').image('a:1').pulling()] });
    assert.deepEqual(
      half.wanted.map((pull) => `${pull.node} ${pull.image.image}`),
      ['n1 b:1'],
    );
  });

  test('a retry needs a place as well, and comes after the nodes that have not been tried', () => {
    const pods = [puller('n1').pulled(3), puller('n2').failing(REFUSED)];
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(3), pods, now: 31 };
    assert.deepEqual(wantedNodes(look(given)), ['n3']);
    const later = look({ ...given, pods: [...pods, puller('n3').pulling()] });
    assert.deepEqual(wantedNodes(later), []);
    const last = look({ ...given, pods: [...pods, puller('n3').pulled(30)] });
    assert.deepEqual(
      last.wanted.map((pull) => [pull.node, pull.attempt, pull.firstAttemptAt]),
      [['n2', 2, at(0)]],
    );
  });
});

describe('ready', () => {
  const cases: { minNodes: CountOrPercent; ready: number; want: 'release Ready' | 'wait Preloading' }[] = [
    { minNodes: '100%', ready: 4, want: 'release Ready' },
    { minNodes: '100%', ready: 3, want: 'wait Preloading' },
    { minNodes: '50%', ready: 2, want: 'release Ready' },
    { minNodes: '50%', ready: 1, want: 'wait Preloading' },
    { minNodes: 1, ready: 1, want: 'release Ready' },
    { minNodes: 1, ready: 0, want: 'wait Preloading' },
    { minNodes: 99, ready: 3, want: 'wait Preloading' },
    { minNodes: 99, ready: 4, want: 'release Ready' },
  ];
  for (const { minNodes, ready, want } of cases) {
    test(`${ready} of 4 nodes with minNodes ${minNodes}: ${want}`, () => {
      const pods = nodes(4).map(({ name }, index) =>
        index < ready ? puller(name).pulled(5) : puller(name).pulling(),
      );
      assert.equal(outcomeOf({ preload: preload({ minNodes }), nodes: nodes(4), pods }), want);
    });
  }

  test('with enough nodes ready the others go on', () => {
    const given = { preload: preload({ minNodes: 1, parallelism: 1 }), nodes: nodes(3) };
    const { outcome, wanted } = look({ ...given, pods: [puller('n1').pulled(5)] });
    assert.equal(outcome, 'release Ready');
    assert.equal(wanted.length, 1);
  });

  test('a node needs every image', () => {
    const given = { preload: preload({ images: images('a:1', 'b:1') }), nodes: nodes(1) };
    const a = puller('n1').image('a:1').pulled(5);
    assert.equal(outcomeOf({ ...given, pods: [a, puller('n1').image('b:1').pulling()] }), 'wait Preloading');
    assert.equal(outcomeOf({ ...given, pods: [a, puller('n1').image('b:1').pulled(9)] }), 'release Ready');
  });

  test('a node that joins has to become ready, one that leaves is not waited for', () => {
    const pods = [puller('n1').pulled(5), puller('n2').pulled(6)];
    assert.equal(outcomeOf({ nodes: nodes(2), pods }), 'release Ready');
    const joined = look({ nodes: nodes(3), pods });
    assert.equal(joined.outcome, 'wait Preloading');
    assert.deepEqual(wantedNodes(joined), ['n3']);
    assert.equal(
      outcomeOf({ nodes: nodes(1), pods: [...pods, puller('n3').failing(NOT_FOUND)] }),
      'release Ready',
    );
  });
});

describe('an image that a node lists', () => {
  const there = [node('n1', { images: new Set(['registry.test/app:2']) })];
  test('counts at once', () => {
    const { outcome, images: counts, wanted } = look({ nodes: there });
    assert.equal(outcome, 'release Ready');
    assert.deepEqual(wanted, []);
    assert.deepEqual([counts[0]?.alreadyPresent, counts[0]?.pulled], [1, 0]);
  });
  test('is known by its full name, too', () => {
    const short = [node('n1', { images: new Set(['docker.io/library/busybox:latest']) })];
    assert.equal(
      outcomeOf({ preload: preload({ images: images('busybox') }), nodes: short }),
      'release Ready',
    );
  });
  test('is not taken for one whose name it begins', () => {
    const longer = [node('n1', { images: new Set(['registry.test/app:2.1']) })];
    assert.equal(outcomeOf({ nodes: longer }), 'wait Preloading');
  });
  test('proves nothing with a pull secret', () => {
    assert.deepEqual(wantedNodes(look({ nodes: there, withSecret: true })), ['n1']);
  });
  test('proves nothing with policy Always', () => {
    const always = preload({ images: [{ image: IMAGE, imagePullPolicy: 'Always' }] });
    assert.deepEqual(wantedNodes(look({ preload: always, nodes: there })), ['n1']);
  });
});

describe('a definitive answer', () => {
  const all = (count: number) => nodes(count).map(({ name }) => name);
  const arch = (name: string, value: string) => node(name, { labels: { 'kubernetes.io/arch': value } });

  test('of every node that was asked stops the fan-out', () => {
    const given = { preload: preload({ parallelism: 3 }), nodes: nodes(5) };
    const { outcome, wanted, failure } = look({ ...given, pods: refusedOn(['n1', 'n2', 'n3']), now: 6 });
    assert.deepEqual(wanted, []);
    assert.equal(outcome, 'fail NotFound');
    assert.deepEqual([failure?.node, failure?.image, failure?.reason], ['n1', IMAGE, 'NotFound']);
    assert.match(failure?.message ?? '', /not found/);
  });

  test('of one node is asked of two others at once, whatever the parallelism', () => {
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(9) };
    for (const message of [NOT_FOUND, DENIED]) {
      const { outcome, wanted } = look({ ...given, pods: [puller('n1').failing(message)], now: 1 });
      assert.deepEqual(
        wanted.map((pull) => pull.node),
        ['n2', 'n3'],
      );
      assert.equal(outcome, 'wait Preloading');
    }
  });

  test('is not final while another node that was asked is still pulling', () => {
    const pods = [...refusedOn(['n3'], DENIED), puller('n1').pulling(), puller('n2').pulling()];
    const given = { nodes: nodes(3), pods };
    assert.equal(outcomeOf({ ...given, now: 6 }), 'wait Preloading');
    const pulled = [...refusedOn(['n3'], DENIED), puller('n1').pulled(30), puller('n2').pulled(30)];
    assert.equal(outcomeOf({ nodes: nodes(3), pods: pulled, now: 31 }), 'wait Preloading');
    // The one node leaves the count as any other that fails.
    const left = [
      puller('n3').attempt(4, 60).failing(DENIED),
      puller('n1').pulled(30),
      puller('n2').pulled(30),
    ];
    assert.equal(outcomeOf({ nodes: nodes(3), pods: left, now: 121 }), 'release Ready');
  });

  test('of one node does not count while others fail for reasons of their own, for 2 minutes', () => {
    const pods = [...refusedOn(['n1']), failedThrice('n2')];
    assert.equal(outcomeOf({ nodes: nodes(2), pods, now: 119 }), 'wait Preloading');
    assert.equal(outcomeOf({ nodes: nodes(2), pods, now: 121 }), 'fail NotFound');
  });

  test('for another platform is asked of a node of each architecture', () => {
    const message = 'no match for platform in manifest: not found';
    const mixed = [...all(5).map((name) => arch(name, 'arm64')), arch('n6', 'amd64')];
    const arms = refusedOn(['n1', 'n2', 'n3'], message);
    const given = { preload: preload({ parallelism: 3 }), nodes: mixed };
    const some = look({ ...given, pods: arms, now: 6 });
    assert.deepEqual([some.outcome, wantedNodes(some)], ['wait Preloading', ['n6']]);
    const others = look({ ...given, pods: [...arms, ...refusedOn(['n6'], message)], now: 12 });
    assert.equal(others.outcome, 'fail WrongPlatform');
  });

  test('for another platform is believed at once', () => {
    const pods = all(2).map((name) => puller(name).failing('no match for platform in manifest: not found'));
    assert.equal(outcomeOf({ nodes: nodes(2), pods, now: 1 }), 'fail WrongPlatform');
  });

  test('stops it for all images: a rollout needs every one', () => {
    const given = { preload: preload({ images: images('a:1', IMAGE), parallelism: 3 }), nodes: nodes(9) };
    const pods = ['n1', 'n2', 'n3'].flatMap((name) => [
      ...refusedOn([name]),
      puller(name).image('a:1').pulled(2),
    ]);
    const { outcome, wanted } = look({ ...given, pods, now: 6 });
    assert.deepEqual([outcome, wanted], ['fail NotFound', []]);
  });

  test('is asked for again by one probe only, on another node each time', () => {
    const pods = refusedOn(all(5));
    const given = { nodes: nodes(5), pods };
    assert.deepEqual(look({ ...given, now: 34 }).wanted, []);
    assert.equal(look({ ...given, now: 34 }).wakeAt, at(35));
    assert.deepEqual(wantedNodes(look({ ...given, now: 36 })), ['n1']);
    const probing = [...pods, puller('n1').attempt(3, 36).pulling()];
    assert.deepEqual(look({ ...given, pods: probing, now: 37 }).wanted, []);
    const again = [...pods, puller('n1').attempt(3, 36).failing(NOT_FOUND)];
    assert.deepEqual(look({ ...given, pods: again, now: 71 }).wanted, []);
    assert.deepEqual(wantedNodes(look({ ...given, pods: again, now: 72 })), ['n2']);
  });

  test('is asked of nodes that have not been asked yet before that, and a probe that still pulls changes nothing', () => {
    const failed = preload(
      { parallelism: 1 },
      { status: statusAfter({ nodes: nodes(3), pods: refusedOn(all(3)), now: 6 }) },
    );
    const given = { preload: failed, nodes: nodes(5), pods: refusedOn(all(3)) };
    assert.deepEqual(wantedNodes(look({ ...given, now: 36 })), ['n4']);
    const probing = look({ ...given, pods: [...given.pods, puller('n4').attempt(1, 36).pulling()], now: 40 });
    assert.deepEqual([probing.outcome, probing.wanted], ['fail NotFound', []]);
    const doubted = [...given.pods, puller('n4').attempt(1, 36).failing(NOT_FOUND)];
    assert.equal(look({ ...given, pods: doubted, now: 40 }).outcome, 'fail NotFound');
    assert.deepEqual(wantedNodes(look({ ...given, pods: doubted, now: 41 })), ['n4']);
    const found = look({ ...given, pods: [...given.pods, puller('n4').attempt(1, 36).pulled(50)], now: 51 });
    assert.deepEqual([found.outcome, wantedNodes(found)[0]], ['wait Preloading', 'n5']);
  });

  test('is asked of ten nodes at most, however long it lasts', () => {
    const failed = preload(
      {},
      { status: statusAfter({ nodes: nodes(10), pods: refusedOn(all(10)), now: 6 }) },
    );
    const given = { preload: failed, nodes: nodes(50), pods: refusedOn(all(10)) };
    assert.deepEqual(wantedNodes(look({ ...given, now: 36 })), ['n1']);
  });

  test('a probe that succeeds starts the fan-out again', () => {
    const pods = [puller('n1').attempt(2, 5).failing(NOT_FOUND), puller('n1').attempt(3, 35).pulled(38)];
    const { outcome, wanted, remove } = look({ nodes: nodes(3), pods, now: 38 });
    assert.equal(outcome, 'wait Preloading');
    assert.deepEqual(wanted.map((pull) => pull.node).sort(), ['n2', 'n3']);
    assert.deepEqual(
      remove.map(({ attempt }) => attempt),
      [2],
    );
  });

  test('where another node has the image it is a failure of the node', () => {
    const pods = [puller('n1').failing(NOT_FOUND), puller('n2').pulled(5)];
    const { outcome, wanted } = look({ nodes: nodes(3), pods, now: 31 });
    assert.equal(outcome, 'wait Preloading');
    assert.deepEqual(wanted.map((pull) => pull.node).sort(), ['n1', 'n3']);
  });

  test('does not stay if the node that got it leaves', () => {
    const given = { nodes: nodes(3).slice(1), pods: refusedOn(['n1']) };
    assert.deepEqual(wantedNodes(look(given)), ['n2', 'n3']);
  });

  test('is asked of others when the probe hangs', () => {
    const pods = [...refusedOn(['n1']), puller('n1').attempt(3, 35).pulling()];
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(1), pods };
    assert.deepEqual(look({ ...given, now: 36 }).wanted, []);
    assert.equal(look({ ...given, now: 36 }).outcome, 'fail NotFound');
    assert.deepEqual(wantedNodes(look({ ...given, nodes: nodes(3), now: 935 })), ['n2']);
  });

  test('is kept while the kubelet backs off without words', () => {
    const known = { reason: 'NotFound', definitive: true, message: 'not found' } as const;
    const pods = all(3).map((name) => puller(name).attempt(2, 5).failing(BACK_OFF));
    assert.equal(outcomeOf({ nodes: nodes(3), pods, known }), 'fail NotFound');
    assert.equal(outcomeOf({ nodes: nodes(3), pods }), 'wait Preloading');
  });
});

describe('an injected init container', () => {
  const blocked = (failing: boolean) =>
    puller('n1')
      .pulling()
      .with({ init: { name: 'wait', words: 'is still running', failing, ended: false } });

  test('is told after 10 s if it only runs, and at once if it is in trouble', () => {
    const given = { nodes: nodes(1), pods: [blocked(false)] };
    assert.deepEqual(look({ ...given, now: 9 }).failures, []);
    assert.equal(look({ ...given, now: 9 }).wakeAt, at(10));
    const [failure] = look({ ...given, now: 10 }).failures;
    assert.equal(failure?.reason, 'InitContainer');
    assert.equal(failure?.message, 'init container wait, which a webhook has added, is still running');
    assert.equal(look({ ...given, pods: [blocked(true)], now: 1 }).failures.length, 1);
  });
});

describe('a pull secret that the kubelet cannot find', () => {
  test('is told with the refusal', () => {
    const message =
      'Unable to retrieve some image pull secrets (registry); attempting to pull may not succeed.';
    const trouble = { reason: 'PullSecretMissing', definitive: true, message } as const;
    const given = { nodes: nodes(1), pods: refusedOn(['n1'], DENIED), now: 5 };
    assert.deepEqual(look(given).creating.length, 1, 'its events are wanted');
    const { outcome, failure } = look({ ...given, troubles: { n1: trouble } });
    assert.equal(outcome, 'fail PullSecretMissing');
    assert.ok(failure?.message.startsWith(message) && failure.message.includes('pull access denied'));
  });
});

describe('a failure that may pass', () => {
  const parallel = preload({ parallelism: 2 });
  test('does not stop the others, but keeps its place until some node is ready', () => {
    const given = { preload: parallel, nodes: nodes(5) };
    const pods = [puller('n1').failing(REFUSED), puller('n2').failing(REFUSED)];
    assert.deepEqual(look({ ...given, pods, now: 10 }).wanted, []);
    const one = [puller('n1').failing(REFUSED), puller('n2').pulled(9)];
    assert.deepEqual(wantedNodes(look({ ...given, pods: one, now: 10 })), ['n3', 'n4']);
  });

  test('is tried again when its back-off is over', () => {
    const given = { nodes: nodes(1), pods: [puller('n1').failing(REFUSED)] };
    assert.deepEqual([look({ ...given, now: 10 }).wanted, look({ ...given, now: 10 }).wakeAt], [[], at(30)]);
    const { wanted, outcome } = look({ ...given, now: 30 });
    assert.deepEqual([wanted[0]?.attempt, outcome], [2, 'wait Preloading']);
  });

  test('gives its place to others after three attempts in 2 minutes: it may be the node', () => {
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(3), pods: [failedThrice('n1')] };
    assert.deepEqual(look({ ...given, now: 119 }).wanted, []);
    assert.equal(look({ ...given, now: 119 }).wakeAt, at(120));
    assert.deepEqual(wantedNodes(look({ ...given, now: 120 })), ['n2']);
  });

  test('a pull that hangs gives its place to others, too', () => {
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(3), pods: [puller('n1').pulling()] };
    assert.deepEqual(look({ ...given, now: 899 }).wanted, []);
    assert.equal(look({ ...given, now: 899 }).wakeAt, at(900));
    assert.deepEqual(wantedNodes(look({ ...given, now: 900 })), ['n2']);
  });
});

describe('stragglers', () => {
  const ready = puller('n1').pulled(5);
  const left = ({ excluded }: Look) => Object.fromEntries(excluded.map((e) => [e.reason, e.count]));

  test('three failures in 2 minutes leave the count, once another node is ready', () => {
    const given = { nodes: nodes(2), pods: [ready, failedThrice('n2')] };
    const early = look({ ...given, now: 119 });
    assert.deepEqual([early.outcome, early.desired, early.wakeAt], ['wait Preloading', 2, at(120)]);
    const late = look({ ...given, now: 120 });
    assert.deepEqual([late.outcome, late.desired, late.ready], ['release Ready', 1, 1]);
    assert.deepEqual(left(late), { PullFailed: 1 });
    assert.equal(late.failures[0]?.left, 'PullFailed');
  });

  test('with no node ready nobody leaves the count', () => {
    const given = { nodes: nodes(2), pods: [failedThrice('n1'), failedThrice('n2')], now: 500 };
    const { outcome, desired } = look(given);
    assert.deepEqual([outcome, desired], ['wait Preloading', 2]);
  });

  test('two failures do not leave it, however long ago, while a third attempt runs', () => {
    const second = puller('n2').attempt(2, 30).failing(REFUSED);
    const third = puller('n2').attempt(3, 90).pulling();
    const given = { nodes: nodes(2), pods: [ready, second, third] };
    assert.equal(look({ ...given, now: 600 }).desired, 2);
    assert.equal(look({ ...given, now: 600 }).wakeAt, at(990));
  });

  test('a pull that is not done when the time for one node is over leaves it', () => {
    const slow = puller('n2').pulling();
    const given = { preload: preload({ nodeTimeoutSeconds: 60 }), nodes: nodes(2), pods: [ready, slow] };
    const early = look({ ...given, now: 59 });
    assert.deepEqual([early.desired, early.wakeAt], [2, at(60)]);
    const late = look({ ...given, now: 60 });
    assert.deepEqual([late.outcome, left(late)], ['release Ready', { PullTimedOut: 1 }]);
    assert.deepEqual([late.failures[0]?.node, late.failures[0]?.reason], ['n2', 'Timeout']);
  });

  test('a retry that is not done then leaves it as well', () => {
    const pods = [ready, puller('n2').failing(REFUSED), puller('n2').attempt(2, 30).pulling()];
    const given = { preload: preload({ nodeTimeoutSeconds: 60 }), nodes: nodes(2), pods };
    assert.equal(look({ ...given, now: 89 }).wakeAt, at(90));
    assert.deepEqual(left(look({ ...given, now: 90 })), { PullTimedOut: 1 });
  });

  test('a node that refuses the pod leaves it at once, and gives its place to others', () => {
    const refused = (name: string) => puller(name).rejected('NodeAffinity', 'Predicate NodeAffinity failed');
    const given = { preload: preload({ parallelism: 1 }), nodes: nodes(2), pods: [refused('n1')], now: 1 };
    const first = look(given);
    assert.deepEqual([first.desired, left(first), wantedNodes(first)], [1, { NodeRefusesPod: 1 }, ['n2']]);
    assert.match(first.failures[0]?.message ?? '', /NodeAffinity: Predicate NodeAffinity failed/);
    assert.equal(
      outcomeOf({ ...given, pods: [refused('n1'), puller('n2').pulled(5)], now: 6 }),
      'release Ready',
    );
    // It may have been given another label: it is tried again.
    const later = { ...given, pods: [refused('n1'), puller('n2').pulled(5)], now: 31 };
    assert.deepEqual(wantedNodes(look(later)), ['n1']);
  });

  test('if all nodes refuse the pod, no node is eligible', () => {
    const pods = ['n1', 'n2'].map((name) => puller(name).rejected('PodOSNotSupported', 'no'));
    const { outcome, desired, wakeAt } = look({ nodes: nodes(2), pods, now: 10 });
    assert.deepEqual([outcome, desired], ['wait NoEligibleNodes', 0]);
    assert.equal(wakeAt, at(30), 'they are tried again');
    assert.equal(look({ nodes: nodes(2), pods, now: 130, noNodesSince: 10 }).wakeAt, undefined);
  });

  test('one without the runtime leaves it as soon as that is known', () => {
    const trouble = {
      reason: 'NodeRefusesPod',
      definitive: false,
      message: 'no runtime for "kata"',
    } as const;
    const given = { nodes: nodes(2), pods: [ready, puller('n2').pulling()], now: 20 };
    assert.equal(outcomeOf(given), 'wait Preloading');
    const { outcome, excluded } = look({ ...given, troubles: { n2: trouble } });
    assert.deepEqual([outcome, excluded[0]?.reason], ['release Ready', 'NodeRefusesPod']);
  });

  test('one that gets it after all counts again', () => {
    const pods = [ready, failedThrice('n2'), puller('n2').attempt(4, 210).pulled(220)];
    const { desired, ready: count, outcome } = look({ nodes: nodes(2), pods, now: 230 });
    assert.deepEqual([desired, count, outcome], [2, 2, 'release Ready']);
  });
});

describe('the deadline', () => {
  const spec = preload({ deadlineSeconds: 100 });
  test('counts from the making as long as no node is ready', () => {
    const given = { preload: spec, nodes: nodes(2), pods: [puller('n1').pulling()] };
    assert.equal(outcomeOf({ ...given, now: 99 }), 'wait Preloading');
    assert.equal(look({ ...given, now: 99 }).wakeAt, at(100));
    const { outcome, ready } = look({ ...given, now: 100 });
    assert.deepEqual([outcome, ready], ['fail DeadlineExceeded', 0]);
  });

  test('counts from the last node that became ready', () => {
    const pods = [puller('n1').pulled(50), puller('n2').pulling()];
    const given = { preload: spec, nodes: nodes(2), pods };
    assert.equal(outcomeOf({ ...given, now: 149 }), 'wait Preloading');
    const { outcome, ready } = look({ ...given, now: 150 });
    assert.deepEqual([outcome, ready], ['release DeadlineExceeded', 1]);
  });

  test('does not hide a definitive answer', () => {
    const given = { preload: spec, nodes: nodes(2), pods: refusedOn(['n1', 'n2']) };
    const { outcome, overdue } = look({ ...given, now: 500 });
    assert.deepEqual([outcome, overdue], ['fail NotFound', true]);
  });

  test('pulls go on after it', () => {
    const { wanted } = look({ preload: spec, nodes: nodes(2), now: 500 });
    assert.equal(wanted.length, 2);
  });
});

describe('a node that joins later', () => {
  const later = (name: string, seconds: number) => node(name, { createdAt: at(seconds) });
  const left = ({ excluded }: Look) => Object.fromEntries(excluded.map((e) => [e.reason, e.count]));

  test('gets the images and is not waited for', () => {
    const given = { nodes: [...nodes(2), later('n3', 1)], pods: [puller('n1').pulled(5)], now: 10 };
    const waiting = look(given);
    assert.deepEqual(wantedNodes(waiting), ['n2', 'n3']);
    assert.deepEqual([waiting.ready, waiting.desired, left(waiting)], [1, 2, { JoinedLater: 1 }]);
    const ready = look({ ...given, pods: [...given.pods, puller('n2').pulled(9)] });
    assert.deepEqual([ready.outcome, ready.ready, ready.desired], ['release Ready', 2, 2]);
    assert.deepEqual(wantedNodes(ready), ['n3']);
  });

  test('is no later node if it was made in the same second as the preload', () => {
    assert.equal(look({ nodes: [later('n1', 0), node('n2')] }).desired, 2);
  });

  test('takes the place of no older one: ready itself, it releases nothing', () => {
    const pods = [puller('n1').pulling(), puller('n2').attempt(1, 2).pulled(5)];
    const { outcome, ready, desired } = look({ nodes: [node('n1'), later('n2', 1)], pods, now: 10 });
    assert.deepEqual([outcome, ready, desired], ['wait Preloading', 0, 1]);
  });

  test('does not put the deadline off', () => {
    const pods = [puller('n1').pulling(), puller('n2').attempt(1, 2).pulled(95)];
    const given = { preload: preload({ deadlineSeconds: 100 }), nodes: [node('n1'), later('n2', 1)], pods };
    assert.deepEqual(
      [outcomeOf({ ...given, now: 99 }), look({ ...given, now: 99 }).wakeAt],
      ['wait Preloading', at(100)],
    );
    // At the deadline it counts, because no older one is ready: the rollout begins.
    const { outcome, ready } = look({ ...given, now: 100 });
    assert.deepEqual([outcome, ready], ['release DeadlineExceeded', 1]);
  });

  test('counts if no older node is left', () => {
    const given = {
      nodes: [later('n3', 1), later('n4', 2)],
      pods: [puller('n3').attempt(1, 2).pulled(5)],
      now: 10,
    };
    const { outcome, ready, desired } = look(given);
    assert.deepEqual([outcome, ready, desired], ['wait Preloading', 1, 2]);
    const gaveUp = [puller('n1').failing(REFUSED), puller('n3').attempt(1, 2).pulled(5)];
    const out = [
      ...gaveUp,
      puller('n1').attempt(2, 30).failing(REFUSED),
      puller('n1').attempt(3, 90).failing(REFUSED),
    ];
    assert.equal(outcomeOf({ nodes: [node('n1'), later('n3', 1)], pods: out, now: 200 }), 'release Ready');
  });
});

describe('no eligible node', () => {
  const RELEASED = { kind: 'release', reason: 'NoEligibleNodes', never: false };
  const excluded = (...reasons: ExclusionReason[]) =>
    reasons.map((reason) => ({ reason, count: 1, node: `of-${reason}` }));
  const overAt = (given: Omit<Situation, 'nodes'>, ...reasons: ExclusionReason[]) => {
    const { wakeAt, outcome } = look({ nodes: [], excluded: excluded(...reasons), ...given });
    return outcome === 'release NoEligibleNodes' ? 0 : ((wakeAt ?? Number.NaN) - at(0)) / 1000;
  };

  test('is waited out for 2 minutes from when it was first seen', () => {
    const first = look({ nodes: [], now: 10 });
    assert.equal(first.outcome, 'wait NoEligibleNodes');
    assert.equal(first.wakeAt, at(130));
    assert.deepEqual(look({ nodes: [], now: 129, noNodesSince: 10 }).wakeAt, at(130));
    assert.deepEqual(assess(situation({ nodes: [], now: 130, noNodesSince: 10 })).outcome, RELEASED);
  });

  test('a node that comes back ends it', () => {
    assert.equal(outcomeOf({ nodes: nodes(1), now: 500, noNodesSince: 10 }), 'wait Preloading');
  });

  test('is not waited out where no node could ever be preloaded', () => {
    for (const reasons of [
      ['OperatingSystem'],
      ['VirtualNode'],
      ['NodeSelector', 'OperatingSystem'],
    ] as const) {
      const { outcome } = assess(situation({ nodes: [], excluded: excluded(...reasons), now: 10 }));
      assert.deepEqual(outcome, { ...RELEASED, never: true }, reasons.join());
    }
    const windows = preload({ scheduling: { nodeSelector: { 'kubernetes.io/os': 'windows' } } });
    assert.equal(overAt({ preload: windows }, 'NodeSelector'), 0);
    assert.equal(overAt({ preload: windows }), 0);
  });

  test('is waited out for 2 minutes where a node pool may be scaled from zero', () => {
    for (const reasons of [
      ['NodeSelector'],
      ['NodeAffinity'],
      ['Taint'],
      ['OperatingSystem', 'Taint'],
    ] as const)
      assert.equal(overAt({}, ...reasons), 120, reasons.join());
  });

  test('is waited out until the deadline where a node that the pods select is only unavailable', () => {
    for (const reason of ['NotReady', 'Cordoned', 'Deleting', 'Resources'] as const)
      assert.equal(overAt({}, 'NodeSelector', 'OperatingSystem', reason), 3600, reason);
    const short = preload({ deadlineSeconds: 100 });
    assert.equal(overAt({ preload: short, now: 90 }, 'NotReady'), 210, '2 minutes in any case');
  });
});

describe('a pod that does not begin to pull', () => {
  const trouble = { reason: 'PodNotStarted', definitive: false, message: 'FailedMount: not there' } as const;
  const given = { nodes: nodes(2), pods: [puller('n1').pulling(), puller('n2')] };
  const asked = (at: Situation) => look(at).creating.map(({ node: name }) => name);

  test('its events are wanted after 10 s, by when it asks to be woken; not before its kubelet has reported', () => {
    assert.equal(look(given).wakeAt, at(10));
    assert.deepEqual(asked({ ...given, now: 9.999 }), []);
    assert.deepEqual(asked({ ...given, now: 10 }), ['n1']);
  });

  test('it counts from when the kubelet took the pod on', () => {
    const late = puller('n1')
      .pulling()
      .with({ startedAt: at(5) });
    assert.deepEqual(asked({ nodes: nodes(1), pods: [late], now: 14.999 }), []);
    assert.deepEqual(asked({ nodes: nodes(1), pods: [late], now: 15 }), ['n1']);
  });

  test('nothing is asked once there is an outcome', () => {
    const pods = [puller('n1').pulled(20), puller('n2').failing(REFUSED)];
    assert.deepEqual(asked({ nodes: nodes(2), pods, now: 25 }), []);
  });

  test('what is known is told as a failure of that node, which counts as pulling and keeps its place', () => {
    const spec = preload({ parallelism: 1 });
    const known = {
      preload: spec,
      nodes: nodes(2),
      pods: [puller('n1').pulling()],
      troubles: { n1: trouble },
    };
    const { failures, failed, pulling, running, outcome, wanted } = look({ ...known, now: 60 });
    assert.deepEqual(failures, [{ node: 'n1', image: IMAGE, ...trouble }]);
    assert.deepEqual([failed, pulling, running, wanted, outcome], [0, 1, 1, [], 'wait Preloading']);
  });

  test('its node leaves the count no sooner than one that pulls, and then says why', () => {
    const pods = [puller('n1').pulled(5), puller('n2').pulling()];
    const known = { nodes: nodes(2), pods, troubles: { n2: trouble } };
    assert.equal(outcomeOf({ ...known, now: 899.999 }), 'wait Preloading');
    const { outcome, failures } = look({ ...known, now: 900 });
    assert.equal(outcome, 'release Ready');
    assert.deepEqual(failures, [{ node: 'n2', image: IMAGE, ...trouble, left: 'PullTimedOut' }]);
  });
});

describe('what is told of it', () => {
  test('counts by image, digests and the slowest node', () => {
    const pods = [puller('n1').pulled(5), puller('n2').pulled(9), puller('n3').failing(REFUSED)];
    const { images: counts, failed, ready, pulling } = look({ nodes: nodes(4), pods, now: 9 });
    assert.deepEqual(counts, [
      {
        image: IMAGE,
        digests: [DIGEST],
        alreadyPresent: 0,
        pulled: 2,
        failed: 1,
        slowest: { node: 'n2', seconds: 9 },
      },
    ]);
    assert.deepEqual([ready, failed, pulling], [2, 1, 0]);
  });

  test('excluded nodes are listed as they came', () => {
    const excluded = [{ reason: 'Cordoned', count: 2, node: 'n7' }] as const;
    assert.deepEqual(look({ nodes: nodes(1), excluded }).excluded, excluded);
  });

  test('5,000 nodes are assessed in a blink', () => {
    const many = nodes(5000);
    const input = situation({ nodes: many, pods: many.map(({ name }) => puller(name).pulled(5)), now: 9 });
    const times = Array.from({ length: 5 }, () => {
      const before = process.cpuUsage();
      assert.equal(lookAt(input).outcome, 'release Ready');
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    });
    // 15 ms or so of a slow core, which others may be using, too: so not by the clock.
    assert.ok(Math.min(...times) < 100, `${Math.min(...times)} ms of CPU`);
  });
});

test('what a machine of the same name pulled before its node was made anew does not count, and goes', () => {
  const before = puller('n1').pulled(5);
  const { remove, outcome, wanted } = look({
    nodes: [node('n1', { createdAt: at(60) })],
    pods: [before],
    now: 70,
  });
  assert.equal(outcome, 'wait Preloading');
  assert.deepEqual(remove, [before.pod]);
  assert.deepEqual(
    wanted.map(({ node: name, attempt }) => [name, attempt]),
    [['n1', 1]],
  );
});

test('one image under two policies, refused under one of them, is asked for under that one again', () => {
  const both = [
    { image: IMAGE, imagePullPolicy: 'Always' },
    { image: IMAGE, imagePullPolicy: 'IfNotPresent' },
  ] as const;
  const input = situation({ preload: preload({ images: both }), nodes: nodes(1), pods: [], now: 40 });
  const refused = puller('n1').attempt(2, 5).failing(NOT_FOUND).pod;
  const { outcome, wanted } = lookAt({
    ...input,
    podsOf:
      ({ imagePullPolicy }) =>
      () =>
        imagePullPolicy === 'Always' ? [refused] : [],
  });
  assert.equal(outcome, 'fail NotFound');
  assert.deepEqual(
    wanted.map(({ image }) => image.imagePullPolicy),
    ['Always'],
  );
});

test('it begins where it is told to, after the nodes of the workload, and goes around', () => {
  const { wanted } = lookAt({ ...situation({ nodes: nodes(4), preferred: ['n2'] }), beginAt: 4 });
  assert.deepEqual(
    wanted.map(({ node: name }) => name),
    ['n2', 'n3', 'n4', 'n1'],
  );
});
