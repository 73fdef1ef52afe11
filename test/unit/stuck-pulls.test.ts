import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../src/cluster/api-error.ts';
import { createPullPlaces } from '../../src/preloads/budget/pull-places.ts';
import { createPodDeletions } from '../../src/preloads/pods/pod-deletions.ts';
import { createPodIndex, podKey } from '../../src/preloads/pods/pod-index.ts';
import type { PullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { puller } from '../support/unit/preload-builder.ts';

/** What becomes of the deletions in a namespace: the pod goes; a webhook refuses, in whatever words; or it hangs, or the pod just stays. */
const FATES = ['gone', 'forbidden', 'notFound', 'conflict', 'broken', 'hangs', 'stays'] as const;
type Fate = (typeof FATES)[number];

const REFUSALS = { forbidden: 403, notFound: 404, conflict: 409, broken: 500 } as const;
/** That a call of the client may take. */
const DEADLINE_MS = 15_000;

interface Options {
  readonly cap: number;
  readonly fateOf: (namespace: string, deletion: number) => Fate;
}

/** The places for pulls with the writer and the index of the pods, and preloads that pull until they are told to end. */
function world({ cap, fateOf }: Options) {
  const clock = manualClock();
  const pods = createPodIndex(clock);
  const wanted = new Map<string, number>();
  let [made, asked] = [0, 0];

  const running = (namespace: string) =>
    [...pods.underWay()].filter(([pod]) => pod.namespace === namespace).length;
  const ended = (pod: PullerPod) => {
    pods.observe(podKey(pod), undefined);
    deletions.gone(pod);
    places.share();
  };
  const client = {
    async delete(path: string): Promise<void> {
      const [, namespace = ''] = /namespaces\/([^/]+)/.exec(path) ?? [];
      asked += 1;
      const fate = fateOf(namespace, asked);
      if (fate === 'gone') {
        const pod = [...pods.underWay()].find(([one]) =>
          path.endsWith(`/${podKey(one).replace('/', '/pods/')}`),
        )?.[0];
        if (pod !== undefined) ended(pod);
      } else if (fate === 'hangs') {
        await new Promise((resolve) => clock.setTimer(DEADLINE_MS, () => resolve(undefined)));
        throw new ApiError(504, {});
      } else if (fate !== 'stays') throw new ApiError(REFUSALS[fate], {});
    },
  };
  const { log } = logDouble();
  const deletions = createPodDeletions({ client, clock, isStopped: () => false, onFailed: () => undefined });
  const places = createPullPlaces({
    ...{ cap, timeoutMs: 900_000, clock, log, limitProgress: (_key, write) => write({}), pods },
    writer: { ...deletions, isQueued: () => false, cancel: () => undefined },
    sharers: { isUrgent: () => true },
    wake: (namespace) => queueMicrotask(() => look(namespace)),
  });

  function look(namespace: string): void {
    const left = wanted.get(namespace) ?? 0;
    if (left === 0) return;
    const demand = { key: namespace, namespace, urgent: true, running: running(namespace), wanted: left };
    places.take(demand, (pulls) => {
      wanted.set(namespace, left - pulls);
      for (let n = 0; n < pulls; n += 1) {
        made += 1;
        const { pod } = puller().with({
          namespace,
          name: `pull-${made}`,
          uid: `uid-${made}`,
          createdAt: clock.now(),
        });
        pods.observe(podKey(pod), pod);
      }
    });
  }

  return {
    running,
    want(namespace: string, pulls: number): void {
      wanted.set(namespace, (wanted.get(namespace) ?? 0) + pulls);
      look(namespace);
    },
    async pass(seconds: number): Promise<void> {
      for (let n = 0; n < seconds * 4; n += 1) {
        clock.advance(250);
        for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      }
    },
    stop: places.stop,
  };
}

for (const fate of FATES) {
  test(`a namespace without a pull gets a place within 16 s from one where each deletion is: ${fate}`, async () => {
    const { running, want, pass, stop } = world({ cap: 20, fateOf: () => fate });
    want('foe', 1000);
    assert.equal(running('foe'), 20);
    want('shop', 5);
    await pass(16);
    assert.equal(running('shop'), 5);
    stop();
  });
}

test('a namespace whose pulls cannot be ended never has more of them than the cap', async () => {
  const { running, want, pass, stop } = world({ cap: 20, fateOf: () => 'forbidden' });
  want('foe', 1000);
  for (let n = 0; n < 20; n += 1) {
    want(`shop-${n}`, 1);
    await pass(16);
    assert.ok(running('foe') <= 20, `${running('foe')}`);
    assert.equal(running(`shop-${n}`), 1);
  }
  stop();
});

test('whatever becomes of deletions, each namespace that wants a place has one within 16 s', async () => {
  const arrival = fc.record({
    namespace: fc.nat(5),
    pulls: fc.integer({ min: 1, max: 40 }),
    after: fc.nat(30),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(arrival, { minLength: 2, maxLength: 8 }),
      fc.array(fc.constantFrom(...FATES), { minLength: 1, maxLength: 12 }),
      async (arrivals, fates) => {
        const fateOf: Options['fateOf'] = (_, deletion) => fates[deletion % fates.length] ?? 'gone';
        const { running, want, pass, stop } = world({ cap: 12, fateOf });
        for (const { namespace, pulls, after } of arrivals) {
          want(`ns-${namespace}`, pulls);
          await pass(after);
        }
        await pass(16);
        for (const { namespace } of arrivals) assert.ok(running(`ns-${namespace}`) > 0, `ns-${namespace}`);
        for (const { namespace } of arrivals) assert.ok(running(`ns-${namespace}`) <= 12);
        stop();
      },
    ),
    { numRuns: 60 },
  );
});
