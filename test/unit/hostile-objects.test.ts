import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asString, at } from '../../src/json.ts';
import { type Stage, staged, synced } from '../support/unit/followed-things.ts';
import { until } from '../support/unit/until.ts';

const MIB = 1024 * 1024;
const key = (raw: unknown) => `default/${asString(at(raw, 'metadata', 'name'))}`;

/** `{"a":{"a":...}}`: an API server takes 10,000 levels. The double writes it, which recurses, too. */
const deep = (levels: number) => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`) as unknown;

/** What stands in the log with a code. */
const coded = ({ lines }: Stage) =>
  lines.filter(({ code }) => code !== undefined).map(({ code, msg }) => `${code} ${msg}`);

/** The watch that was opened at first is the one that shows this change, and a new one would begin behind it. */
async function goesOn(stage: Stage, name = 'next'): Promise<void> {
  const { double, reflector } = stage;
  const watches = double.watchRequests().length;
  double.put(name, 'as before');
  await until(() => reflector.get(`default/${name}`)?.spec === 'as before');
  assert.equal(double.watchRequests().length, watches);
  assert.equal(double.lists().filter(({ query }) => !query.has('continue')).length, 1, 'listed once');
  const [last] = [...double.things.values()].slice(-1);
  double.cutWatches();
  await until(() => double.watchRequests().length > watches);
  const version = double.watchRequests().at(-1)?.query.get('resourceVersion');
  assert.equal(version, last?.metadata.resourceVersion);
}

test('an object that nests too deep is left out of the list and of the watch, and is read again once it does not', () =>
  staged(async (stage) => {
    const { double, reflector, changes } = stage;
    double.put('deep', { nested: deep(2000), field: 1 });
    double.put('other', 1);
    await synced(stage);
    double.put('deep', { nested: deep(2000), field: 2 });
    double.put('other', deep(2000));
    await goesOn(stage);
    double.put('deep', { nested: deep(20), field: 2 });
    double.remove('other');
    await until(() => reflector.get('default/deep') !== undefined);
    assert.deepEqual(
      changes.map(([kind, which]) => `${kind} ${which}`),
      ['added default/other', 'removed default/other', 'added default/next', 'added default/deep'],
    );
    const [line, ...others] = coded(stage);
    assert.match(line ?? '', /^PG_OBJECT_UNREADABLE .*default\/deep of \/apis\S+ cannot be read.*64 levels/);
    assert.deepEqual(others, []);
  }));

test('after 410, such an object stops the list no more than the watch', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    double.put('deep', { nested: deep(2000), field: 1 });
    await synced(stage);
    double.cutWatches();
    double.put('deep', { nested: deep(2000), field: 2 });
    double.put('next', 1);
    double.compact();
    await until(() => reflector.get('default/next') !== undefined);
    assert.equal(double.lists().length, 2);
  }));

test('objects that cannot be compared count as changed', () =>
  staged(
    async (stage) => {
      const { double, changes } = stage;
      double.put('odd', 1);
      await synced(stage);
      double.put('odd', 1);
      await until(() => changes.length === 2);
      assert.equal(changes[1]?.[0], 'changed');
      double.cutWatches();
      double.put('odd', 1);
      double.compact();
      await until(() => changes.length === 3);
    },
    {
      parse: (raw) => ({
        key: key(raw),
        get spec() {
          const { stack = '' } = new Error();
          if (stack.includes('same-data')) throw new Error('not to be looked at');
          return at(raw, 'spec');
        },
      }),
    },
  ));

const refusing = (raw: unknown) => {
  if (at(raw, 'spec') === 'unreadable') throw new RangeError('Maximum call stack size exceeded');
  return { key: key(raw), spec: at(raw, 'spec') };
};

test('an object that cannot be read is left out of the list and of the watch, with one line that names it', () =>
  staged(
    async (stage) => {
      const { double, reflector, changes } = stage;
      double.put('a', 'unreadable');
      double.put('b', 1);
      await synced(stage);
      for (let time = 0; time < 50; time += 1) double.put('a', 'unreadable', time);
      double.put('b', 'unreadable');
      await goesOn(stage);
      assert.deepEqual(
        [...reflector.values()].map((one) => one.key),
        ['default/next'],
      );
      assert.deepEqual(
        changes.map(([kind, which]) => `${kind} ${which}`),
        ['added default/b', 'removed default/b', 'added default/next'],
      );
      const [line, ...others] = coded(stage);
      assert.match(line ?? '', /^PG_OBJECT_UNREADABLE .*default\/a of \/apis\S+ cannot be read.*call stack/);
      assert.deepEqual(others, []);
      double.put('b', 2);
      double.remove('a');
      await until(() => reflector.get('default/b')?.spec === 2);
    },
    { parse: refusing },
  ));

test('an object with a name that no API server stores is left out, and the line about it is short', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    double.put('x'.repeat(254), 1);
    double.put('y'.repeat(253), 1);
    await synced(stage);
    double.put('z'.repeat(100_000), 1);
    await goesOn(stage);
    assert.deepEqual(
      [...reflector.values()].map((one) => one.key),
      [`default/${'y'.repeat(253)}`, 'default/next'],
    );
    const lines = coded(stage);
    assert.match(lines.join('\n'), /PG_OBJECT_UNREADABLE .*its name or uid is longer than 253 characters/);
    for (const line of lines) assert.ok(line.length < 2000, `${line.length} characters`);
  }));

test('a removed object is forgotten even if its last state cannot be read', () =>
  staged(
    async (stage) => {
      const { double, reflector } = stage;
      double.put('a', 1);
      await synced(stage);
      const thing = double.things.get('default/a');
      assert.ok(thing !== undefined);
      const object = {
        ...thing,
        spec: 'unreadable',
        metadata: { ...thing.metadata, resourceVersion: '999' },
      };
      double.write(Buffer.from(`${JSON.stringify({ type: 'DELETED', object })}\n`));
      await until(() => reflector.size === 0);
    },
    { parse: refusing },
  ));

test('an object with a resourceVersion from the far future is followed like any other', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    double.put('a', 1);
    await synced(stage);
    const thing = double.things.get('default/a');
    assert.ok(thing !== undefined);
    const object = { ...thing, spec: 2, metadata: { ...thing.metadata, resourceVersion: '99999999999' } };
    double.write(Buffer.from(`${JSON.stringify({ type: 'MODIFIED', object })}\n`));
    await until(() => reflector.get('default/a')?.spec === 2);
    double.put('a', 3);
    await until(() => reflector.get('default/a')?.spec === 3);
    double.remove('a');
    await until(() => reflector.size === 0);
  }));

test('whoever throws when told of a change is told of the next one', () => {
  const told: string[] = [];
  return staged(
    async (stage) => {
      const { double } = stage;
      double.put('a');
      double.put('b');
      await synced(stage);
      for (let time = 0; time < 50; time += 1) double.put('a', time);
      await until(() => told.length === 52);
      await goesOn(stage);
      assert.deepEqual(coded(stage).length, 1);
      assert.match(coded(stage)[0] ?? '', /^PG_INTERNAL .*a bug/);
    },
    {
      onChange(which) {
        told.push(which);
        throw new Error('a bug');
      },
    },
  );
});

test('an event too large to be read is skipped, and the watch goes on behind it', () =>
  staged(async (stage) => {
    const { double } = stage;
    await synced(stage);
    double.put('large', 'x'.repeat(17 * MIB));
    await goesOn(stage);
    const [line] = coded(stage);
    assert.match(line ?? '', /^PG_OBJECT_TOO_LARGE .*an event of 178\d+ bytes.*"name":"large"/);
  }));

test('an object too large to be read is skipped in a list, and the others come', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    double.put('a', 1);
    double.put('large', 'x'.repeat(17 * MIB));
    double.put('z', 1);
    await synced(stage);
    assert.deepEqual(
      [...reflector.values()].map((one) => one.key),
      ['default/a', 'default/z'],
    );
    assert.match(coded(stage)[0] ?? '', /^PG_OBJECT_TOO_LARGE .*default\/large of \/apis/);
  }));

test('pages have fewer objects where these are large', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    for (let index = 0; index < 30; index += 1) double.put(`thing-${index}`, 'x'.repeat(MIB));
    for (let index = 30; index < 100; index += 1) double.put(`thing-${index}`);
    await synced(stage);
    assert.equal(reflector.size, 100);
    const limits = double.lists().map(({ query }) => query.get('limit'));
    // In a page of 12 there was too much, too. After the large ones, the pages grow again.
    assert.deepEqual(limits.slice(0, 4), ['100', '12', '1', '1']);
    assert.deepEqual(limits.slice(-4), ['8', '16', '32', '64']);
  }));
