import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../src/json.ts';
import { createLogLimit } from '../../src/log-limit.ts';
import { createBackgroundMaking } from '../../src/preloads/background-making.ts';
import type { CreateResult } from '../../src/preloads/create-preload.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

const MIB = 1024 * 1024;

function world() {
  const clock = manualClock();
  const making = createBackgroundMaking({ clock, log: logDouble().log, limitLog: createLogLimit(clock) });
  let ends = Promise.withResolvers<CreateResult>();
  let names = 0;
  /** Returns whether there was room for another one, which then is under way until `endAll`. */
  async function begins(namespace: string, keeps: JsonObject = {}, name = `web-${names++}`) {
    const { promise } = ends;
    const answer = making.make({ namespace, name, keeps }, 500, () => promise);
    clock.advance(500);
    return (await answer)?.kind !== 'Crowded';
  }
  async function beginMany(namespace: string, keeps: JsonObject = {}): Promise<number> {
    let count = 0;
    while (await begins(namespace, keeps)) count += 1;
    return count;
  }
  async function endAll(): Promise<void> {
    ends.resolve({ kind: 'Existing' });
    ends = Promise.withResolvers();
    await new Promise((done) => setImmediate(done));
  }
  return { begins, beginMany, endAll };
}

const template = (bytes: number): JsonObject => ({ text: 'x'.repeat(bytes) });

test('one namespace makes eight at a time, and the next one has room', async () => {
  const { beginMany } = world();
  assert.equal(await beginMany('foe'), 8);
  assert.equal(await beginMany('shop'), 8);
});

test('of large templates one namespace keeps half of the memory, and the next one has room', async () => {
  const { begins, beginMany, endAll } = world();
  assert.equal(await beginMany('foe', template(6 * MIB)), 4);
  assert.ok(await begins('shop', template(6 * MIB)));
  await endAll();
  assert.equal(await beginMany('foe', template(6 * MIB)), 4, 'all of it is given back');
});

test('the largest template there can be has room', async () => {
  const { begins } = world();
  assert.ok(await begins('shop', { envFrom: Array.from({ length: 500_000 }, () => ({})) }));
});

test('one that is under way already takes no more', async () => {
  const { begins, beginMany } = world();
  assert.ok(await begins('foe', template(6 * MIB), 'web'));
  await beginMany('foe', template(6 * MIB));
  assert.ok(await begins('foe', template(6 * MIB), 'web'));
});
