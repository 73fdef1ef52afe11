import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PULL_TIMES, type PullTimes } from '../../src/preloads/assess/pull-times.ts';
import { gateWorld, PODS } from '../support/unit/gate-world.ts';
import {
  at,
  DENIED,
  lookAt,
  nodes,
  puller,
  REFUSED,
  type Situation,
  situation,
} from '../support/unit/preload-builder.ts';

/** All different from the real ones, and from each other. */
const SHORT: PullTimes = {
  backoffMs: 3000,
  backoffLimitMs: 7000,
  doubtMs: 500,
  missingMs: 500,
  givenUpAfterMs: 20_000,
  noNodesMs: 11_000,
  creatingMs: 1000,
  absentMs: 9000,
};
const look = (given: Situation) => lookAt(situation({ times: SHORT, ...given }));
const outcomeOf = (given: Situation) => look(given).outcome;

for (const [attempt, wait] of [
  [1, 3],
  [2, 6],
  [3, 7],
] as const) {
  test(`attempt ${attempt + 1} begins by the back-off that it is given`, () => {
    const given = { nodes: nodes(1), pods: [puller('n1').attempt(attempt, 100).failing(REFUSED)] };
    assert.equal(look({ ...given, now: 100 }).wakeAt, at(100 + wait));
    assert.equal(look({ ...given, now: 100 + wait - 0.001 }).wanted.length, 0);
    assert.equal(look({ ...given, now: 100 + wait }).wanted.length, 1);
  });
}

test('a doubted "unauthorized" is asked again as soon as it is told to', () => {
  const given = { nodes: nodes(1), pods: [puller('n1').failing(DENIED)] };
  assert.equal(look({ ...given, now: 0.499 }).wanted.length, 0);
  assert.equal(look({ ...given, now: 0.5 }).wanted.length, 1);
});

test("a pod's events are read as soon as it is told to", () => {
  const given = { nodes: nodes(1), pods: [puller('n1').pulling()] };
  assert.equal(look(given).wakeAt, at(1));
  assert.equal(look({ ...given, now: 1 }).creating.length, 1);
});

test('a node is given up, and no node is waited for, for as long as it is told to', () => {
  const pods = [puller('n1').pulled(5), puller('n2').attempt(3, 15).failing(REFUSED)];
  assert.equal(outcomeOf({ nodes: nodes(2), pods, now: 19.999 }), 'wait Preloading');
  assert.equal(outcomeOf({ nodes: nodes(2), pods, now: 20 }), 'release Ready');
  assert.equal(outcomeOf({ nodes: [], now: 10.999, noNodesSince: 0 }), 'wait NoEligibleNodes');
  assert.equal(outcomeOf({ nodes: [], now: 11, noNodesSince: 0 }), 'release NoEligibleNodes');
});

test('the controller goes by the times that it is given', async () => {
  const attempts = async (pullTimes: PullTimes) => {
    const world = gateWorld({ nodes: 1, pullTimes });
    world.start();
    world.hold();
    await world.pass(200);
    world.failing('n1', REFUSED);
    await world.pass(4000);
    return world.api.called('create', PODS).length;
  };
  assert.equal(await attempts(SHORT), 2);
  assert.equal(await attempts(PULL_TIMES), 1);
});
