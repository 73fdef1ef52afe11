import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { GateEvent } from '../../src/cluster/events.ts';
import { asArray, at } from '../../src/json.ts';
import { createUnservedPreloads } from '../../src/preloads/unserved-preloads.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { preload } from '../support/unit/preload-builder.ts';

function world() {
  const clock = manualClock();
  const events: GateEvent[] = [];
  const patches: { readonly path: string; readonly status: unknown }[] = [];
  const followed = new Set<string>();
  const unserved = createUnservedPreloads({
    client: {
      async jsonPatch(path, operations) {
        patches.push({ path, status: at(asArray(operations)[1], 'value') });
      },
    },
    clock,
    log: logDouble().log,
    writeEvent: (event) => void events.push(event),
    isFollowed: (namespace) => followed.has(namespace),
  });
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      await nextTurn();
    }
  }
  return { events, patches, followed, pass, observe: unserved.observe, stop: unserved.stop };
}

const { owner: _, ...byHand } = preload();

test('an ImagePreload in a namespace without a mode says that nobody serves it, once', async () => {
  const { events, patches, pass, observe } = world();
  observe(byHand);
  observe(byHand);
  await pass(5000);
  assert.deepEqual(
    patches.map(({ path }) => path),
    ['/apis/pullgate.io/v1alpha1/namespaces/shop/imagepreloads/web-1/status'],
  );
  const conditions = at(patches[0]?.status, 'conditions') as {
    type: string;
    status: string;
    reason: string;
  }[];
  assert.deepEqual(
    conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`),
    [
      'Ready=False NotServed',
      'Progressing=False NotServed',
      'Failed=True NotServed',
      'Degraded=True NotServed',
    ],
  );
  const [event, ...others] = events;
  assert.deepEqual(
    [event?.reason, event?.type, event?.regarding.kind, others],
    ['NotServed', 'Warning', 'ImagePreload', []],
  );
  assert.match(
    event?.note ?? '',
    /the namespace shop has no label pullgate\.io\/mode; .*kubectl label namespace shop/,
  );
  // The watch shows the status.
  const status = patches[0]?.status as NonNullable<typeof byHand.status>;
  observe({ ...byHand, status });
  await pass(5000);
  assert.equal(patches.length, 1);
});

test('one whose namespace opts in meanwhile, that a Deployment owns, or that has ended is none', async () => {
  const { patches, followed, pass, observe } = world();
  observe(byHand);
  followed.add('shop');
  observe({ ...preload(), namespace: 'other' });
  observe({ ...byHand, namespace: 'other', deleting: true });
  await pass(5000);
  assert.deepEqual(patches, []);
});

test('thousands of them are told one after the other, and keep none of another namespace waiting', async () => {
  const { patches, pass, observe } = world();
  for (let n = 0; n < 3000; n += 1) observe({ ...byHand, uid: `uid-${n}`, name: `p-${n}` });
  observe({ ...byHand, namespace: 'other', uid: 'mine' });
  await pass(4000);
  assert.ok(patches.length <= 20, `${patches.length} within 4 s`);
  assert.ok(
    patches.slice(0, 3).some(({ path }) => path.includes('/other/')),
    'the other one is among the first',
  );
});

test('of one namespace 1,000 at most wait, and those of another are told in any case', async () => {
  const { patches, pass, observe } = world();
  for (let n = 0; n < 3000; n += 1) observe({ ...byHand, uid: `uid-${n}`, name: `p-${n}` });
  for (let n = 0; n < 3; n += 1) observe({ ...byHand, namespace: 'other', uid: `o-${n}`, name: `o-${n}` });
  await pass(400_000);
  assert.ok(patches.length <= 1000 + 2, `${patches.length}`);
  assert.equal(patches.filter(({ path }) => path.includes('/other/')).length, 3);
});

test('a leader that has stopped tells nothing more', async () => {
  const { patches, pass, observe, stop } = world();
  for (let n = 0; n < 30; n += 1) observe({ ...byHand, uid: `uid-${n}`, name: `p-${n}` });
  await pass(3000);
  const before = patches.length;
  assert.ok(before > 0);
  stop();
  await pass(5000);
  assert.equal(patches.length, before);
});
