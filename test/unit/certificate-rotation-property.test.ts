import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../src/certificates/authority.ts';
import { type Certificates, startCertificates } from '../../src/certificates/certificate-keeper.ts';
import { createServingCertificate } from '../../src/certificates/serving-certificate.ts';
import type { Clock } from '../../src/clock.ts';
import { type CertificateClient, certificateCluster, SECRET } from '../support/unit/certificate-cluster.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

const SECOND = 1000;
const HOST = 'pullgate.pullgate.svc';
const REPLICAS = 3;
const POLL_MS = 3 * SECOND;
/** Each way of a call takes up to so long. */
const LATENCY_MS = SECOND;
/** An API server goes on calling by a webhook configuration that has been replaced so long ago. */
const API_SERVER_LAG_MS = 15 * SECOND;
/**
 * A third of a serving certificate's life is what is left of it when a change of authority begins. Somebody who brings their own in the
 * middle of that makes it two changes, of 20 s and some polls each: an expired one would be replaced by what is not trusted yet.
 */
const LIFETIMES = { authorityMs: 360 * SECOND, servingMs: 180 * SECOND, settleMs: 20 * SECOND };
const END_MS = 480 * SECOND;

type Event =
  | {
      readonly kind: 'kill' | 'start' | 'cut off' | 'reconnect';
      readonly replica: number;
      readonly at: number;
    }
  | {
      readonly kind: 'renew serving' | 'renew authority' | 'delete' | 'overwrite' | 'bring';
      readonly at: number;
    };

interface Replica {
  certificates: Certificates;
  /** Of its timers and calls: as long as there are some it does nothing before time goes on. */
  waiting: number;
  alive: boolean;
  cutOff: boolean;
  serving: X509Certificate | undefined;
}

const foreign = await createAuthority({ now: new Date(Date.UTC(2026, 0, 1)), days: 1 });

interface Moment {
  /** Of the wall clock. */
  readonly now: number;
  readonly elapsed: number;
  readonly replicas: readonly Replica[];
  /** All that some API server may go by now. */
  readonly bundles: readonly string[];
}

/**
 * Replicas, one API server with latencies and its outdated views, and what operators and faults do at given times. `check` sees
 * each moment at which something has changed.
 */
async function simulate(
  events: readonly Event[],
  seed: number,
  check: (moment: Moment) => void,
): Promise<{
  readonly cluster: ReturnType<typeof certificateCluster>;
  readonly replicas: readonly Replica[];
}> {
  const clock = manualClock();
  const cluster = certificateCluster();
  cluster.register();
  const history: { readonly from: number; readonly bundles: readonly string[] }[] = [];
  const random = generator(seed);
  const replicas = Array.from({ length: REPLICAS }, () => start());

  function start(): Replica {
    const replica: Replica = {
      certificates: neverStarted,
      waiting: 0,
      alive: true,
      cutOff: false,
      serving: undefined,
    };
    const own: Clock = {
      ...clock,
      setTimer(ms, fn) {
        replica.waiting += 1;
        const cancel = clock.setTimer(ms, () => {
          replica.waiting -= 1;
          fn();
        });
        return () => {
          replica.waiting -= 1;
          cancel();
        };
      },
    };
    replica.certificates = startCertificates({
      client: slow(cluster.client, replica, own),
      namespace: 'pullgate',
      hosts: [HOST],
      lifetimes: LIFETIMES,
      pollMs: POLL_MS,
      onServing: ({ cert }) => {
        if (replica.alive) replica.serving = new X509Certificate(cert);
      },
      clock: own,
      log: logDouble().log,
    });
    return replica;
  }

  /** The server acts on what was sent, even if who sent it is gone by then. */
  function slow(client: CertificateClient, replica: Replica, own: Clock): CertificateClient {
    const way = async <T>(send: () => Promise<T>): Promise<T> => {
      replica.waiting += 1;
      await new Promise<void>((resolve) => clock.setTimer(random() * LATENCY_MS, resolve));
      const reached = replica.cutOff ? Promise.reject(new Error('unreachable')) : send();
      const answer = await reached.then(
        (value) => () => value,
        (error: unknown) => () => {
          throw error;
        },
      );
      await new Promise<void>((resolve) => own.setTimer(random() * LATENCY_MS, resolve));
      replica.waiting -= 1;
      if (!replica.alive) await new Promise(() => undefined);
      return answer();
    };
    return {
      cluster: client.cluster,
      get: (path) => way(() => client.get(path)),
      create: (path, body) => way(() => client.create(path, body)),
      mergePatch: (path, body) => way(() => client.mergePatch(path, body)),
      jsonPatch: (path, operations) => way(() => client.jsonPatch(path, operations)),
    };
  }

  async function act(event: Event): Promise<void> {
    const there = cluster.get(SECRET) !== undefined;
    switch (event.kind) {
      case 'kill': {
        const replica = replicas[event.replica];
        if (replica === undefined || !replica.alive) return;
        replica.alive = false;
        replica.serving = undefined;
        void replica.certificates.stop();
        return;
      }
      case 'start':
        if (replicas[event.replica]?.alive === false) replicas[event.replica] = start();
        return;
      case 'cut off':
      case 'reconnect': {
        const replica = replicas[event.replica];
        if (replica !== undefined) replica.cutOff = event.kind === 'cut off';
        return;
      }
      case 'renew serving':
      case 'renew authority':
        if (there) cluster.annotateSecret({ 'pullgate.io/renew': event.kind.slice('renew '.length) });
        return;
      case 'delete':
        cluster.remove(SECRET);
        return;
      case 'overwrite':
        cluster.overwriteBundles(foreign.certificatePem);
        return;
      case 'bring': {
        const now = new Date(clock.now());
        const authority = await createAuthority({ now, days: 1 });
        const pair = await createServingCertificate(authority, { hosts: [HOST], now, days: 1 });
        cluster.writeSecret({
          'ca.crt': authority.certificatePem,
          'tls.crt': pair.certificatePem,
          'tls.key': pair.keyPem,
        });
      }
    }
  }

  /** Until every replica waits for time to go on: keys and signatures are made by threads. */
  async function quiet(): Promise<void> {
    do await new Promise(setImmediate);
    while (replicas.some(({ alive, waiting }) => alive && waiting === 0));
    // One that was woken last has still to act on it.
    await new Promise(setImmediate);
    if (replicas.some(({ alive, waiting }) => alive && waiting === 0)) await quiet();
  }

  let due = [...events].sort((a, b) => a.at - b.at);
  await quiet();
  while (clock.monotonic() < END_MS) {
    const next = Math.min(clock.timers()[0] ?? END_MS, (due[0]?.at ?? END_MS) - clock.monotonic());
    clock.advance(Math.max(0, next));
    for (const event of due.filter(({ at }) => at <= clock.monotonic())) await act(event);
    due = due.filter(({ at }) => at > clock.monotonic());
    await quiet();
    const now = clock.monotonic();
    const bundles = cluster.bundles();
    if (history.at(-1)?.bundles.join() !== bundles.join()) history.push({ from: now, bundles });
    const inForce = history.filter(
      (_, index) => (history[index + 1]?.from ?? now) >= now - API_SERVER_LAG_MS,
    );
    check({
      now: clock.now(),
      elapsed: now,
      replicas,
      bundles: inForce.flatMap(({ bundles: some }) => some),
    });
  }
  const last = { cluster, replicas: [...replicas] };
  for (const { certificates, alive } of replicas) if (alive) void certificates.stop();
  return last;
}

