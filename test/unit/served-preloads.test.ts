import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ImagePreload, parseImagePreload } from '../../src/api/image-preload.ts';
import { NEEDS_BYTES } from '../../src/api/preload-needs.ts';
import { createObjectCache, type ObjectCache } from '../../src/cluster/object-cache.ts';
import { asArray, type JsonObject, at as valueAt } from '../../src/json.ts';
import { createServedPreloads, SERVED_LIMITS } from '../../src/preloads/served-preloads.ts';
import { gateWorld, PRELOADS, type World } from '../support/unit/gate-world.ts';
import { retainedBytes } from '../support/unit/retained-bytes.ts';

const list = <T>(length: number, entry: (n: number) => T): T[] => Array.from({ length }, (_, n) => entry(n));
const LIMIT = SERVED_LIMITS.preloads;
const image = (n: number) => ({ image: `registry.test/new:${n}` });
const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+/, '');

interface Given {
  readonly images?: readonly JsonObject[];
  readonly createdAt?: number;
  readonly spec?: JsonObject;
  readonly status?: JsonObject;
}

function object(name: string, { images = [image(1)], createdAt = 0, spec, status }: Given = {}): JsonObject {
  return {
    metadata: {
      namespace: 'shop',
      name,
      uid: `uid-${name}`,
      generation: 1,
      creationTimestamp: time(createdAt),
    },
    spec: { images, ...spec },
    ...(status !== undefined && { status }),
  };
}

/** The cache of ImagePreloads with what decides about it, as the gate wires them. */
function followed(nodes = 1) {
  const woken: string[] = [];
  const cache: ObjectCache<ImagePreload> = createObjectCache<ImagePreload>({
    parse: parseImagePreload,
    trim: { isWhole: (one) => served.isWhole(one), less: (one) => served.less(one) },
    onChange: (key, now) => served.changed(key, now),
    onTrouble(_what, _key, error) {
      throw error;
    },
  });
  const served = createServedPreloads({
    get: cache.get,
    trim: cache.trim,
    nodes: () => nodes,
    wake: (key) => woken.push(key.slice('shop/'.length)),
  });
  const put = (raw: JsonObject) => cache.put(cache.read(raw));
  return {
    cache,
    served,
    woken,
    put,
    remove: (name: string) => cache.remove(cache.read(object(name))),
    isKept: (name: string) => cache.get(`shop/${name}`)?.trimmed === undefined,
    take(name: string, urgent: boolean): boolean {
      const preload = cache.get(`shop/${name}`);
      assert.ok(preload);
      return served.take(`shop/${name}`, preload, urgent);
    },
    /** As a reflector takes over a list. */
    replace(raws: readonly JsonObject[]): void {
      const items = raws.map((raw) => cache.trimmed(cache.read(raw)));
      for (const _ of cache.replace(new Map(items.map((item) => [item.key, item]))));
    },
  };
}

test('of the ImagePreloads of a namespace the oldest are served, as many as there are places', () => {
  const { put, served, isKept, take, woken } = followed();
  served.start();
  for (let n = 0; n < LIMIT; n += 1) put(object(`p${n}`));
  put(object('younger', { createdAt: 2000 }));
  put(object('older', { createdAt: 1000 }));
  assert.deepEqual(
    [isKept('p0'), isKept(`p${LIMIT - 1}`), isKept('younger'), isKept('older')],
    [true, true, false, false],
  );
  assert.deepEqual([take('p0', false), take('younger', false)], [true, false]);
  put(object('p0', { status: { finishedAt: time(5000) } }));
  assert.deepEqual(woken, ['older']);
  assert.equal(isKept('p0'), false, 'of one that has finished nothing is kept');
});

test('a deletion gives its place to the next, and another namespace has places of its own', () => {
  const { put, served, remove, woken, isKept } = followed();
  served.start();
  for (let n = 0; n <= LIMIT; n += 1) put(object(`p${n}`));
  const elsewhere = {
    ...object('p0'),
    metadata: { ...Object(object('p0')['metadata']), namespace: 'other' },
  };
  put(elsewhere);
  remove('p7');
  assert.deepEqual(woken, [`p${LIMIT}`]);
  assert.equal(isKept('p0'), true);
});

test('one that a rollout waits for is served whatever the others are', () => {
  const { put, served, take } = followed();
  served.start();
  for (let n = 0; n <= LIMIT; n += 1) put(object(`p${n}`));
  assert.equal(take(`p${LIMIT}`, true), true);
  put(object('next'));
  assert.equal(take('next', false), false);
});

test('what has finished and is waited for again is kept whole', () => {
  const { put, served, take, isKept } = followed();
  served.start();
  const ended = object('p', { status: { finishedAt: time(5000) } });
  put(ended);
  assert.equal(isKept('p'), false);
  assert.equal(take('p', true), true);
  put(ended);
  assert.equal(isKept('p'), true);
});

test('images times nodes are bounded too, and one ImagePreload is served however many it has', () => {
  const { put, served, take } = followed(4000);
  served.start();
  const hundred = { images: list(100, image) };
  put(object('first', hundred));
  put(object('second', hundred));
  put(object('small'));
  assert.deepEqual([take('first', false), take('second', false)], [true, false]);
  assert.equal(take('small', false), false, 'an older one is not overtaken');
});

