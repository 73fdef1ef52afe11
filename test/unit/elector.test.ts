import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElector, type Lead } from '../../src/cluster/elector.ts';
import { at } from '../../src/json.ts';
import { type Fate, type Network, replicas } from '../support/unit/lease-replicas.ts';
import { LEASE, leaseClient, leaseServer } from '../support/unit/lease-server.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

const holderOf = (lease: unknown) => String(at(lease, 'spec', 'holderIdentity')).replace(/_.*/, '');
const messages = (lines: readonly Record<string, unknown>[]) => lines.map(({ msg }) => msg);

/** A network whose calls have that fate, until it is changed. */
function network(): Network & { now: Fate } {
  const weather = { now: 'served' as Fate, latencyMs: () => 0, fate: () => weather.now };
  return weather;
}

test('the first replica leads at once, and the second waits', async () => {
  const { add, pass, acting, server } = replicas();
  const first = add({ name: 'first' });
  await pass(10);
  const second = add({ name: 'second' });
  await pass(60_000);
  assert.deepEqual(acting(), ['first']);
  assert.equal(holderOf(server.lease), 'first');
  assert.ok(first.leads && !second.leads);
  assert.equal(at(server.lease, 'spec', 'leaseTransitions'), 0);
});

test('when the leader dies, another leads within lease duration and retry, whatever the time of day on either', async () => {
  const { add, pass, acting } = replicas();
  const first = add({ name: 'first', offsetMs: 86_400_000 });
  await pass(10);
  add({ name: 'second', offsetMs: -86_400_000 });
  await pass(30_000);
  first.kill();
  await pass(12_900);
  assert.deepEqual(acting(), []);
  await pass(4100);
  assert.deepEqual(acting(), ['second']);
});

for (const fate of ['refused', 'lost', 'unheard'] as const) {
  test(`a leader whose renewals are ${fate} ends 10 s after it sent the last good one`, async () => {
    const weather = network();
    const { add, pass } = replicas();
    const leader = add({ name: 'leader', network: weather });
    await pass(100);
    weather.now = fate;
    await pass(9800);
    assert.ok(leader.isActing());
    assert.equal(leader.toldToEnd, undefined);
    await pass(200);
    assert.ok(!leader.isActing());
    assert.match(String(leader.toldToEnd), /could not be renewed/);
    assert.ok(Math.max(...leader.writes) < 10_000);
  });
}

test('an answer that took long to come counts from when its question was sent', async () => {
  const weather = { latencyMs: () => 0, fate: (): Fate => 'served' };
  const { add, pass } = replicas();
  const leader = add({ name: 'leader', network: weather });
  await pass(1000);
  // The renewal at 2 s is answered at 6 s; none after it is.
  weather.latencyMs = () => 2000;
  await pass(1500);
  weather.fate = () => 'lost';
  await pass(9490);
  assert.ok(leader.isActing());
  await pass(20);
  assert.ok(!leader.isActing());
});

test('a single call that hangs, or fails, does not cost the lease', async () => {
  const weather = network();
  const { add, pass, time } = replicas();
  const leader = add({ name: 'leader', network: weather });
  for (const fate of ['refused', 'lost', 'unheard', 'late'] as const) {
    await pass(1000);
    weather.now = fate;
    await pass(2000);
    weather.now = 'served';
    await pass(30_000);
    assert.equal(leader.toldToEnd, undefined, fate);
    assert.ok(leader.isActing(), fate);
  }
  // One that gets no answer keeps the next waiting for 10 s of each 33 at most.
  assert.ok(leader.writes.length >= Math.floor((time.monotonic() / 700) * 0.6));
});

test('a renewal that was carried out unheard is found to be our own', async () => {
  const weather = network();
  const { add, pass, server } = replicas();
  const leader = add({ name: 'leader', network: weather });
  await pass(1000);
  weather.now = 'unheard';
  await pass(2000);
  const unheard = server.lease;
  weather.now = 'served';
  await pass(12_000);
  assert.notEqual(unheard, server.lease);
  assert.ok(leader.isActing());
  assert.ok(!messages(leader.lines).includes('no longer the leader'));
});

