import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../src/clock.ts';
import { createWorkQueue } from '../../src/cluster/work-queue.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

type Answer = number | undefined | Error;

/** A queue whose runs end when the test says so, or at once with the answers given. */
function world({ started = true } = {}) {
  const clock = manualClock();
  const { log, lines } = logDouble();
  const runs: string[] = [];
  const open: { key: string; end(answer: Answer): Promise<void> }[] = [];
  const queue = createWorkQueue({
    name: 'test',
    clock,
    log,
    random: () => 0.999,
    reconcile(key) {
      runs.push(key);
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
      open.push({
        key,
        async end(answer) {
          if (answer instanceof Error) reject(answer);
          else resolve(answer);
          await nextTurn();
        },
      });
      return promise;
    },
  });
  if (started) queue.start();
  return {
    queue,
    runs,
    lines,
    clock,
    /** Ends the run that began first. */
    end: async (answer: Answer = undefined) => {
      const run = open.shift();
      assert.ok(run, 'nothing runs');
      await run.end(answer);
    },
    /** Lets time pass and returns how many runs began meanwhile. */
    pass(ms: number) {
      const before = runs.length;
      clock.advance(ms);
      return runs.length - before;
    },
  };
}

test('a key that is added is reconciled at once', () => {
  const { queue, runs, pass } = world();
  queue.add('a');
  assert.equal(pass(0), 1);
  assert.deepEqual(runs, ['a']);
});

test('however often a key is added, it is reconciled once', () => {
  const { queue, pass } = world();
  for (let n = 0; n < 100; n += 1) queue.add('a');
  assert.equal(pass(1000), 1);
});

test('before the start keys are gathered, and all are taken then', () => {
  const { queue, runs, pass } = world({ started: false });
  for (const key of ['a', 'b', 'a']) queue.add(key);
  assert.equal(pass(1000), 0);
  queue.start();
  pass(0);
  assert.deepEqual(runs, ['a', 'b']);
});

test('keys are reconciled side by side, one key never twice at a time', async () => {
  const { queue, runs, pass, end } = world();
  queue.add('a');
  queue.add('b');
  pass(0);
  assert.deepEqual(runs, ['a', 'b']);
  queue.add('a');
  assert.equal(pass(60_000), 0);
  await end();
  pass(1000);
  assert.deepEqual(runs, ['a', 'b', 'a']);
});

test('what is added during a run is reconciled again after it, once', async () => {
  const { queue, pass, end } = world();
  queue.add('a');
  pass(0);
  queue.add('a');
  queue.add('a');
  await end();
  assert.equal(pass(1000), 1);
  await end();
  assert.equal(pass(100_000), 0);
});

test('a storm is gathered: with a wake-up pending, additions run 25 ms after the last run', async () => {
  const { queue, pass, end } = world();
  queue.add('a');
  pass(0);
  await end(60_000);
  queue.add('a');
  assert.equal(pass(24), 0);
  queue.add('a');
  assert.equal(pass(1), 1);
});

test('it wakes up when the run said so, if nothing comes before', async () => {
  const { queue, pass, end } = world();
  queue.add('a');
  pass(0);
  await end(5000);
  assert.equal(pass(4999), 0);
  assert.equal(pass(1), 1);
  await end(5000);
  queue.add('a');
  assert.equal(pass(25), 1);
  await end();
  assert.equal(pass(100_000), 0, 'the wake-up is that of the last run');
});

test('a wake-up further away than a timer can be set comes early rather than at once', async () => {
  const { queue, pass, end } = world();
  queue.add('a');
  pass(0);
  await end(2 ** 40);
  assert.equal(pass(23 * 3600_000), 0);
});

test('a run that fails is logged and tried again, with a back-off that doubles up to 30 s', async () => {
  const { queue, pass, end, lines, clock } = world();
  queue.add('a');
  pass(0);
  const waits: number[] = [];
  for (let n = 0; n < 9; n += 1) {
    await end(new Error('no'));
    const [wait = 0] = clock.timers();
    waits.push(Math.round(wait));
    pass(wait);
  }
  assert.deepEqual(waits, [501, 1000, 1999, 3997, 7993, 15_985, 29_971, 29_971, 29_971]);
  assert.equal(lines.length, 9);
  await end();
  queue.add('a');
  pass(25);
  await end(new Error('no'));
  assert.equal(Math.round(clock.timers()[0] ?? 0), 501, 'a success begins anew');
});