test('after a restart those that were begun are served, and then the oldest', () => {
  const { replace, served, woken } = followed();
  const begun = { status: { startedAt: time(60_000) } };
  replace([
    ...list(LIMIT, (n) => object(`p${n}`, { createdAt: 10_000 })),
    object('begun', { createdAt: 50_000, ...begun }),
    object('older', { createdAt: 1000 }),
  ]);
  served.start();
  assert.equal(woken.length, LIMIT);
  assert.deepEqual(woken.slice(0, 2), ['begun', 'older']);
});

test('the cache takes over an object that was read for a place', () => {
  const { put, replace, cache, served, isKept } = followed();
  replace([object('p')]);
  served.start();
  assert.equal(isKept('p'), false);
  cache.refresh(cache.read(object('p')));
  assert.equal(isKept('p'), true);
  put(object('p', { status: { startedAt: time(1000) } }));
  assert.equal(isKept('p'), true);
});

test('an object that was read and has been deleted meanwhile stays away', () => {
  const { replace, cache, served, remove } = followed();
  replace([object('p')]);
  served.start();
  const read = cache.read(object('p'));
  remove('p');
  cache.refresh(read);
  assert.equal(cache.size, 0);
});

for (const how of ['list', 'watch'] as const) {
  test(`thousands of the largest ImagePreloads of one namespace take little memory, told by a ${how}`, () => {
    const MANY = 2000;
    const large = list(MANY, (n) =>
      JSON.stringify(
        object(`p${n}`, { images: list(100, (m) => ({ image: `r.test/${n}/${m}`.padEnd(250, 'x') })) }),
      ),
    );
    const bytes = retainedBytes(() => {
      const { replace, put, served, cache } = followed();
      if (how === 'watch') served.start();
      const raws = large.map((text): JsonObject => JSON.parse(text));
      if (how === 'list') replace(raws);
      else for (const raw of raws) put(raw);
      return [cache, served];
    });
    const limit = (how === 'list' ? 0 : LIMIT * NEEDS_BYTES) + MANY * 1500;
    assert.ok(bytes < limit, `${bytes} bytes`);
  });
}

const path = (name: string) => `${PRELOADS}/${name}`;
const reasonOf = ({ api }: World, name: string) => {
  const conditions = asArray(valueAt(api.objects.get(path(name)), 'status', 'conditions'));
  return valueAt(conditions[0], 'reason');
};
const phaseOf = ({ api }: World, name: string) => valueAt(api.objects.get(path(name)), 'status', 'phase');

/** One more than there are places. */
async function crowded(spec: JsonObject = {}): Promise<World> {
  const world = gateWorld();
  for (let n = 0; n <= LIMIT; n += 1) {
    const createdAt = world.clock.now() + n * 1000;
    world.api.put(path(`p${n}`), object(`p${n}`, { images: [image(n)], createdAt, spec }));
  }
  world.start();
  await world.pass(30_000);
  return world;
}

test('one beyond the bound says once that it waits, and is served when another has finished', async () => {
  const world = await crowded();
  const last = `p${LIMIT}`;
  assert.equal(reasonOf(world, last), 'WaitingForOthers');
  assert.equal(phaseOf(world, last), 'Pending');
  assert.equal(
    valueAt(world.api.objects.get(path(last)), 'status', 'imageNames'),
    `registry.test/new:${LIMIT}`,
  );
  assert.equal(phaseOf(world, 'p0'), 'Preloading');
  await world.pass(60_000);
  assert.equal(world.api.called('jsonPatch', `/${last}/`).length, 1);
  world.api.put(path('p3'), undefined);
  await world.pass(5000);
  assert.notEqual(reasonOf(world, last), 'WaitingForOthers');
  assert.equal(world.api.called('jsonPatch', `/${last}/`).length, 2);
  await world.stop();
});

test('a held Deployment does not wait for the others of its namespace', async () => {
  const world = await crowded();
  world.hold();
  await world.pass(2000);
  for (const node of ['n1', 'n2']) world.pulled(node);
  await world.pass(2000);
  assert.equal(world.web().paused, false);
  await world.stop();
});

test('the deadline does not run while an ImagePreload waits', async () => {
  const world = await crowded({ deadlineSeconds: 7200 });
  const waits = object('waits', { createdAt: world.clock.now() + 10_000, spec: { deadlineSeconds: 600 } });
  world.api.put(path('waits'), waits);
  await world.pass(3000_000);
  assert.equal(reasonOf(world, 'waits'), 'WaitingForOthers');
  for (const name of ['p0', 'p1']) world.api.put(path(name), undefined);
  await world.pass(60_000);
  assert.notEqual(phaseOf(world, 'waits'), 'Failed');
  await world.pass(600_000);
  assert.equal(phaseOf(world, 'waits'), 'Failed');
  await world.stop();
});

test('one that waits and is not needed any more ends without having been served', async () => {
  const world = await crowded();
  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'gone', uid: 'uid-gone' };
  const orphan = object('orphan', { createdAt: world.clock.now() });
  world.api.put(path('orphan'), {
    ...orphan,
    metadata: { ...Object(orphan['metadata']), ownerReferences: [owner] },
  });
  await world.pass(5000);
  assert.equal(phaseOf(world, 'orphan'), 'Superseded');
  await world.stop();
});
