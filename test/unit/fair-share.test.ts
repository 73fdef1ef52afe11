import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Demand,
  type Line,
  type Standing,
  shareAmong,
  shareWithin,
} from '../../src/preloads/budget/fair-share.ts';

const NOBODY: Standing = { taken: () => 0, servedAt: () => 0 };

/** `namespace/name` wants so many; with an exclamation mark nobody waits for it. */
function demand(key: string, wanted: number, running = 0): Demand {
  const [namespace = ''] = key.split('/');
  return { key, namespace, urgent: !key.endsWith('!'), running, wanted };
}
/** The same demands by namespace and urgency. */
function linesOf(demands: readonly Demand[]): (Line & { readonly members: readonly Demand[] })[] {
  const open = demands.filter(({ wanted }) => wanted > 0);
  const groups = Map.groupBy(open, ({ namespace, urgent }) => `${namespace} ${urgent}`);
  return [...groups.values()].flatMap((members) => {
    const [first] = members;
    const wanted = members.reduce((sum, one) => sum + one.wanted, 0);
    return first === undefined ? [] : [{ namespace: first.namespace, urgent: first.urgent, wanted, members }];
  });
}

/** What each preload gets: of what its namespace gets. */
function sharePlaces(free: number, demands: readonly Demand[], standing: Standing): Map<string, number> {
  const shares = [...shareAmong(free, linesOf(demands), standing)];
  return new Map(
    shares.flatMap(([{ members }, places]) => [...shareWithin(places, members, standing.servedAt)]),
  );
}
const share = (free: number, demands: Demand[], standing: Partial<Standing> = {}) =>
  Object.fromEntries(sharePlaces(free, demands, { ...NOBODY, ...standing }));

test('where there is room for all, all get what they want', () => {
  assert.deepEqual(share(8, [demand('a/x', 3, 2), demand('b/x', 5)]), { 'a/x': 3, 'b/x': 5 });
});

test('namespaces share equally, however many preloads each has', () => {
  const many = Array.from({ length: 50 }, (_, n) => demand(`evil/${n}`, 20));
  const got = share(10, [...many, demand('shop/web', 20)]);
  assert.equal(got['shop/web'], 5);
});

test('the preloads of a namespace share what it gets, the smallest first', () => {
  const got = share(10, [demand('a/large', 1000, 5), demand('a/small', 3), demand('a/new', 9)]);
  assert.deepEqual(got, { 'a/large': 1, 'a/small': 3, 'a/new': 6 });
});

test('what a namespace has already counts', () => {
  const taken = (namespace: string) => (namespace === 'a' ? 6 : 0);
  assert.deepEqual(share(8, [demand('a/x', 9, 6), demand('b/x', 9)], { taken }), { 'a/x': 1, 'b/x': 7 });
});

test('what a rollout waits for comes before all else, in every namespace', () => {
  const got = share(10, [demand('a/by-hand!', 50), demand('b/held', 8), demand('c/by-hand!', 50)]);
  assert.deepEqual(got, { 'b/held': 8, 'a/by-hand!': 1, 'c/by-hand!': 1 });
});

test('a namespace waits with its rollout for no pull of its own that is not urgent', () => {
  const taken = (_: string, urgentOnly: boolean) => (urgentOnly ? 0 : 9);
  assert.deepEqual(share(2, [demand('a/held', 5), demand('b/held', 5)], { taken }), {
    'a/held': 1,
    'b/held': 1,
  });
});

test('a single place goes to who has waited longest', () => {
  const servedAt = (id: string) => ({ a: 3, 'a/x': 3, b: 2, 'b/x': 2, 'b/y': 1 })[id] ?? 0;
  assert.deepEqual(share(1, [demand('a/x', 5), demand('b/x', 5), demand('b/y', 5)], { servedAt }), {
    'b/y': 1,
  });
});

const sum = (numbers: Iterable<number>) => [...numbers].reduce((a, b) => a + b, 0);
const anySituation = fc
  .record({
    free: fc.nat(60),
    counts: fc.array(
      fc.record({ ns: fc.nat(3), urgent: fc.boolean(), running: fc.nat(20), wanted: fc.nat(20) }),
      {
        maxLength: 10,
      },
    ),
  })
  .map(({ free, counts }) => {
    const demands = counts.map(
      ({ ns, urgent, running, wanted }, index): Demand => ({
        ...{ key: `ns${ns}/${index}`, namespace: `ns${ns}`, urgent, running, wanted },
      }),
    );
    const taken = (namespace: string, urgentOnly: boolean) =>
      sum(
        demands
          .filter((one) => one.namespace === namespace && (one.urgent || !urgentOnly))
          .map(({ running }) => running),
      );
    const grants = sharePlaces(free, demands, { ...NOBODY, taken });
    const after = demands.map((one) => ({ ...one, granted: grants.get(one.key) ?? 0 }));
    /** Of a namespace, once what is granted has begun. */
    const has = (namespace: string, urgentOnly: boolean) =>
      taken(namespace, urgentOnly) +
      sum(
        after
          .filter((one) => one.namespace === namespace && (one.urgent || !urgentOnly))
          .map(({ granted }) => granted),
      );
    return { free, demands, after, has };
  });

test('no more is given than there is, nobody gets more than wanted, and nothing is left over', () => {
  fc.assert(
    fc.property(anySituation, ({ free, demands, after }) => {
      for (const { granted, wanted } of after) assert.ok(granted >= 0 && granted <= wanted);
      const wanted = sum(demands.map((one) => one.wanted));
      assert.equal(sum(after.map(({ granted }) => granted)), Math.min(free, wanted));
    }),
  );
});

test('as long as an urgent pull goes without, no other one gets a place', () => {
  fc.assert(
    fc.property(anySituation, ({ after }) => {
      const short = after.some(({ urgent, granted, wanted }) => urgent && granted < wanted);
      if (short) assert.equal(sum(after.filter(({ urgent }) => !urgent).map(({ granted }) => granted)), 0);
    }),
  );
});

test('no namespace gets a place while another one with two fewer goes without', () => {
  fc.assert(
    fc.property(anySituation, ({ after, has }) => {
      for (const rich of after.filter(({ granted }) => granted > 0)) {
        for (const poor of after.filter(({ granted, wanted }) => granted < wanted)) {
          if (poor.urgent !== rich.urgent || poor.namespace === rich.namespace) continue;
          const [more, fewer] = [has(rich.namespace, rich.urgent), has(poor.namespace, rich.urgent)];
          assert.ok(more <= fewer + 1, `${rich.namespace} has ${more}, ${poor.namespace} ${fewer}`);
        }
      }
    }),
  );
});

test('in a namespace no preload gets a place while another one with two fewer goes without', () => {
  fc.assert(
    fc.property(anySituation, ({ after }) => {
      for (const rich of after.filter(({ granted }) => granted > 0)) {
        for (const poor of after.filter(({ granted, wanted }) => granted < wanted)) {
          if (poor.namespace !== rich.namespace || poor.urgent !== rich.urgent) continue;
          assert.ok(rich.running + rich.granted <= poor.running + poor.granted + 1);
        }
      }
    }),
  );
});

test('what a thousand preloads of one namespace want takes nothing from another one, and no time', () => {
  const many = Array.from({ length: 10_000 }, (_, n) => demand(`evil/${n}`, 1000));
  const began = performance.now();
  const got = share(200, [...many, demand('shop/web', 100)]);
  assert.equal(got['shop/web'], 100);
  assert.ok(performance.now() - began < 2000);
});