test('an addition during the back-off neither undoes it nor is lost', async () => {
  const { queue, pass, end } = world();
  queue.add('a');
  pass(0);
  await end(new Error('no'));
  queue.add('a');
  assert.equal(pass(400), 0);
  assert.equal(pass(200), 1);
});

test('an addition during a run that fails waits for the back-off', async () => {
  const { queue, pass, end } = world();
  queue.add('a');
  pass(0);
  queue.add('a');
  await end(new Error('no'));
  assert.equal(pass(400), 0);
  assert.equal(pass(200), 1);
  await end();
  assert.equal(pass(100_000), 0);
});

test('a stop waits for what runs, and nothing begins after it', async () => {
  const { queue, pass, end, runs } = world();
  queue.add('a');
  queue.add('b');
  pass(0);
  await end(1000);
  queue.add('b');
  let stopped = false;
  const stop = queue.stop().then(() => {
    stopped = true;
  });
  await nextTurn();
  assert.equal(stopped, false);
  await end(new Error('aborted'));
  await stop;
  queue.add('c');
  assert.equal(pass(100_000), 0);
  assert.deepEqual(runs, ['a', 'b']);
});

test('what is not urgent waits for its time, or goes with what is', async () => {
  const { queue, runs, clock } = world();
  queue.addWithin('a', 1000);
  clock.advance(500);
  queue.addWithin('a', 1000);
  clock.advance(499);
  assert.deepEqual(runs, []);
  clock.advance(1);
  assert.deepEqual(runs, ['a'], 'the first of them says when');
  queue.addWithin('b', 1000);
  queue.add('b');
  clock.advance(0);
  assert.deepEqual(runs, ['a', 'b']);
  clock.advance(5000);
  assert.deepEqual(runs, ['a', 'b']);
});

test('a namespace with thousands of keys delays a key of another namespace by a few runs', () => {
  const { queue, runs, pass } = world();
  for (let n = 0; n < 5000; n += 1) queue.add(`hostile/${n}`);
  for (let n = 0; n < 3; n += 1) queue.add(`shop/${n}`);
  pass(0);
  const turns = [0, 1, 2].map((n) => runs.indexOf(`shop/${n}`));
  assert.deepEqual(turns, [1, 3, 5]);
  assert.equal(runs.length, 5003);
});

/** A queue with far more to do than 200 turns can. Returns how many runs each of them had. */
function turnsWithRunsOf(ms: number): number[] {
  let now = 0;
  const due: (() => void)[] = [];
  // Timers in order, as Node's; time passes in the runs alone.
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    setTimer(_ms, fn) {
      due.push(fn);
      return () => undefined;
    },
  };
  let runs = 0;
  const queue = createWorkQueue({
    name: 'test',
    clock,
    log: logDouble().log,
    random: () => 0,
    async reconcile() {
      runs += 1;
      now += ms;
      return undefined;
    },
  });
  queue.start();
  for (let n = 0; n < 1000; n += 1) queue.add(`hostile/${n}`);
  // The timers of the keys themselves.
  for (const fn of due.splice(0)) fn();
  return Array.from({ length: 200 }, () => {
    const before = runs;
    for (const fn of due.splice(0)) fn();
    return runs - before;
  });
}

test('whatever there is to do, others have the event loop after 4 runs of 3 ms', () => {
  const turns = turnsWithRunsOf(3);
  assert.equal(Math.max(...turns), 4);
  assert.ok(turns.reduce((sum, runs) => sum + runs, 0) >= 796);
});

test('others have the event loop after each run, if runs take longer than 100 ms', () => {
  const [first, ...turns] = turnsWithRunsOf(120);
  assert.equal(first, 4);
  assert.deepEqual(new Set(turns), new Set([1]));
});

test('what was due when it was stopped does not begin', () => {
  const { queue, runs, clock } = world();
  for (let n = 0; n < 100; n += 1) queue.add(`shop/${n}`);
  void queue.stop();
  clock.advance(1000);
  assert.deepEqual(runs, []);
});

test('a namespace in which everything fails has ten lines in the log at once, and takes none from another', async () => {
  const { queue, pass, end, lines } = world();
  for (let n = 0; n < 200; n += 1) queue.add(`hostile/${n}`);
  pass(0);
  for (let n = 0; n < 200; n += 1) await end(new Error('no'));
  queue.add('shop/web');
  pass(0);
  while (lines.at(-1)?.['key'] !== 'shop/web') await end(new Error('no'));
  assert.equal(lines.filter(({ key }) => String(key).startsWith('hostile/')).length, 10);
  assert.equal(lines.length, 11);
});
