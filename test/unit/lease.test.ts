import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  claim,
  LEASE_MS,
  nextMove,
  parseLease,
  RENEW_DEADLINE_MS,
  RETRY_MS,
  seen,
} from '../../src/cluster/lease.ts';

const held = (holder: string, resourceVersion = '1', leaseDurationSeconds = 15) =>
  parseLease({
    metadata: { resourceVersion },
    spec: {
      holderIdentity: holder,
      leaseDurationSeconds,
      acquireTime: '2020-01-01T00:00:00.000000Z',
      // Of a clock that is years behind, or ahead: it must not matter.
      renewTime: '2020-01-01T00:00:00.000000Z',
      leaseTransitions: 3,
    },
  });

test("another's lease is free its duration after its last change was seen here", () => {
  const view = seen(undefined, held('b'), 1000, 'a');
  const again = seen(view, held('b'), 9000, 'a');
  assert.deepEqual(nextMove(again, 9000), { do: 'wait', ms: 7000 });
  assert.deepEqual(nextMove(again, 16_000), { do: 'claim', lease: held('b') });
});

test('a renewal that is seen starts the wait again', () => {
  const view = seen(seen(undefined, held('b'), 1000, 'a'), held('b', '2'), 9000, 'a');
  assert.deepEqual(nextMove(view, 16_000), { do: 'wait', ms: 8000 });
});

test('the duration is the one that its holder wrote', () => {
  const view = seen(undefined, held('b', '1', 60), 0, 'a');
  assert.deepEqual(nextMove(view, LEASE_MS), { do: 'wait', ms: 45_000 });
});

test('a lease without a duration has ours', () => {
  const { durationMs } = parseLease({ metadata: { resourceVersion: '1' }, spec: { holderIdentity: 'b' } });
  assert.equal(durationMs, LEASE_MS);
});

test('a lease that was given back, or is our own, is claimed at once', () => {
  for (const holder of ['', 'a']) {
    const view = seen(seen(undefined, held('b'), 0, 'a'), held(holder, '2'), 10, 'a');
    assert.deepEqual(nextMove(view, 10), { do: 'claim', lease: held(holder, '2') }, holder);
  }
});

test('where there never was a lease it is created at once', () => {
  assert.deepEqual(nextMove(seen(undefined, undefined, 5, 'a'), 5), { do: 'claim', lease: undefined });
});

test("another's lease that has been deleted is waited for all the same: its holder does not know yet", () => {
  const view = seen(seen(undefined, held('b'), 0, 'a'), undefined, 4000, 'a');
  assert.deepEqual(nextMove(seen(view, undefined, 6000, 'a'), 6000), { do: 'wait', ms: LEASE_MS - 2000 });
  assert.deepEqual(nextMove(view, 4000 + LEASE_MS), { do: 'claim', lease: undefined });
});

test('our own that has been deleted is created anew at once', () => {
  const view = seen(seen(undefined, held('a'), 0, 'a'), undefined, 4000, 'a');
  assert.deepEqual(nextMove(view, 4000), { do: 'claim', lease: undefined });
});

test('taking it is a transition, keeping it is not', () => {
  const now = Date.UTC(2026, 0, 1);
  const time = '2026-01-01T00:00:00.000000Z';
  assert.deepEqual(claim(held('b'), 'a', now), {
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    acquireTime: time,
    renewTime: time,
    leaseTransitions: 4,
  });
  assert.deepEqual(claim(held('a'), 'a', now), {
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    acquireTime: '2020-01-01T00:00:00.000000Z',
    renewTime: time,
    leaseTransitions: 3,
  });
  assert.equal(claim(undefined, 'a', now)['leaseTransitions'], 0);
});

test('a Lease without a resourceVersion is refused: a write could not be fenced by it', () => {
  assert.throws(() => parseLease({ metadata: {}, spec: {} }), /resourceVersion/);
});

test('the lengths leave room for several tries, and for clocks that differ in speed by a third', () => {
  assert.ok(RENEW_DEADLINE_MS >= 4 * RETRY_MS);
  assert.ok(LEASE_MS * (1 - 1 / 3) >= RENEW_DEADLINE_MS);
});
