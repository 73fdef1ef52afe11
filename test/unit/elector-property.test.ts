import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LEASE_MS, RETRY_MS } from '../../src/cluster/lease.ts';
import { type Fate, type Network, type Replica, replicas } from '../support/unit/lease-replicas.ts';

const REPLICAS = 3;
/** Clocks may run that much too slow or too fast, all at once. */
const RATE = { min: 0.9, max: 1.1, noNaN: true };

const machine = fc.record({
  offsetMs: fc.integer({ min: -1e9, max: 1e9 }),
  rate: fc.double(RATE),
  drainMs: fc.constantFrom(0, 300, 6000),
});
/** The last one stands for whoever leads. */
const which = fc.oneof(fc.nat(REPLICAS - 1), fc.constant(REPLICAS));
const step = fc.record({
  afterMs: fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 20_000 })),
  happens: fc.oneof(
    fc.record({ what: fc.constant('weather' as const), latencyMs: fc.nat(4000), badPercent: fc.nat(100) }),
    fc.record({ what: fc.constant('cut off' as const), which }),
    fc.record({ what: fc.constant('pause' as const), which }),
    fc.record({ what: fc.constant('resume' as const), which }),
    fc.record({ what: fc.constantFrom('kill' as const, 'stop' as const), which }),
  ),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const BAD: readonly Fate[] = ['refused', 'unheard', 'late', 'lost'];

/** From a seed, so that a failure can be seen again. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Place {
  replica: Replica;
  isCutOff: boolean;
  /** A stopped one comes back once it has ended. */
  isStopped: boolean;
}

async function play(
  seed: number,
  machines: readonly { offsetMs: number; rate: number; drainMs: number }[],
  steps: readonly Step[],
) {
  const random = randomFrom(seed);
  const { add, pass, acting, time } = replicas();
  let weather = { latencyMs: 10, badPercent: 0 };
  let healed = false;
  let landed = 0;
  const wrongWrites: string[] = []; // asserting in the replica would only fail its leader

  function networkOf(index: number): Network {
    return {
      latencyMs: () => random() * weather.latencyMs,
      fate() {
        if (healed) return 'served';
        if (places[index]?.isCutOff) return 'lost';
        if (random() * 100 >= weather.badPercent) return 'served';
        return BAD[Math.floor(random() * BAD.length)] ?? 'lost';
      },
    };
  }
  function start(index: number): Replica {
    const name = `replica-${index}`;
    return add({
      name,
      ...machines[index],
      network: networkOf(index),
      random,
      onWrite() {
        if (acting().some((other) => other !== name)) wrongWrites.push(`${name} at ${time.monotonic()} ms`);
      },
      onLanded() {
        landed += 1;
        if (acting().some((other) => other !== name))
          wrongWrites.push(`${name} landed at ${time.monotonic()} ms`);
      },
    });
  }
  const places: Place[] = [];
  for (let index = 0; index < REPLICAS; index += 1) {
    places.push({ replica: start(index), isCutOff: false, isStopped: false });
  }

  let handovers = 0;
  let before: string | undefined;
  function look(): void {
    const now = acting();
    assert.ok(now.length <= 1, `at ${time.monotonic()} ms ${now.join(' and ')} lead`);
    if (now[0] !== undefined && before !== undefined && now[0] !== before) handovers += 1;
    before = now[0] ?? before;
    assert.deepEqual(wrongWrites, []);
  }

  function happen({ happens }: Step): void {
    if (happens.what === 'weather') {
      weather = happens;
      return;
    }
    const leader = places.findIndex(({ replica }) => replica.isActing());
    const index = happens.which === REPLICAS ? leader : happens.which;
    const place = places[index];
    if (place === undefined) return;
    switch (happens.what) {
      case 'cut off':
        place.isCutOff = !place.isCutOff;
        return;
      case 'pause':
        place.replica.pause();
        return;
      case 'resume':
        place.replica.resume();
        return;
      case 'kill':
        place.replica.kill();
        Object.assign(place, { replica: start(index), isCutOff: false, isStopped: false });
        return;
      case 'stop':
        if (place.isStopped) return;
        place.isStopped = true;
        void place.replica.elector.stop().then(() => {
          if (place.isStopped) Object.assign(place, { replica: start(index), isStopped: false });
        });
    }
  }

  for (const each of steps) {
    await pass(each.afterMs, look);
    happen(each);
    look();
  }

  // All is well again, and whoever is going goes.
  healed = true;
  weather = { latencyMs: 10, badPercent: 0 };
  for (const { replica } of places) {
    replica.resume();
    look();
  }
  return { pass, look, acting, handovers: () => handovers, landed: () => landed };
}

const scenario = fc.record({
  seed: fc.nat(),
  machines: fc.array(machine, { minLength: REPLICAS, maxLength: REPLICAS }),
  steps: fc.array(step, { minLength: 10, maxLength: 30 }),
});

test('whatever happens, never two replicas lead, and no write is sent, or lands, while another one does', async () => {
  let handovers = 0;
  let landed = 0;
  const property = fc.asyncProperty(scenario, async ({ seed, machines, steps }) => {
    const world = await play(seed, machines, steps);
    await world.pass(30_000, world.look);
    handovers += world.handovers();
    landed += world.landed();
  });
  await fc.assert(property, { numRuns: 80 });
  // Or nothing would have been shown.
  assert.ok(handovers > 50, `${handovers} handovers`);
  assert.ok(landed > 500, `${landed} landed`);
});

test('when everything is well again, one leads within lease duration and retry, and goes on leading', async () => {
  // What was under way has to be given up first, at 5 s, or is carried out late, at 8 s; a last latency on top, on the slowest clock.
  const settleMs = 8000 + 4000;
  const property = fc.asyncProperty(scenario, async ({ seed, machines, steps }) => {
    const { pass, look, acting } = await play(seed, machines, steps);
    await pass(settleMs, look);
    await pass((LEASE_MS + RETRY_MS + 100) / RATE.min, look);
    const [leader] = acting();
    assert.ok(leader !== undefined, 'nobody leads');
    await pass(60_000, () => {
      look();
      assert.deepEqual(acting(), [leader]);
    });
  });
  await fc.assert(property, { numRuns: 40 });
});