test('a write that is on its way for long is broken off before anybody else can lead', async () => {
  const weather = network();
  const { add, pass, acting, time } = replicas();
  // Renewals are lost from 2 s on, and what is written reaches the API server 8 s later.
  const landedAt: number[] = [];
  const slow = { latencyMs: () => 0, fate: (): Fate => (weather.now === 'lost' ? 'late' : 'served') };
  add({
    name: 'first',
    network: { ...slow, fate: () => slow.fate() },
    onLanded() {
      landedAt.push(time.monotonic());
      assert.deepEqual(acting(), ['first']);
    },
  });
  await pass(10);
  add({ name: 'second' });
  await pass(1000);
  weather.now = 'lost';
  await pass(40_000, () => assert.ok(acting().length <= 1));
  assert.ok(landedAt.length > 0 && Math.max(...landedAt) < 10_100, `${landedAt}`);
});

test('a leader that stood still does not write the Lease again before all that it did has ended', async () => {
  const weather = {
    now: 'served' as Fate,
    wayMs: 0,
    fate: () => weather.now,
    latencyMs: () => weather.wayMs,
  };
  const { add, pass, server } = replicas();
  const leader = add({ name: 'leader', network: weather, drainMs: 30_000 });
  await pass(1000);
  weather.now = 'unheard';
  await pass(2000);
  Object.assign(weather, { now: 'served', wayMs: 1000 });
  // The renewal of 2 s is given up at 7 s, and the Lease looked at: the answer comes while nothing moves.
  await pass(5000);
  leader.pause();
  await pass(6000);
  const before = server.lease;
  leader.resume();
  await pass(20_000);
  assert.match(String(leader.toldToEnd), /could not be renewed/);
  assert.equal(server.lease, before);
});

test('a process that stood still acts no more when it goes on, before any timer has told it', async () => {
  const { add, pass, acting } = replicas();
  const first = add({ name: 'first' });
  await pass(10);
  add({ name: 'second' });
  await pass(30_000);
  first.pause();
  await pass(20_000);
  assert.deepEqual(acting(), ['second']);
  const written = first.writes.length;
  first.resume();
  assert.ok(!first.isActing());
  await pass(30_000);
  assert.equal(first.writes.length, written);
  assert.ok(!first.leads);
  assert.deepEqual(acting(), ['second']);
});

test('stop hands over at once: nobody waits for the end of the lease', async () => {
  const { add, pass, acting, server } = replicas();
  const first = add({ name: 'first' });
  await pass(10);
  add({ name: 'second' });
  await pass(30_000);
  const stopped = first.elector.stop();
  await pass(0);
  await stopped;
  assert.equal(at(server.lease, 'spec', 'holderIdentity'), '');
  await pass(2000);
  assert.deepEqual(acting(), ['second']);
});

test('the lease is kept for as long as the leader takes to end, and given back only then', async () => {
  const { add, pass, acting, server } = replicas();
  const first = add({ name: 'first', drainMs: 40_000 });
  await pass(10);
  const second = add({ name: 'second' });
  await pass(1000);
  const stopped = first.elector.stop();
  await pass(39_990);
  assert.match(String(first.toldToEnd), /stopping/);
  assert.ok(first.isActing() && !second.leads);
  await pass(2010);
  await stopped;
  assert.deepEqual(acting(), ['second']);
  assert.equal(holderOf(server.lease), 'second');
});

test('stop before anything was won leaves the Lease alone', async () => {
  const { add, pass, server } = replicas();
  add({ name: 'first' });
  await pass(10);
  const second = add({ name: 'second' });
  await pass(10);
  const before = server.lease;
  await second.elector.stop();
  assert.equal(server.lease, before);
});

