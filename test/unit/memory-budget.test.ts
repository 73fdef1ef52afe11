import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { array, assert as check, constantFrom, nat, property, record } from 'fast-check';
import { type Charge, createMemoryBudget } from '../../src/admission/memory-budget.ts';

const KB = 1024;
const MB = 1024 * KB;

/** How often the peer can take that much at once. */
function fill(budget: ReturnType<typeof createMemoryBudget>, peer: string, bytes: number): number {
  let count = 0;
  while (budget.charge(peer).add(bytes)) count += 1;
  return count;
}

test('the container has the memory that the budget is derived from', () => {
  const manifest = readFileSync(new URL('../../deploy/deployment.yaml', import.meta.url), 'utf8');
  assert.match(manifest, /limits:\n +memory: 512Mi\n/);
});

test('one peer has half of the budget, two have a third each, and there is room for the next', () => {
  const budget = createMemoryBudget();
  assert.equal(fill(budget, 'a', 8 * MB), 3);
  assert.equal(fill(budget, 'b', 8 * MB), 2);
  assert.equal(budget.charge('api-server').add(8 * MB), true);
});

test('requests of one namespace that wait leave room for those of another one of the same peer', () => {
  for (const bytes of [60 * KB, 200 * KB, 2 * MB]) {
    const budget = createMemoryBudget();
    const keep = (namespace: string) => budget.charge('api-server').keep(namespace, bytes);
    let count = 0;
    while (keep('foe')) count += 1;
    assert.ok(count >= 8);
    assert.ok(keep('shop'));
    assert.ok(budget.charge('api-server').add(bytes));
  }
});

test('a request that may not wait keeps what it has', () => {
  const budget = createMemoryBudget();
  const charge = budget.charge('api-server');
  assert.ok(charge.add(20 * MB));
  assert.equal(charge.keep('foe', 100 * MB), false);
  assert.equal(fill(budget, 'another', 8 * MB), 2);
  charge.end();
  assert.equal(fill(budget, 'another', 8 * MB), 1);
});

test('large requests keep no small one out, of the same peer or of another', () => {
  const budget = createMemoryBudget();
  for (let n = 0; n < 100; n += 1) fill(budget, `peer-${n}`, 7 * MB);
  assert.ok(fill(budget, 'peer-1', 200 * KB) >= 40);
  assert.ok(fill(budget, 'api-server', 50 * KB) > 50);
});

test('usual reviews of one peer have room on all of its connections, whatever larger ones there are', () => {
  const budget = createMemoryBudget();
  for (let n = 0; n < 100; n += 1) fill(budget, `peer-${n}`, 7 * MB);
  fill(budget, 'api-server', 7 * MB);
  fill(budget, 'api-server', 200 * KB);
  assert.equal(fill(budget, 'api-server', 64 * KB), 256);
  assert.ok(fill(budget, 'another', 64 * KB) > 0);
});

test('the largest review there can be has room, received and parsed, in a budget that is empty', () => {
  const charge = createMemoryBudget().charge('api-server');
  assert.ok(charge.add(7 * MB));
  assert.ok(charge.add(31 * MB));
});

test('what arrives in small pieces counts as what it is', () => {
  const budget = createMemoryBudget();
  const receive = (peer: string) => {
    const charge = budget.charge(peer);
    let bytes = 0;
    while (bytes < 7 * MB && charge.add(16 * KB)) bytes += 16 * KB;
    // The rest is not kept.
    if (bytes < 7 * MB) charge.end();
  };
  for (let n = 0; n < 100; n += 1) receive(`peer-${n}`);
  assert.ok(budget.charge('api-server').add(50 * KB));
});

test('whatever is taken, refused and given back: nothing is lost, and no more is out than there is', async () => {
  const step = record({ peer: constantFrom('a', 'b', 'c'), bytes: nat(9 * MB), end: nat(20) });
  await check(
    property(array(step, { maxLength: 60 }), (steps) => {
      const budget = createMemoryBudget();
      const open: { charge: Charge; bytes: number }[] = [];
      for (const { peer, bytes, end } of steps) {
        const entry = open[end] ?? { charge: budget.charge(peer), bytes: 0 };
        if (!open.includes(entry)) open.push(entry);
        if (entry.charge.add(bytes)) entry.bytes += bytes;
        if (end % 3 === 0) {
          entry.charge.end();
          open.splice(open.indexOf(entry), 1);
        }
        assert.ok(open.reduce((sum, one) => sum + one.bytes, 0) <= 64 * MB);
      }
      for (const { charge } of open) charge.end();
      assert.ok(budget.charge('a').add(48 * MB));
      assert.ok(budget.charge('a').add(256 * KB));
    }),
  );
});
