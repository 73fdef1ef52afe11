import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { createBudget } from '../../src/preloads/budget/budget.ts';
import type { Place } from '../../src/preloads/budget/take-back.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { puller } from '../support/unit/preload-builder.ts';

/**
 * A budget, and preloads that want so many pulls and start them as soon as they are woken. The keys of those that are not urgent end with
 * an exclamation mark.
 */
function world(cap: number, wants: ReadonlyMap<string, number>) {
  const clock = manualClock();
  const left = new Map(wants);
  const places: (Place & { readonly key: string })[] = [];
  const started: string[] = [];
  const awake: string[] = [];

  function take(key: string): void {
    const [namespace = ''] = key.split('/');
    const running = places.filter((place) => place.key === key).length;
    const urgent = !key.endsWith('!');
    budget.take({ key, namespace, urgent, running, wanted: left.get(key) ?? 0 }, (pulls) => {
      left.set(key, (left.get(key) ?? 0) - pulls);
      for (let n = 0; n < pulls; n += 1) {
        started.push(key);
        const { pod } = puller().with({ namespace });
        places.push({ key, pod, urgent, since: clock.now(), state: 'pulling' });
      }
    });
  }
  const budget = createBudget({
    ...{ cap, timeoutMs: 900_000, clock },
    running: () => places.length,
    stuck: () => 0,
    places: () => places,
    takeBack(place) {
      const [taken] = places.splice(
        places.findIndex(({ pod }) => pod === place.pod),
        1,
      );
      if (taken !== undefined) left.set(taken.key, (left.get(taken.key) ?? 0) + 1);
      queueMicrotask(lookAgain);
    },
    wake: (key) => void awake.push(key),
  });
  function lookAgain(): void {
    budget.share();
    for (let key = awake.shift(); key !== undefined; key = awake.shift()) take(key);
  }
  return {
    clock,
    budget,
    started,
    take,
    places,
    lookAgain,
    /** The oldest pull ends, and whoever is woken looks. */
    end(): void {
      places.shift();
      lookAgain();
    },
  };
}

test('a single place goes from namespace to namespace, and in each from preload to preload', () => {
  const keys = ['a/1', 'a/2', 'a/3', 'b/1'];
  const { take, end, started, budget } = world(1, new Map(keys.map((key) => [key, 3])));
  for (const key of keys) take(key);
  for (let n = 0; n < 7; n += 1) end();
  assert.deepEqual(started, ['a/1', 'b/1', 'a/2', 'b/1', 'a/3', 'b/1', 'a/1', 'a/2']);
  budget.stop();
});

test('ten thousand preloads that wait make no pull that ends take long', () => {
  const keys = Array.from({ length: 10_000 }, (_, n) => `a/${n}`);
  const { take, end, budget } = world(200, new Map(keys.map((key) => [key, 100])));
  const began = performance.now();
  for (const key of keys) take(key);
  for (let n = 0; n < 200; n += 1) end();
  assert.ok(performance.now() - began < 5000);
  budget.stop();
});

test('holds of some namespaces that want places without end keep no preload of another one waiting for ever', async () => {
  const floods = fc.record({
    cap: fc.integer({ min: 2, max: 12 }),
    namespaces: fc.integer({ min: 1, max: 4 }),
    pullSeconds: fc.constantFrom(5, 30, 600, 100_000),
  });
  await fc.assert(
    fc.asyncProperty(floods, async ({ cap, namespaces, pullSeconds }) => {
      const foes = Array.from({ length: namespaces }, (_, n) => [`foe-${n}/1`, 1e6] as const);
      const { clock, budget, take, places, lookAgain, started } = world(
        cap,
        new Map([...foes, ['shop/1!', 2], ['foe-0/1!', 1e6]]),
      );
      const endAfter = (ms: number, isOne: (key: string) => boolean) => {
        for (const place of [...places])
          if (isOne(place.key) && clock.now() - place.since >= ms) places.splice(places.indexOf(place), 1);
      };
      for (const [key] of foes) take(key);
      for (const key of ['shop/1!', 'foe-0/1!']) take(key);
      assert.ok(!started.includes('shop/1!'), 'holds come first');
      const begunAt: number[] = [];
      for (let seconds = 0; seconds < 2 * 3600 && begunAt.length < 2; seconds += 5) {
        clock.advance(5000);
        await nextTurn();
        endAfter(pullSeconds * 1000, (key) => key !== 'shop/1!');
        endAfter(60_000, (key) => key === 'shop/1!');
        lookAgain();
        begunAt.push(
          ...started
            .filter((key) => key === 'shop/1!')
            .slice(begunAt.length)
            .map(() => seconds),
        );
        assert.ok(places.length <= cap);
        assert.ok(places.filter(({ urgent }) => !urgent).length <= 1, 'holds have all other places');
      }
      budget.stop();
      assert.equal(begunAt.length, 2);
    }),
    { numRuns: 30 },
  );
});

test('where there is a single place, holds keep it', async () => {
  const { clock, budget, take, started } = world(
    1,
    new Map([
      ['foe/1', 1e6],
      ['shop/1!', 1],
    ]),
  );
  take('foe/1');
  take('shop/1!');
  for (let n = 0; n < 80; n += 1) {
    clock.advance(10_000);
    await nextTurn();
  }
  assert.ok(!started.includes('shop/1!'));
  budget.stop();
});

test('a budget that is stopped leaves no timer behind', () => {
  const { take, clock, budget } = world(1, new Map([['a/1', 5]]));
  take('a/1');
  assert.equal(clock.timers().length, 1);
  budget.stop();
  budget.share();
  assert.deepEqual(clock.timers(), []);
});