const hasExpired = (certificate: X509Certificate, now: number) => now >= certificate.validToDate.getTime();

/** Whether a client that trusts `bundle` believes who signed it: told apart from how the gate itself tells it. */
function trusts(bundle: string, certificate: X509Certificate, now: number): boolean {
  return bundle.split(/(?<=-----END CERTIFICATE-----\n)/).some((pem) => {
    if (!pem.includes('BEGIN')) return false;
    const authority = known.get(pem) ?? new X509Certificate(pem);
    known.set(pem, authority);
    const key = authority.fingerprint256 + certificate.fingerprint256;
    const signed = signatures.get(key) ?? certificate.verify(authority.publicKey);
    signatures.set(key, signed);
    return signed && now < authority.validToDate.getTime();
  });
}
const known = new Map<string, X509Certificate>();
const signatures = new Map<string, boolean>();

const at = fc.integer({ min: 0, max: END_MS });
const replica = fc.integer({ min: 0, max: REPLICAS - 1 });
const restart = fc
  .record({
    replica,
    from: fc.integer({ min: 0, max: 60 * SECOND }),
    for: fc.integer({ min: 0, max: 10 * SECOND }),
  })
  .map((given): Event[] => [
    { kind: 'kill', replica: given.replica, at: given.from },
    { kind: 'start', replica: given.replica, at: given.from + given.for },
  ]);
const outage = fc
  .record({
    replica,
    from: fc.integer({ min: 0, max: 30 * SECOND }),
    for: fc.integer({ min: 0, max: 90 * SECOND }),
  })
  .map((given): Event[] => [
    { kind: 'cut off', replica: given.replica, at: given.from },
    { kind: 'reconnect', replica: given.replica, at: given.from + given.for },
  ]);
const ask = fc.constantFrom('renew serving' as const, 'renew authority' as const, 'delete' as const);
/** What somebody asks for, or nothing, and the faults in the minute after it: that is where they hurt. */
const story = fc
  .record({ at, ask: fc.option(ask), faults: fc.array(fc.oneof(restart, outage), { maxLength: 5 }) })
  .map((given): Event[] => [
    ...(given.ask === null ? [] : [{ kind: given.ask, at: given.at }]),
    ...given.faults.flat().map((fault) => ({ ...fault, at: given.at + fault.at })),
  ]);
const stories = fc.array(story, { maxLength: 4 }).map((all) => all.flat());

