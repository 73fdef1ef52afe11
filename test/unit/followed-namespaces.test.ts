import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { ApiError } from '../../src/cluster/api-error.ts';
import { createReflector } from '../../src/cluster/reflector.ts';
import { asString, at, type JsonObject } from '../../src/json.ts';
import { DEPLOYMENTS, laggingServer } from '../support/unit/lagging-server.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

interface Thing {
  readonly key: string;
  readonly uid: string;
  readonly version: number;
  /** Undefined for one of which less is kept. */
  readonly spec: unknown;
  readonly isMarked: boolean;
  readonly isEnding: boolean;
}

const parse = (raw: unknown): Thing => ({
  key: `${asString(at(raw, 'metadata', 'namespace'))}/${asString(at(raw, 'metadata', 'name'))}`,
  uid: asString(at(raw, 'metadata', 'uid')) ?? '',
  version: Number(at(raw, 'metadata', 'resourceVersion')),
  spec: at(raw, 'spec'),
  isMarked: at(raw, 'marked') === true,
  isEnding: at(raw, 'ending') === true,
});

/** All of what is marked, less of what is ending, and nothing of the rest. */
function keepElsewhere(thing: Thing): Thing | undefined {
  if (thing.isMarked) return thing;
  return thing.isEnding ? { ...thing, spec: undefined } : undefined;
}

