import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createAnswerTexts } from '../../src/cluster/answer-texts.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const CHUNK = 64 * KIB;

/** Answers, what is in memory of those that are being read, and how to stop some half way. */
function world() {
  const texts = createAnswerTexts(manualClock());
  const inMemory = new Map<object, number>();
  const closed: string[] = [];
  let peak = 0;

  async function* body(namespace: string, bytes: number, stalled?: Promise<void>) {
    const self = {};
    try {
      for (let sent = 0; sent < bytes; sent += CHUNK) {
        inMemory.set(self, sent + CHUNK);
        peak = Math.max(
          peak,
          [...inMemory.values()].reduce((sum, n) => sum + n, 0),
        );
        yield Buffer.alloc(Math.min(CHUNK, bytes - sent), 'x');
        await nextTurn();
      }
      await stalled;
    } finally {
      inMemory.delete(self);
      closed.push(namespace);
    }
  }
  const read = (
    namespace: string | undefined,
    bytes: number,
    { stalled, maxBytes = 16 * MIB, signal = new AbortController().signal }: Partial<ReadOptions> = {},
  ) => texts.read(body(namespace ?? '', bytes, stalled), { namespace, maxBytes, signal });
  return { read, closed, peak: () => peak };
}

interface ReadOptions {
  readonly stalled: Promise<void>;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

test('of large answers about one namespace two at a time are read to their end', async () => {
  const { read, peak } = world();
  const read32 = await Promise.all(Array.from({ length: 32 }, () => read('foe', 3 * MIB)));
  assert.ok(read32.every((text) => text?.length === 3 * MIB));
  assert.ok(peak() <= 2 * 3 * MIB + 32 * (256 * KIB + CHUNK), `${peak()} bytes in memory`);
});

test('neither small answers, nor those about other namespaces or about the cluster wait for them', async () => {
  const { read } = world();
  const { promise: stalled, resolve: end } = Promise.withResolvers<void>();
  const slow = Array.from({ length: 32 }, () => read('foe', MIB, { stalled }));
  await nextTurn();
  assert.equal((await read('foe', 200 * KIB))?.length, 200 * KIB);
  assert.equal((await read('shop', MIB))?.length, MIB);
  assert.equal((await read(undefined, MIB))?.length, MIB);
  end();
  await Promise.all(slow);
});

test('one that waits for its turn ends with its call, and is closed', async () => {
  const { read, closed } = world();
  const { promise: stalled, resolve: end } = Promise.withResolvers<void>();
  const slow = [1, 2].map(() => read('foe', MIB, { stalled }));
  const call = new AbortController();
  const waiting = read('foe', MIB, { signal: call.signal });
  for (let turns = 0; turns < 20; turns += 1) await nextTurn();
  assert.deepEqual(closed, []);
  const late = new Error('the call took too long');
  call.abort(late);
  await assert.rejects(waiting, late);
  assert.deepEqual(closed, ['foe']);
  end();
  await Promise.all(slow);
});

for (const [what, bytes, maxBytes] of [
  ['small', 2000, 1000],
  ['large', 3 * MIB, 2 * MIB],
] as const) {
  test(`a ${what} answer that is longer than its limit is not read to its end, and its turn is over`, async () => {
    const { read, closed } = world();
    for (let n = 0; n < 5; n += 1) assert.equal(await read('foe', bytes, { maxBytes }), undefined);
    assert.equal(closed.length, 5);
    assert.equal((await read('foe', maxBytes, { maxBytes }))?.length, maxBytes);
  });
}
