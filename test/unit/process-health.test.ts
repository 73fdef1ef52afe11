import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { createAuthority } from '../../src/certificates/authority.ts';
import type { Controllers, Watch } from '../../src/controllers.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { PULL_FAILURE_REASONS } from '../../src/preloads/pods/failure-reasons.ts';
import { createProcessHealth } from '../../src/process-health.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

const authority = await createAuthority({ now: new Date(), days: 1 });
const certificates = { serving: authority.certificatePem, ca: authority.certificatePem };

const NONE = { open: 0, oldestSeconds: 0 };
const HOLDS = { images: { open: 1, oldestSeconds: 5 }, approval: NONE, time: NONE };

/** A gate beside a cluster that has come so far. */
function beside(watches: () => readonly Watch[], syncingMs: () => number | undefined = () => undefined) {
  const registry = new Registry();
  let isRegistered = false;
  const controllers: Controllers = {
    start: () => undefined,
    synced: Promise.resolve(),
    syncingMs,
    holds: () => HOLDS,
    pulls: () => ({ running: 2, limit: 200 }),
    watches,
    stop: async () => undefined,
    progress: () => undefined,
    endAll: async () => undefined,
  };
  const server = createProcessHealth({
    ...{ registry, controllers, certificates, clock: manualClock(), log: logDouble().log },
    isRegistered: () => isRegistered,
  });
  return {
    server,
    metrics: createMetrics(registry, PULL_FAILURE_REASONS),
    status: async (url: string) => (await server.inject(url)).statusCode,
    registered(): void {
      isRegistered = true;
    },
  };
}

const watch = (resource: string, isSilent: boolean): Watch => ({ resource, silentSeconds: 1, isSilent });

test('a gate beside a cluster is ready once it is registered and has read what is stored', async () => {
  let syncingMs: number | undefined = 10;
  const { status, registered } = beside(
    () => [],
    () => syncingMs,
  );
  assert.equal(await status('/readyz'), 503);
  registered();
  assert.equal(await status('/readyz'), 503);
  syncingMs = undefined;
  assert.equal(await status('/readyz'), 200);
});

test('its metrics are those of a leader', async () => {
  const { server, registered, metrics } = beside(() => [watch('pods', false)]);
  registered();
  metrics.holdEnded('Ready', 3);
  const { body } = await server.inject('/metrics');
  for (const line of [
    'pullgate_leader 1',
    'pullgate_holds{waiting_for="images"} 1',
    'pullgate_pulls_running 2',
    'pullgate_watch_age_seconds{resource="pods"} 1',
    'pullgate_hold_duration_seconds_count{reason="Ready"} 1',
  ])
    assert.ok(body.includes(`\n${line}\n`), line);
  assert.match(body, /^pullgate_certificate_expiry_timestamp_seconds\{certificate="ca"\} 1\d{9}$/m);
});

test('one silent watch among others is not alive, but all of them are an outage', async () => {
  let others = false;
  const { status } = beside(() => [watch('pods', true), watch('nodes', others)]);
  assert.equal(await status('/healthz'), 503);
  others = true;
  assert.equal(await status('/healthz'), 200);
});
