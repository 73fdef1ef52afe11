import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Demand, fairShare } from '../../src/preload/fair-share.ts';

const share = (cap: number, ...demands: Demand[]) => Object.fromEntries(fairShare(cap, demands));

test('where there is room for all, all get what they want', () => {
  const got = share(10, { key: 'a', running: 2, wanted: 3 }, { key: 'b', running: 0, wanted: 5 });
  assert.deepEqual(got, { a: 3, b: 5 });
});

test('a small one is served before a large one gets more', () => {
  const got = share(10, { key: 'large', running: 5, wanted: 1000 }, { key: 'small', running: 0, wanted: 3 });
  assert.deepEqual(got, { small: 3, large: 2 });
});

test('equals share equally', () => {
  const got = share(9, ...['a', 'b', 'c'].map((key) => ({ key, running: 0, wanted: 100 })));
  assert.deepEqual(got, { a: 3, b: 3, c: 3 });
});

const anyDemands = fc
  .array(fc.record({ running: fc.nat(30), wanted: fc.nat(30) }), { maxLength: 8 })
  .map((all) => all.map((demand, index) => ({ key: `k${index}`, ...demand })));
const sum = (numbers: Iterable<number>) => [...numbers].reduce((a, b) => a + b, 0);

test('no more run than the cap allows, nobody gets more than wanted, nothing is taken back, no room is left over', () => {
  fc.assert(
    fc.property(fc.nat(100), anyDemands, (cap, demands) => {
      const grants = fairShare(cap, demands);
      const running = sum(demands.map((demand) => demand.running));
      const wanted = sum(demands.map((demand) => demand.wanted));
      for (const { key, wanted: limit } of demands) {
        assert.ok((grants.get(key) ?? 0) >= 0);
        assert.ok((grants.get(key) ?? 0) <= limit);
      }
      assert.equal(sum(grants.values()), Math.max(0, Math.min(cap - running, wanted)));
    }),
  );
});

test('nobody gets a pull while somebody with two fewer goes without', () => {
  fc.assert(
    fc.property(fc.nat(100), anyDemands, (cap, demands) => {
      const grants = fairShare(cap, demands);
      const after = demands.map((demand) => {
        const granted = grants.get(demand.key) ?? 0;
        return { ...demand, granted, total: demand.running + granted };
      });
      for (const rich of after.filter(({ granted }) => granted > 0)) {
        for (const poor of after.filter(({ granted, wanted }) => granted < wanted)) {
          assert.ok(rich.total <= poor.total + 1, `${rich.key} has ${rich.total}, ${poor.key} ${poor.total}`);
        }
      }
    }),
  );
});