/** Fails at the first moment at which a replica serves what some API server would refuse. */
function neverRefused(onCheck: (bundles: readonly string[]) => void = () => undefined) {
  let everTrusted = false;
  return ({ now, elapsed, replicas, bundles }: Moment) => {
    // Before the first publication has reached every API server there is nothing to lose.
    everTrusted ||= bundles.length > 0 && bundles.every((bundle) => bundle !== '');
    if (!everTrusted) return;
    for (const [index, { serving }] of replicas.entries()) {
      // One that has no successor yet: whether that happens is another promise.
      if (serving === undefined || hasExpired(serving, now)) continue;
      onCheck(bundles);
      for (const bundle of bundles) {
        assert.ok(trusts(bundle, serving, now), `replica ${index} after ${elapsed} ms`);
      }
    }
  };
}

test('no replica ever serves what an API server does not trust, whoever dies or is cut off, whatever is renewed or deleted', async () => {
  let rotations = 0;
  let checks = 0;
  await fc.assert(
    fc.asyncProperty(stories, fc.integer(), async (events, seed) => {
      const bundlesSeen = new Set<string>();
      const check = neverRefused((bundles) => {
        checks += 1;
        for (const bundle of bundles) bundlesSeen.add(bundle);
      });
      await simulate(events, seed, check);
      rotations += bundlesSeen.size - 1;
    }),
    { numRuns: 8 },
  );
  assert.ok(rotations >= 8, `${rotations} changes of the bundle`);
  assert.ok(checks > 2500, `${checks} checks`);
});

test('undisturbed, no replica ever serves a certificate that has expired', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const { replicas } = await simulate([], seed, ({ now, elapsed, replicas: all }) => {
        for (const { serving } of all) {
          assert.ok(serving === undefined || !hasExpired(serving, now), `after ${elapsed} ms`);
        }
      });
      for (const { serving } of replicas) assert.notEqual(serving, undefined);
    }),
    { numRuns: 3 },
  );
});

test('replicas that go on follow brought certificates, too, without serving what is not trusted', async () => {
  // Not before all of them serve: one that has nothing takes what there is.
  const bring = fc.record({
    kind: fc.constant('bring' as const),
    at: fc.integer({ min: 60 * SECOND, max: END_MS }),
  });
  const spaced = fc.array(bring, { minLength: 2, maxLength: 4 }).filter((events) => {
    const times = events.map((event) => event.at).sort((a, b) => a - b);
    return times.every((time, index) => index === 0 || time - (times[index - 1] ?? 0) > 60 * SECOND);
  });
  await fc.assert(
    fc.asyncProperty(spaced, fc.integer(), async (events, seed) => {
      let everTrusted = false;
      const { replicas, cluster } = await simulate(
        events,
        seed,
        ({ now, elapsed, replicas: all, bundles }) => {
          everTrusted ||= bundles.length > 0 && bundles.every((bundle) => bundle !== '');
          if (!everTrusted) return;
          for (const [index, { serving }] of all.entries()) {
            if (serving === undefined) continue;
            for (const bundle of bundles) {
              assert.ok(trusts(bundle, serving, now), `replica ${index} after ${elapsed} ms`);
            }
          }
        },
      );
      const latest = Math.max(...events.map((event) => event.at));
      if (latest > END_MS - 60 * SECOND) return;
      const stored = new X509Certificate(cluster.secret()['tls.crt'] ?? '').fingerprint256;
      for (const { serving } of replicas) assert.equal(serving?.fingerprint256, stored);
    }),
    { numRuns: 3 },
  );
});

test('after an overwritten bundle every replica is trusted again within a poll and its calls', async () => {
  const overwrite = fc.record({ kind: fc.constant('overwrite' as const), at });
  await fc.assert(
    fc.asyncProperty(
      fc.array(overwrite, { maxLength: 6 }),
      restart,
      fc.integer(),
      async (overwrites, crashes, seed) => {
        const events = [...overwrites, ...crashes];
        const disturbed = events.map((event) => event.at);
        await simulate(events, seed, ({ now, elapsed, replicas, bundles }) => {
          // Poll, then three calls, one of them perhaps refused and made again; each there and back.
          const repair = POLL_MS + 12 * LATENCY_MS;
          const alive = replicas.filter((other) => other.serving !== undefined);
          if (elapsed < repair || disturbed.some((time) => time <= elapsed && elapsed < time + repair))
            return;
          const newest = bundles.slice(-2);
          for (const { serving } of alive) {
            for (const bundle of newest) {
              assert.ok(serving !== undefined && trusts(bundle, serving, now), `after ${elapsed} ms`);
            }
          }
        });
      },
    ),
    { numRuns: 3 },
  );
});

const neverStarted: Certificates = {
  first: Promise.withResolvers<never>().promise,
  serving: () => undefined,
  expiries: () => undefined,
  isRegistered: () => false,
  isBelieved: () => false,
  lastLookAge: () => 0,
  stop: async () => undefined,
};

/** Numbers in [0, 1), the same for the same seed: mulberry32. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
