import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPullSharers, type Sharer } from '../../src/preloads/pods/pull-sharers.ts';

const PULLS = ['a', 'b'].flatMap((namespace) => ['x', 'y'].map((pull) => ({ namespace, pull })));
const anyStep = fc.record({
  name: fc.constantFrom('a/1', 'a/2', 'b/1'),
  act: fc.constantFrom('add' as const, 'remove' as const, 'use' as const),
  pulls: fc.subarray(['x', 'y'], { minLength: 1 }),
  live: fc.boolean(),
  urgent: fc.boolean(),
});

test('whatever comes and goes, what is counted is what a recount says', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
      const sharers = createPullSharers();
      const there = new Map<string, Sharer>();
      for (const { name, act, pulls, live, urgent } of steps) {
        const [namespace = ''] = name.split('/');
        const known = there.get(name);
        if (act === 'add' && known === undefined) {
          const sharer = { pulls: pulls.map((pull) => ({ namespace, pull })), live, urgent };
          there.set(name, sharer);
          sharers.add(name, sharer);
        }
        if (act === 'remove' && known !== undefined) {
          there.delete(name);
          sharers.remove(name, known);
        }
        if (act === 'use' && known !== undefined) sharers.use(known, { live, urgent });

        for (const wanted of PULLS) {
          const needing = [...there].filter(([, { pulls: listed }]) =>
            listed.some((one) => one.namespace === wanted.namespace && one.pull === wanted.pull),
          );
          assert.deepEqual(new Set(sharers.keysOf(wanted)), new Set(needing.map(([key]) => key)));
          assert.equal(sharers.isListed(wanted), needing.length > 0);
          assert.equal(
            sharers.isNeeded(wanted),
            needing.some(([, one]) => one.live),
          );
          assert.equal(
            sharers.isUrgent(wanted),
            needing.some(([, one]) => one.urgent),
          );
        }
      }
    }),
  );
});
