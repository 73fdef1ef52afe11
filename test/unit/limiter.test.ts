import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { array, asyncProperty, assert as check, constantFrom, integer, record } from 'fast-check';
import { createLimiter } from '../../src/limiter.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

interface Running {
  readonly namespace: string;
  readonly end: () => Promise<void>;
}

/** Calls that end when the test says so. */
function world(places: number) {
  const clock = manualClock();
  const limiter = createLimiter(places, clock);
  const running: Running[] = [];
  /** Namespaces of the calls, in the order in which they began. */
  const begun: string[] = [];
  const of = (namespace: string) => running.filter((call) => call.namespace === namespace);
  return {
    clock,
    limiter,
    begun,
    running,
    of,
    async call(namespace: string, count = 1): Promise<void> {
      for (let n = 0; n < count; n += 1) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const done = limiter(namespace, async () => {
          begun.push(namespace);
          const call = {
            namespace,
            async end() {
              running.splice(running.indexOf(call), 1);
              resolve();
              await done;
              await nextTurn();
            },
          };
          running.push(call);
          await promise;
        });
      }
      await nextTurn();
    },
  };
}

test('a namespace begins with one place, gets one more for each quick answer, and half of all at most', async () => {
  const { call, of, running } = world(8);
  await call('shop', 64);
  const held: number[] = [];
  for (let n = 0; n < 6; n += 1) {
    held.push(of('shop').length);
    await running[0]?.end();
  }
  assert.deepEqual(held, [1, 2, 3, 4, 4, 4]);
});

test('the calls of a namespace run in order, and each has its own result', async () => {
  const { limiter } = world(1);
  const order: number[] = [];
  const results = [0, 1, 2].map((index) =>
    limiter('shop', async () => {
      order.push(index);
      return index;
    }),
  );
  assert.deepEqual(await Promise.all(results), [0, 1, 2]);
  assert.deepEqual(order, [0, 1, 2]);
});

test('a call that fails gives its place on, and its error to its caller', async () => {
  const { limiter, call, begun } = world(1);
  const refused = limiter('shop', () => Promise.reject(new Error('refused')));
  const next = call('shop');
  await assert.rejects(refused, /refused/);
  await next;
  assert.deepEqual(begun, ['shop']);
});

test('the only place there is goes to everybody in turn', async () => {
  const { call, running, begun } = world(1);
  await call('a');
  await call('b', 3);
  await call('c', 2);
  await call('a');
  while (running.length > 0) await running[0]?.end();
  assert.deepEqual(begun, ['a', 'b', 'c', 'a', 'b', 'c', 'b']);
});

test('a namespace whose calls stop being answered leaves half of the places to others', async () => {
  const one = world(32);
  const { call, of } = one;
  await call('hostile', 200);
  for (let n = 0; n < 32; n += 1) await of('hostile')[0]?.end();
  assert.equal(of('hostile').length, 16);
  await call('shop', 200);
  for (let n = 0; n < 32; n += 1) await of('shop')[0]?.end();
  assert.equal(of('shop').length, 8);
});

test('as long as there are more places than namespaces, one that comes anew finds a place', async () => {
  const { call, of } = world(32);
  for (let n = 0; n < 31; n += 1) await call(`hostile-${n}`, 100);
  await call('shop');
  assert.equal(of('shop').length, 1);
});

test('all namespaces whose calls are slow have half of the places together, however many they are', async () => {
  const { clock, call, of, running } = world(32);
  for (let n = 0; n < 32; n += 1) await call(`hostile-${n}`, 10);
  assert.equal(running.length, 32, 'nothing is known of them yet');
  // As long as a call may take.
  clock.advance(10_000);
  for (const { end } of [...running]) await end();
  assert.equal(running.length, 16);
  await call('shop', 200);
  for (let n = 0; n < 64; n += 1) await of('shop')[0]?.end();
  assert.deepEqual([running.length - of('shop').length, of('shop').length], [16, 8]);
});

test('a namespace is slow while a call of it is, and for a minute after', async () => {
  const { clock, call, of } = world(4);
  async function most(): Promise<number> {
    await call('shop', 6);
    let held = 0;
    for (; of('shop').length > 0; await of('shop')[0]?.end()) held = Math.max(held, of('shop').length);
    return held;
  }
  assert.equal(await most(), 2);
  await call('shop');
  clock.advance(1001);
  await call('shop');
  assert.equal(of('shop').length, 1, 'half of the half');
  await of('shop')[0]?.end();
  assert.equal(await most(), 1);
  clock.advance(59_999);
  assert.equal(await most(), 1);
  clock.advance(1);
  assert.equal(await most(), 2);
});

test('a call that is aborted while it waits never begins, and holds up nobody', async () => {
  const { limiter, call, running, begun } = world(1);
  await call('shop');
  const abort = new AbortController();
  const waiting = limiter('other', () => Promise.resolve(begun.push('never')), abort.signal);
  await call('third');
  abort.abort(new Error('too late'));
  await assert.rejects(waiting, /too late/);
  await assert.rejects(
    limiter('other', () => Promise.resolve(), abort.signal),
    /too late/,
  );
  await running[0]?.end();
  assert.deepEqual(begun, ['shop', 'third']);
});

test('whoever asks for what: no more run than there are places, none is lost, and nobody waits for ever', async () => {
  const step = record({
    namespace: constantFrom('a', 'b', 'c', 'd', 'e'),
    calls: integer({ min: 0, max: 6 }),
    ends: integer({ min: 0, max: 6 }),
    ms: constantFrom(0, 10, 1500),
  });
  await check(
    asyncProperty(integer({ min: 1, max: 6 }), array(step, { maxLength: 30 }), async (places, steps) => {
      const { clock, call, running, begun } = world(places);
      let asked = 0;
      for (const { namespace, calls, ends, ms } of steps) {
        await call(namespace, calls);
        asked += calls;
        assert.ok(running.length <= places);
        clock.advance(ms);
        for (const { end } of running.slice(0, ends)) await end();
        assert.ok(running.length > 0 || begun.length === asked, 'somebody waits for nothing');
      }
      while (running.length > 0) await running[0]?.end();
      assert.equal(begun.length, asked);
    }),
    { numRuns: 100 },
  );
});
