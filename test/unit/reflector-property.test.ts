import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { systemClock } from '../../src/clock.ts';
import { createApiClient } from '../../src/cluster/api-client.ts';
import { createReflector } from '../../src/cluster/reflector.ts';
import { asString, at } from '../../src/json.ts';
import {
  type ApiServerDouble,
  reset,
  startApiServerDouble,
  THINGS,
} from '../support/unit/api-server-double.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { until } from '../support/unit/until.ts';

const name = fc.constantFrom('a', 'b', 'c', 'd');
const write = fc.oneof(
  fc.record({ do: fc.constant('put' as const), name, spec: fc.nat(2) }),
  fc.record({ do: fc.constant('remove' as const), name }),
);
type Write = typeof write extends fc.Arbitrary<infer W> ? W : never;
const step = fc.oneof(
  { weight: 6, arbitrary: write },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('cut' as const, 'end' as const, 'bookmark' as const, 'reset-next' as const),
    }),
  },
  // What is written while nobody watches, and then perhaps forgotten.
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('outage' as const),
      writes: fc.array(write, { maxLength: 6 }),
      forgotten: fc.constantFrom('nothing' as const, 'status' as const, 'event' as const),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function store(double: ApiServerDouble, write: Write): void {
  if (write.do === 'put') double.put(write.name, write.spec);
  else double.remove(write.name);
}

async function apply(double: ApiServerDouble, step: Step): Promise<void> {
  switch (step.do) {
    case 'put':
    case 'remove':
      return store(double, step);
    case 'settle':
      return until(() => double.openWatches > 0, 'the watch is open');
    case 'cut':
      return double.cutWatches();
    case 'end':
      return double.endWatches();
    case 'bookmark':
      return double.bookmark();
    case 'reset-next':
      return double.next(reset);
    case 'outage':
      double.cutWatches();
      for (const each of step.writes) store(double, each);
      if (step.forgotten !== 'nothing') double.compact(step.forgotten);
  }
}

test('whatever happens on the way, the cache ends as the server, and the reports add up to it', async () => {
  const double = await startApiServerDouble();
  const client = createApiClient(double.cluster(), { clock: systemClock, random: () => 0 });
  const { log } = logDouble();
  const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const reported = new Map<string, string>();
    const wrong: string[] = []; // asserting in a callback would only be logged
    const reflector = createReflector<{ key: string; seen: string }>({
      client,
      path: THINGS,
      parse: (raw) => ({
        key: `default/${asString(at(raw, 'metadata', 'name'))}`,
        seen: `${at(raw, 'metadata', 'uid')} ${JSON.stringify(at(raw, 'spec'))}`,
      }),
      log,
      clock: systemClock,
      random: () => 0,
    });
    const cached = () => new Map([...reflector.values()].map(({ key, seen }) => [key, seen]));
    const stored = () =>
      new Map(
        [...double.things.values()].map(({ metadata, spec }) => [
          `default/${metadata.name}`,
          `${metadata.uid} ${JSON.stringify(spec)}`,
        ]),
      );
    try {
      reflector.start({
        onChange(key, now, before) {
          if (reported.get(key) !== before?.seen) wrong.push(`${key}: not what was reported before`);
          if (now === undefined) reported.delete(key);
          else reported.set(key, now.seen);
          // Another uid is another object: never a change of the one before.
          if (now !== undefined && before !== undefined && uidOf(now.seen) !== uidOf(before.seen)) {
            wrong.push(`${key}: another object as a change`);
          }
        },
      });
      for (const each of steps) await apply(double, each);
      await until(
        () => reflector.hasSynced() && isDeepStrictEqual(cached(), stored()),
        'the cache is the server',
      );
      assert.deepEqual(reported, stored());
      assert.deepEqual(wrong, []);
    } finally {
      await reflector.stop();
    }
  });
  try {
    await fc.assert(property, { numRuns: 200 });
  } finally {
    await client.close();
    await double.close();
  }
});

function uidOf(seen: string): string | undefined {
  return seen.split(' ')[0];
}
