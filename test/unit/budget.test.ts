import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBudget } from '../../src/preloads/budget/budget.ts';
import type { Place } from '../../src/preloads/budget/take-back.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { puller } from '../support/unit/preload-builder.ts';

/** A budget, and preloads that want so many pulls and start them as soon as they are woken. */
function world(cap: number, wants: ReadonlyMap<string, number>) {
  const clock = manualClock();
  const left = new Map(wants);
  const places: (Place & { readonly key: string })[] = [];
  const started: string[] = [];
  const awake: string[] = [];

  function take(key: string): void {
    const [namespace = ''] = key.split('/');
    const running = places.filter((place) => place.key === key).length;
    budget.take({ key, namespace, urgent: true, running, wanted: left.get(key) ?? 0 }, (pulls) => {
      left.set(key, (left.get(key) ?? 0) - pulls);
      for (let n = 0; n < pulls; n += 1) {
        started.push(key);
        const { pod } = puller().with({ namespace });
        places.push({ key, pod, urgent: true, since: clock.now(), state: 'pulling' });
      }
    });
  }
  const budget = createBudget({
    ...{ cap, timeoutMs: 900_000, clock },
    running: () => places.length,
    places: () => places,
    takeBack: async () => true,
    wake: (key) => void awake.push(key),
  });
  return {
    clock,
    budget,
    started,
    take,
    /** The oldest pull ends, and whoever is woken looks. */
    end(): void {
      places.shift();
      budget.share();
      for (let key = awake.shift(); key !== undefined; key = awake.shift()) take(key);
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

test('a budget that is stopped leaves no timer behind', () => {
  const { take, clock, budget } = world(1, new Map([['a/1', 5]]));
  take('a/1');
  assert.equal(clock.timers().length, 1);
  budget.stop();
  budget.share();
  assert.deepEqual(clock.timers(), []);
});
