import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Watch } from '../../src/controllers.ts';
import { leaderChecks } from '../../src/leader-checks.ts';

interface Situation {
  readonly leads?: boolean;
  readonly stuck?: boolean;
  readonly syncingMs?: number;
  readonly watches?: readonly Watch[];
}

function look({ leads = true, stuck = false, syncingMs, watches = [] }: Situation) {
  const { live, ready } = leaderChecks({
    isLeader: () => leads,
    isStuck: () => stuck,
    controllers: () => ({ syncingMs: () => syncingMs, watches: () => watches }),
  });
  return { election: live.election(), watches: live.watches(), controllers: ready.controllers() };
}

const FINE = { election: undefined, watches: undefined, controllers: undefined };
const SILENT: Watch = { resource: 'pods', silentSeconds: 400.4, isSilent: true };
const HEARD: Watch = { resource: 'nodes', silentSeconds: 50, isSilent: false };

test('a leader that hears of everything is alive and ready', () => {
  assert.deepEqual(look({ watches: [HEARD] }), FINE);
});

test('a watch that is silent while the lease is renewed is not alive: the API server answers', () => {
  assert.deepEqual(look({ watches: [HEARD, SILENT] }), { ...FINE, watches: 'pods silent for 400 s' });
});

test('an outage of the API server is no reason to restart, nor to leave the Service: the lease is lost first', () => {
  assert.deepEqual(look({ leads: false, watches: [SILENT], syncingMs: 600_000 }), FINE);
});

test('who takes over is ready while it reads what is stored, but not for ever', () => {
  assert.deepEqual(look({ syncingMs: 60_000 }), FINE);
  assert.match(
    look({ syncingMs: 60_001 }).controllers ?? '',
    /^the stored objects could not be read within 60 s$/,
  );
});

test('one whose election stands still is not alive', () => {
  assert.deepEqual(look({ leads: false, stuck: true }), {
    ...FINE,
    election: 'no attempt to acquire or renew the Lease for more than 60 s',
  });
});

test('before it has ever led there is nothing to be wrong', () => {
  const { live, ready } = leaderChecks({
    isLeader: () => true,
    isStuck: () => false,
    controllers: () => undefined,
  });
  assert.deepEqual([live.watches(), ready.controllers()], [undefined, undefined]);
});
