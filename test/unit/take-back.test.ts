import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Line, shareAmong } from '../../src/preloads/budget/fair-share.ts';
import { type Place, placesToTakeBack, type TakenBack } from '../../src/preloads/budget/take-back.ts';
import { at, puller } from '../support/unit/preload-builder.ts';

const NOW = at(1000);
const TIMEOUT_MS = 900_000;

/** In the namespace before the slash; with an exclamation mark nobody waits for it. */
function place(name: string, seconds: number, state: Place['state'] = 'pulling'): Place {
  const [namespace = ''] = name.split('/');
  const { pod } = puller().with({ namespace, name });
  return { pod, urgent: !name.endsWith('!'), since: NOW - seconds * 1000, state };
}
const places = (count: number, namespace: string, seconds: number, mark = '') =>
  Array.from({ length: count }, (_, n) => place(`${namespace}/${n}${mark}`, seconds));

const demand = (namespace: string, wanted: number, urgent = true): Line => ({ namespace, wanted, urgent });

function takeBack(taken: Place[], lines: Line[], free = 0, isReserved = false): TakenBack {
  return placesToTakeBack({
    ...{ places: taken, free, lines },
    servedAt: () => 0,
    now: NOW,
    timeoutMs: TIMEOUT_MS,
    isReserved,
  });
}
const names = (found: readonly Place[]) => found.map(({ pod }) => pod.name);

test('a namespace that has more than its share gives to one that has less, its youngest first', () => {
  const taken = [place('a/old', 100), place('a/young', 11), place('a/middle', 50), place('b/only', 50)];
  const { surplus, overdue } = takeBack(taken, [demand('c', 5)]);
  assert.deepEqual([names(surplus), names(overdue)], [['a/young'], []]);
});

test('as much is given as the other wants, until both have the same', () => {
  assert.equal(takeBack(places(10, 'a', 60), [demand('b', 2)]).surplus.length, 2);
  assert.equal(takeBack(places(10, 'a', 60), [demand('b', 50)]).surplus.length, 5);
  assert.equal(takeBack(places(9, 'a', 60), [demand('b', 50)]).surplus.length, 4);
});

test('a pull of a few seconds keeps its place: it will end by itself; and it is told when that is over', () => {
  const { surplus, nextAt } = takeBack(places(10, 'a', 4), [demand('b', 2)]);
  assert.deepEqual([surplus, nextAt], [[], NOW + 6000]);
});

test('what has not been asked for yet goes before anything that runs', () => {
  const taken = [...places(3, 'a', 60), place('a/queued', 0, 'queued'), place('a/asked', 60, 'creating')];
  assert.deepEqual(names(takeBack(taken, [demand('b', 1)]).surplus), ['a/queued']);
});

test('a pull that nobody waits for gives its place to one that a rollout waits for, even in its own namespace', () => {
  const taken = [...places(1, 'a', 60, '!'), ...places(1, 'b', 60)];
  for (const namespace of ['a', 'b', 'c']) {
    assert.deepEqual(names(takeBack(taken, [demand(namespace, 9)]).surplus), ['a/0!'], namespace);
  }
});

test('a pull that a rollout waits for gives nothing to one that nobody waits for', () => {
  assert.deepEqual(takeBack(places(10, 'a', 60), [demand('b', 5, false)]).surplus, []);
});

test('an urgent pull gives the reserved place to one that nobody waits for, and no second one', () => {
  const taken = [...places(6, 'a', 60), ...places(3, 'b', 60)];
  const { surplus } = takeBack(taken, [demand('c', 5, false), demand('a', 9)], 0, true);
  assert.deepEqual([surplus.length, surplus[0]?.pod.namespace], [1, 'a']);
});