test('a Lease that somebody deletes is made anew by its leader, and nobody else leads meanwhile', async () => {
  const { add, pass, acting, server } = replicas();
  add({ name: 'first' });
  await pass(10);
  const second = add({ name: 'second' });
  await pass(20_000);
  server.remove();
  await pass(20_000, () => assert.ok(!second.leads));
  assert.deepEqual(acting(), ['first']);
  assert.equal(holderOf(server.lease), 'first');
});

test('a leader that finds another in the Lease ends at once', async () => {
  const { add, pass, server } = replicas();
  const leader = add({ name: 'leader' });
  await pass(10);
  server.mergePatch(LEASE, {
    spec: { holderIdentity: 'by hand' },
  });
  await pass(2000);
  assert.ok(!leader.isActing());
  assert.match(String(leader.toldToEnd), /another has it/);
});

test('it is stuck when what it did does not end for a minute after a loss, and neither in an outage nor at rest', async () => {
  const weather = network();
  const { add, pass } = replicas();
  const [first, waiting] = [add({ name: 'first', network: weather }), add({ name: 'waiting' })];
  const never = add({ name: 'never', network: weather, drainMs: Number.MAX_SAFE_INTEGER });
  for (const fate of ['served', 'lost', 'refused'] as const) {
    weather.now = fate;
    await pass(120_000, () => {
      assert.ok(!first.elector.isStuck());
      assert.ok(!waiting.elector.isStuck());
    });
  }
  waiting.kill();
  first.kill();
  weather.now = 'served';
  await pass(30_000);
  assert.ok(never.isActing());
  weather.now = 'refused';
  await pass(67_000);
  assert.ok(!never.elector.isStuck());
  await pass(4000);
  assert.ok(never.elector.isStuck());
});

test('a container restarted in its pod is another holder: it waits, as everybody', async () => {
  const { add, pass, acting } = replicas();
  const before = add({ name: 'pod', random: () => 0.1 });
  await pass(10);
  before.kill();
  add({ name: 'pod', random: () => 0.2 });
  await pass(14_900);
  assert.deepEqual(acting(), []);
  await pass(1000);
  assert.deepEqual(acting(), ['pod']);
});

test('after a lost lease the same replica stands again, and leads anew', async () => {
  const weather = network();
  const { add, pass } = replicas();
  const leader = add({ name: 'leader', network: weather });
  await pass(100);
  weather.now = 'refused';
  await pass(60_000);
  assert.ok(!leader.leads);
  weather.now = 'served';
  await pass(2000);
  assert.ok(leader.leads && leader.isActing());
  assert.equal(leader.toldToEnd, undefined);
});

test('an outage is one line in the log of who stands for election, not one for each try', async () => {
  const { add, pass } = replicas();
  const { lines } = add({ name: 'alone', network: { latencyMs: () => 0, fate: () => 'refused' } });
  await pass(120_000);
  assert.equal(messages(lines).filter((text) => text === 'standing for election failed').length, 1);
});

for (const [how, ends] of [
  ['fails', () => Promise.reject(new Error('broken'))],
  ['ends by itself', () => Promise.resolve()],
] as const satisfies [string, Lead][]) {
  test(`a leader that ${how} gives the lease back and says so`, async () => {
    const server = leaseServer();
    const { log, lines } = logDouble();
    const elector = createElector({
      client: leaseClient(server, async (serve) => serve()),
      namespace: 'pullgate',
      name: 'pullgate',
      identity: 'alone',
      clock: manualClock(),
      random: () => 0.5,
      log,
    });
    let isLeaderInside = false;
    void elector.run(async () => {
      isLeaderInside = elector.isLeader();
      await ends();
    });
    await until(() => holderOf(server.lease) === '');
    await elector.stop();
    assert.ok(isLeaderInside && !elector.isLeader());
    assert.equal(lines.filter(({ level }) => level === 50).length, 1);
  });
}