/** A reflector of which a test moves every part. */
function followed() {
  const server = laggingServer();
  const clock = manualClock();
  const namespaces = new Set<string>();
  /** What was reported, and what was wrong about it: an assertion in a callback would only be logged. */
  const reported = new Map<string, Thing>();
  const newest = new Map<string, number>();
  const wrong: string[] = [];
  const { log, lines } = logDouble();
  const reflector = createReflector<Thing>({
    client: server.client,
    path: DEPLOYMENTS,
    parse,
    scope: { isFollowed: (namespace) => namespaces.has(namespace), keepElsewhere },
    log,
    clock,
    random: () => 0,
  });

  const start = () =>
    reflector.start({
      onChange(key, now, before) {
        if (reported.get(key) !== before) wrong.push(`${key}: not what was reported before`);
        if (now === undefined) reported.delete(key);
        else reported.set(key, now);
        if (now !== undefined && now.version < (newest.get(key) ?? 0)) wrong.push(`${key}: back in time`);
        newest.set(key, Math.max(now?.version ?? 0, newest.get(key) ?? 0));
      },
    });

  async function settle(): Promise<void> {
    for (let turn = 0; turn < 8; turn += 1) {
      await nextTurn();
      clock.advance(1);
    }
  }

  return {
    server,
    reflector,
    start,
    lines,
    namespaces,
    wrong,
    reported,
    settle,
    async follow(namespace: string, is = true): Promise<void> {
      if (is) namespaces.add(namespace);
      else namespaces.delete(namespace);
      reflector.namespaceChanged(namespace);
      // What a list had told ahead of the watch is forgotten with the namespace.
      if (!is) for (const key of newest.keys()) if (key.startsWith(`${namespace}/`)) newest.delete(key);
      await settle();
    },
    async answer(index = 0): Promise<void> {
      server.answer(index);
      await settle();
    },
    async deliver(count?: number): Promise<void> {
      server.deliver(count);
      await settle();
    },
    /** Until nothing is on its way any more. */
    async finish(): Promise<void> {
      for (let round = 0; round < 50; round += 1) {
        while (server.requests.length > 0) await this.answer();
        await this.deliver();
      }
    },
    cached: () => [...reflector.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
    /** What should be kept of what is stored. */
    wanted: () =>
      [...server.objects.values()]
        .flatMap((raw) => {
          const thing = parse(raw);
          const isFollowed = namespaces.has(asString(at(raw, 'metadata', 'namespace')) ?? '');
          return isFollowed ? thing : (keepElsewhere(thing) ?? []);
        })
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
    async stop(): Promise<void> {
      const stopped = reflector.stop();
      for (let round = 0; round < 10; round += 1) {
        while (server.requests.length > 0) server.answer();
        await settle();
      }
      await stopped;
    },
  };
}

type Followed = ReturnType<typeof followed>;

async function staged(run: (stage: Followed) => Promise<void>, before?: (stage: Followed) => void) {
  const stage = followed();
  before?.(stage);
  try {
    stage.start();
    await stage.finish();
    assert.ok(stage.reflector.hasSynced());
    await run(stage);
    await stage.finish();
    assert.deepEqual(stage.cached(), stage.wanted());
    assert.deepEqual([...stage.reported.values()].length, stage.reflector.size);
    assert.deepEqual(stage.wrong, []);
  } finally {
    await stage.stop();
  }
}

const keys = (stage: Followed) => stage.cached().map(({ key }) => key);

test('in a namespace that is not followed, only what is marked is kept', () =>
  staged(
    async (stage) => {
      assert.deepEqual(keys(stage), ['in/a', 'out/ending', 'out/marked']);
      assert.equal(stage.reflector.get('out/ending')?.spec, undefined);
      stage.server.put('out', 'plain', { spec: 2 });
      stage.server.put('out', 'marked', { spec: 3, marked: true });
      await stage.deliver();
      assert.equal(stage.reflector.get('out/marked')?.spec, 3);
      stage.server.put('out', 'marked', { spec: 3 });
      await stage.deliver();
      assert.deepEqual(keys(stage), ['in/a', 'out/ending']);
      assert.equal(stage.server.requests.length, 0, 'no namespace was listed');
    },
    ({ server, namespaces }) => {
      namespaces.add('in');
      server.put('in', 'a', { spec: 1 });
      server.put('out', 'plain', { spec: 1 });
      server.put('out', 'marked', { spec: 1, marked: true });
      server.put('out', 'ending', { spec: 1, ending: true });
    },
  ));

test('a namespace that is followed from now on is listed, and one that no longer is is forgotten', () =>
  staged(
    async (stage) => {
      await stage.follow('shop');
      assert.deepEqual(
        stage.server.requests.map(({ namespace }) => namespace),
        ['shop'],
      );
      await stage.finish();
      assert.deepEqual(keys(stage), ['shop/a', 'shop/b', 'shop/c']);
      assert.equal(stage.reflector.get('shop/c')?.spec, 1, 'all of it, of which less was kept');
      assert.deepEqual(
        [...stage.reflector.inNamespace('shop')].map(({ key }) => key),
        ['shop/a', 'shop/b', 'shop/c'],
      );
      await stage.follow('shop', false);
      assert.deepEqual(keys(stage), ['shop/c']);
      assert.equal(stage.reflector.get('shop/c')?.spec, undefined);
    },
    ({ server }) => {
      server.put('shop', 'a', { spec: 1 });
      server.put('shop', 'b', { spec: 1 });
      server.put('shop', 'c', { spec: 1, ending: true });
      server.put('other', 'a', { spec: 1 });
    },
  ));

test('what the list has newer than the watch is not undone by the watch', () =>
  staged(
    async (stage) => {
      stage.server.put('shop', 'a', { spec: 2 });
      stage.server.put('shop', 'a', { spec: 3 });
      stage.server.put('shop', 'b', { spec: 1 });
      stage.server.remove('shop', 'b');
      stage.server.put('shop', 'b', { spec: 9 });
      await stage.follow('shop');
      await stage.answer();
      for (let change = 0; change < 6; change += 1) {
        assert.equal(stage.reflector.get('shop/a')?.spec, 3);
        assert.equal(stage.reflector.get('shop/b')?.spec, 9);
        await stage.deliver(1);
      }
    },
    ({ server }) => server.put('shop', 'a', { spec: 1 }),
  ));

test('what the watch has deleted does not come back with a list that is late', () =>
  staged(
    async (stage) => {
      await stage.follow('shop');
      // The first page is one snapshot with the second, which comes only after the deletion.
      await stage.answer();
      assert.deepEqual(keys(stage), ['shop/a', 'shop/b']);
      stage.server.remove('shop', 'a');
      stage.server.remove('shop', 'c');
      await stage.deliver();
      await stage.answer();
      assert.deepEqual(keys(stage), ['shop/b']);
    },
    ({ server }) => {
      for (const name of ['a', 'b', 'c']) server.put('shop', name, { spec: 1 });
    },
  ));

test('what the watch has changed is not undone by a list that is late', () =>
  staged(
    async (stage) => {
      await stage.follow('shop');
      await stage.answer();
      stage.server.put('shop', 'c', { spec: 2 });
      await stage.deliver();
      await stage.answer();
      assert.equal(stage.reflector.get('shop/c')?.spec, 2);
    },
    ({ server }) => {
      for (const name of ['a', 'b', 'c']) server.put('shop', name, { spec: 1 });
    },
  ));

test('a namespace that is followed for a moment loses nothing of what is kept elsewhere', () =>
  staged(
    async (stage) => {
      await stage.follow('shop');
      await stage.follow('shop', false);
      await stage.finish();
      assert.deepEqual(keys(stage), ['shop/ending']);
    },
    ({ server }) => server.put('shop', 'ending', { spec: 1, ending: true }),
  ));

test('a namespace whose list fails is listed again', () =>
  staged(
    async (stage) => {
      await stage.follow('shop');
      stage.server.refuse(new ApiError(503, { reason: 'Unavailable' }));
      await stage.settle();
      assert.deepEqual(keys(stage), []);
      await stage.finish();
      assert.deepEqual(keys(stage), ['shop/a']);
      assert.equal(stage.lines.filter(({ level }) => level === 40).length, 1);
    },
    ({ server }) => server.put('shop', 'a', { spec: 1 }),
  ));

test('a list from before the namespace was left and joined again counts for nothing', () =>
  staged(
    async (stage) => {
      await stage.follow('shop');
      await stage.answer();
      await stage.follow('shop', false);
      stage.server.put('shop', 'c', { spec: 2 });
      await stage.deliver();
      await stage.follow('shop');
      await stage.finish();
      assert.equal(stage.reflector.get('shop/c')?.spec, 2);
    },
    ({ server }) => {
      for (const name of ['a', 'b', 'c']) server.put('shop', name, { spec: 1 });
    },
  ));

test('a namespace that is joined while the whole collection is listed is listed after it', () =>
  staged(
    async (stage) => {
      stage.server.compact();
      await stage.settle();
      assert.equal(stage.server.requests.length, 1);
      await stage.answer();
      await stage.follow('shop');
      assert.deepEqual(
        stage.server.requests.map(({ namespace }) => namespace),
        [undefined],
      );
      await stage.finish();
      assert.deepEqual(keys(stage), ['shop/a', 'shop/b', 'shop/c']);
    },
    ({ server }) => {
      for (const name of ['a', 'b', 'c']) server.put('shop', name, { spec: 1 });
    },
  ));

test('at most four namespaces are listed at a time, and one that fails keeps no other waiting', () =>
  staged(
    async (stage) => {
      for (let index = 0; index < 10; index += 1) await stage.follow(`ns-${index}`);
      assert.equal(stage.server.requests.length, 4);
      await stage.answer(); // the first page of ns-0
      stage.server.compact(); // its second page expires, and the whole collection is listed
      await stage.finish();
      assert.equal(stage.reflector.size, 30);
    },
    ({ server }) => {
      for (let index = 0; index < 10; index += 1)
        for (const name of ['a', 'b', 'c']) server.put(`ns-${index}`, name, { spec: 1 });
    },
  ));

const namespace = fc.constantFrom('one', 'two');
const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      namespace,
      name,
      fields: fc.record({ spec: fc.nat(3), marked: fc.boolean(), ending: fc.boolean() }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), namespace, name }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('follow' as const), namespace, is: fc.boolean() }) },
  // Gone with all that is in it, and made anew.
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remake' as const), namespace }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('answer' as const), index: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'compact' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function apply(stage: Followed, one: Step): Promise<void> {
  const { server } = stage;
  if (one.do === 'put') server.put(one.namespace, one.name, one.fields as JsonObject);
  else if (one.do === 'remove') server.remove(one.namespace, one.name);
  else if (one.do === 'follow') await stage.follow(one.namespace, one.is);
  else if (one.do === 'remake') {
    await stage.follow(one.namespace, false);
    for (const key of [...server.objects.keys()])
      if (key.startsWith(`${one.namespace}/`)) server.remove(one.namespace, key.split('/')[1] ?? '');
    await stage.follow(one.namespace);
  } else if (one.do === 'deliver') await stage.deliver(one.count);
  else if (one.do === 'answer') await stage.answer(one.index);
  else {
    server[one.do]();
    await stage.settle();
  }
}

test('whatever comes in which order, the cache ends as what is stored, and nothing goes back in time', () =>
  fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) =>
      staged(
        async (stage) => {
          for (const one of steps) await apply(stage, one);
        },
        ({ server }) => {
          for (const each of ['a', 'b', 'c', 'd', 'e']) {
            server.put('one', each, { spec: 1 });
            server.put('two', each, { spec: 1, ending: true });
          }
        },
      ),
    ),
    { numRuns: 400 },
  ));