test('of the pulls that nobody waits for one keeps the reserved place', () => {
  const taken = [place('b/old!', 60), place('b/young!', 20), ...places(3, 'a', 60)];
  assert.deepEqual(names(takeBack(taken, [demand('a', 9)], 0, true).surplus), ['b/young!']);
  assert.deepEqual(names(takeBack(taken, [demand('a', 9)]).surplus), ['b/young!', 'b/old!']);
});

test("a pull past the gate's time gives its place to whoever wants one, the oldest first", () => {
  const taken = [place('a/late', 901), place('a/latest', 999), place('a/young', 5)];
  assert.deepEqual(names(takeBack(taken, [demand('b', 1, false)]).overdue), ['a/latest']);
  assert.deepEqual(names(takeBack(taken, [demand('a', 2)]).overdue), ['a/latest', 'a/late']);
  assert.deepEqual(takeBack(taken, []).overdue, [], 'and keeps it as long as nobody does');
});

test('what is free already, or will be in a moment, is not taken back again', () => {
  const leaving = Array.from({ length: 2 }, (_, n) => place(`a/leaving-${n}`, 60, 'leaving'));
  const taken = [...places(8, 'a', 60), ...leaving];
  assert.deepEqual(takeBack(taken, [demand('b', 2)]).surplus, []);
  assert.equal(takeBack(taken, [demand('b', 3)]).surplus.length, 1);
  assert.deepEqual(takeBack(taken, [demand('b', 3)], 1).surplus, []);
});

test('what cannot be ended counts for the share of its namespace, and is not taken back again', () => {
  const stuck = Array.from({ length: 3 }, (_, n) => place(`a/stuck-${n}`, 60, 'stuck'));
  assert.deepEqual(
    names(takeBack([...stuck, place('a/ripe', 60), ...places(3, 'b', 60)], [demand('c', 1)]).surplus),
    ['a/ripe'],
  );
  assert.deepEqual(takeBack(stuck, [demand('b', 2)]).surplus, []);
});

test('nothing is taken back for a namespace that has all the places it may have, as they are stuck', () => {
  const stuck = Array.from({ length: 10 }, (_, n) => place(`a/stuck-${n}!`, 60, 'stuck'));
  const taken = [...stuck, ...places(10, 'b', 60)];
  assert.deepEqual(takeBack(taken, [demand('a', 5)]).surplus, []);
  assert.equal(takeBack(taken, [demand('a', 5), demand('c', 2)]).surplus.length, 2);
});

/** One line for each namespace and class. */
function merged(lines: readonly Line[]): Line[] {
  const groups = Map.groupBy(lines, ({ namespace, urgent }) => `${namespace} ${urgent}`);
  return [...groups.values()].flatMap((group) => {
    const wanted = group.reduce((sum, line) => sum + line.wanted, 0);
    return group.slice(0, 1).map((line) => ({ ...line, wanted }));
  });
}

const anyPlaces = fc.array(
  fc.record({
    ns: fc.nat(3),
    urgent: fc.boolean(),
    seconds: fc.constantFrom(0, 9, 10, 60, 899, 900, 5000),
    state: fc.constantFrom<Place['state']>('queued', 'pulling', 'leaving', 'creating', 'stuck'),
  }),
  { maxLength: 30 },
);
const anyDemands = fc.array(fc.record({ ns: fc.nat(4), urgent: fc.boolean(), wanted: fc.nat(12) }), {
  maxLength: 6,
});
const anySituation = fc
  .record({ found: anyPlaces, wants: anyDemands, free: fc.nat(3), isReserved: fc.boolean() })
  .map(({ found, wants, free, isReserved }) => ({
    ...{ free, isReserved },
    taken: found.map(({ ns, urgent, seconds, state }, n) => ({
      ...place(`ns${ns}/${n}`, seconds, state),
      urgent,
    })),
    demands: merged(wants.map(({ ns, urgent, wanted }) => demand(`ns${ns}`, wanted, urgent))),
  }));

