import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, asyncProperty, assert as check, constantFrom, integer, record } from 'fast-check';
import { createFairQueue } from '../../src/cluster/fair-queue.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

const NAMESPACES = ['a', 'b', 'c', 'd', 'e'] as const;
const ROOM = 5000;

interface Item {
  readonly namespace: string;
  readonly number: number;
}

/** A queue whose calls end when the test says so. */
function world() {
  const ends: (() => void)[] = [];
  /** Numbers of items, by namespace. */
  const handled = new Map<string, number[]>(NAMESPACES.map((name) => [name, []]));
  const count = () => new Map<string, number>(NAMESPACES.map((name) => [name, 0]));
  const [given, dropped] = [count(), count()];
  const plusOne = (counts: Map<string, number>, name: string) =>
    counts.set(name, (counts.get(name) ?? 0) + 1);
  let waiting = 0;
  const queue = createFairQueue<Item>({
    ...{ room: ROOM, atATime: 4 },
    handle: ({ namespace, number }) => {
      handled.get(namespace)?.push(number);
      waiting -= 1;
      return new Promise((resolve) => ends.push(resolve));
    },
    onDropped({ namespace }) {
      plusOne(dropped, namespace);
      waiting -= 1;
    },
    clock: manualClock(),
  });
  return {
    handled,
    given,
    dropped,
    waiting: () => waiting,
    add(namespace: string, items: number): void {
      for (let n = 0; n < items; n += 1) {
        queue.add({ namespace, number: given.get(namespace) ?? 0 });
        plusOne(given, namespace);
        waiting += 1;
      }
    },
    async end(calls: number): Promise<void> {
      for (const end of ends.splice(0, calls)) {
        end();
        await Promise.resolve();
      }
    },
    async settle(): Promise<void> {
      let over = false;
      const settled = queue.settled().then(() => {
        over = true;
      });
      while (!over) {
        for (const end of ends.splice(0)) end();
        await Promise.resolve();
      }
      await settled;
    },
  };
}

test('whatever floods there are: in order, bounded, and no namespace within its share loses an item', async () => {
  const burst = record({
    namespace: constantFrom(...NAMESPACES),
    items: constantFrom(1, 10, 900, 6000),
    ends: integer({ min: 0, max: 200 }),
  });
  await check(
    asyncProperty(array(burst, { maxLength: 12 }), async (bursts) => {
      const { handled, given, dropped, waiting, add, end, settle } = world();
      for (const { namespace, items, ends } of bursts) {
        add(namespace, items);
        // The drain of each namespace has one more in its hands.
        assert.ok(waiting() <= ROOM + NAMESPACES.length, `${waiting()} wait`);
        await end(ends);
      }
      await settle();
      for (const name of NAMESPACES) {
        const numbers = handled.get(name) ?? [];
        assert.deepEqual(
          numbers,
          numbers.toSorted((a, b) => a - b),
          'in order',
        );
        assert.equal(numbers.length + (dropped.get(name) ?? 0), given.get(name), 'none is lost in silence');
        if ((given.get(name) ?? 0) <= ROOM / NAMESPACES.length) assert.equal(dropped.get(name), 0);
      }
    }),
    { numRuns: 30 },
  );
});