test('only what may be ended is, each once, and never more than is wanted', () => {
  fc.assert(
    fc.property(anySituation, ({ taken, demands, free, isReserved }) => {
      const { overdue, surplus } = takeBack(taken, demands, free, isReserved);
      const all = [...overdue, ...surplus];
      assert.equal(new Set(all).size, all.length);
      assert.ok(all.length <= demands.reduce((sum, { wanted }) => sum + wanted, 0));
      for (const { state, since } of overdue) assert.ok(state === 'pulling' && NOW - since >= TIMEOUT_MS);
      for (const { state, since } of surplus)
        assert.ok(state === 'queued' || (state === 'pulling' && NOW - since >= 10_000));
    }),
  );
});

test('nobody that nothing runs for waits while a namespace has two places that can be taken back', () => {
  fc.assert(
    fc.property(anySituation, ({ taken, demands, free }) => {
      // What is stuck may be all that a namespace may have.
      const cap = free + taken.filter(({ state }) => state !== 'stuck').length;
      const stuckIn = new Set(taken.flatMap(({ pod, state }) => (state === 'stuck' ? [pod.namespace] : [])));
      const has = (namespace: string) => taken.filter(({ pod }) => pod.namespace === namespace).length;
      fc.pre(
        !demands.some(({ namespace, wanted }) => stuckIn.has(namespace) && has(namespace) + wanted > cap),
      );
      const { overdue, surplus } = takeBack(taken, demands, free);
      const gone = new Set([...overdue, ...surplus]);
      const left = taken.filter((one) => !gone.has(one) && one.state !== 'leaving');
      const wanted = demands.filter(({ urgent }) => urgent).reduce((sum, one) => sum + one.wanted, 0);
      const freed = free + taken.filter(({ state }) => state === 'leaving').length + gone.size;
      if (freed >= wanted) return;
      // Some urgent pull goes without: nothing that may be ended is less urgent than it.
      const ripe = left.filter(
        ({ state, since }) => state === 'queued' || (state === 'pulling' && NOW - since >= 10_000),
      );
      assert.deepEqual(
        ripe.filter(({ urgent }) => !urgent),
        [],
      );
      assert.deepEqual(
        ripe.filter(({ since, state }) => state === 'pulling' && NOW - since >= TIMEOUT_MS),
        [],
      );
    }),
  );
});

test('once those who want something have it, nothing more is taken back: no place goes back and forth', () => {
  fc.assert(
    fc.property(anySituation, ({ taken, demands, free, isReserved }) => {
      const { overdue, surplus } = takeBack(taken, demands, free, isReserved);
      const gone = new Set([...overdue, ...surplus]);
      const left = taken.filter((one) => !gone.has(one) && one.state !== 'leaving');
      const count = (namespace: string, urgentOnly: boolean) =>
        left.filter(({ pod, urgent }) => pod.namespace === namespace && (urgent || !urgentOnly)).length;
      const reserved = Number(isReserved && left.every(({ urgent, state }) => urgent || state === 'stuck'));
      const standing = { taken: count, servedAt: () => 0 };
      const shares = shareAmong(free + taken.length - left.length, demands, standing, reserved);
      // Each that got a place has had it for long, and each that lost one wants it back.
      const given = demands.flatMap((line) =>
        Array.from({ length: shares.get(line) ?? 0 }, (_, n) => ({
          ...place(`${line.namespace}/given-${n}`, 60),
          urgent: line.urgent,
        })),
      );
      const still = demands.map((line) => ({ ...line, wanted: line.wanted - (shares.get(line) ?? 0) }));
      const losers = surplus.map(({ pod, urgent }) => demand(pod.namespace, 1, urgent));
      const again = takeBack([...left, ...given], merged([...still, ...losers]), 0, isReserved);
      // The reserved place may go on, once, to a namespace that has two fewer.
      assert.ok(again.surplus.length <= Number(isReserved), names(again.surplus).join(' '));
    }),
  );
});
