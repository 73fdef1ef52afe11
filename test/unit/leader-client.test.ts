import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient, CallOptions } from '../../src/cluster/api-client.ts';
import { untilAborted, whileLeading } from '../../src/cluster/leader-client.ts';
import { at } from '../../src/json.ts';

/** A client that says what it was called with, and can leave its calls open. */
function recorded() {
  const calls: unknown[][] = [];
  const call =
    (method: string) =>
    async (...args: unknown[]) => {
      calls.push([method, ...args]);
      return method;
    };
  const methods = ['get', 'create', 'jsonPatch', 'mergePatch', 'strategicPatch', 'apply', 'delete', 'close'];
  const client = {
    cluster: 'memory',
    ...Object.fromEntries(methods.map((method) => [method, call(method)])),
    async *watch() {
      yield 'event';
    },
  } as unknown as ApiClient;
  return { client, calls };
}

const LEADING = { isLeader: () => true, remainingMs: () => 9000 };
const NOT_LEADING = { isLeader: () => false, remainingMs: () => -1 };

const WRITES: readonly ((client: ApiClient, options?: CallOptions) => Promise<unknown>)[] = [
  (client, options) => client.create('/p', 'body', { q: 1 }, options),
  (client, options) => client.jsonPatch('/p', ['op'], { q: 1 }, options),
  (client, options) => client.mergePatch('/p', 'body', { q: 1 }, options),
  (client, options) => client.strategicPatch('/p', 'body', { q: 1 }, options),
  (client, options) => client.apply('/p', 'body', options),
  (client, options) => client.delete('/p', 'body', options),
];

test('a leader writes as with the client itself', async () => {
  for (const write of WRITES) {
    const plain = recorded();
    const guarded = recorded();
    const lost = new AbortController().signal;
    const options = { deadlineMs: 7 };
    await write(plain.client, options);
    await write(whileLeading(guarded.client, { ...LEADING, lost }), options);
    const [expected = []] = plain.calls;
    assert.deepEqual(guarded.calls, [[...expected.slice(0, -1), { ...options, signal: lost }]]);
  }
});

test('no write has longer than the lease has left', async () => {
  for (const write of WRITES) {
    const { client, calls } = recorded();
    const guarded = whileLeading(client, { ...LEADING, lost: new AbortController().signal });
    await write(guarded);
    await write(guarded, { deadlineMs: 20_000 });
    assert.deepEqual(
      calls.map((call) => at(call.at(-1), 'deadlineMs')),
      [9000, 9000],
    );
  }
});

test('once another may be leading no write is begun', async () => {
  const { client, calls } = recorded();
  const guarded = whileLeading(client, { ...NOT_LEADING, lost: new AbortController().signal });
  for (const write of WRITES) await assert.rejects(write(guarded), /not the leader/);
  assert.deepEqual(calls, []);
});

test('once the lease is lost every write is refused with the reason, and one under way is broken off', async () => {
  for (const write of WRITES) {
    const { client, calls } = recorded();
    const lost = new AbortController();
    const guarded = whileLeading(client, { ...LEADING, lost: lost.signal });
    await write(guarded, { signal: new AbortController().signal });
    const { signal } = calls.flat().at(-1) as CallOptions;
    assert.equal(signal?.aborted, false);
    lost.abort(new Error('it is lost'));
    assert.match(String(signal?.reason), /it is lost/);
    await assert.rejects(write(guarded), /it is lost/);
  }
});

test("the caller's own signal still breaks a write off", async () => {
  const { client, calls } = recorded();
  const guarded = whileLeading(client, { ...LEADING, lost: new AbortController().signal });
  const own = new AbortController();
  await guarded.delete('/p', undefined, { signal: own.signal });
  own.abort(new Error('enough'));
  const { signal } = calls.flat().at(-1) as CallOptions;
  assert.match(String(signal?.reason), /enough/);
});

test('reads go on', async () => {
  const { client, calls } = recorded();
  const lost = AbortSignal.abort(new Error('it is lost'));
  const guarded = whileLeading(client, { ...NOT_LEADING, lost });
  assert.equal(await guarded.get('/p'), 'get');
  assert.deepEqual(calls, [['get', '/p']]);
  const events: unknown[] = [];
  for await (const event of guarded.watch('/p', {}, new AbortController().signal)) events.push(event);
  assert.deepEqual(events, ['event']);
});

test('every call of a term ends with it, and has the signal of its caller as well', async () => {
  const reads = [(client: ApiClient, options?: CallOptions) => client.get('/p', { q: 1 }, options)];
  for (const call of [...WRITES, ...reads]) {
    const { client, calls } = recorded();
    const [term, own] = [new AbortController(), new AbortController()];
    const bounded = untilAborted(client, term.signal);
    await call(bounded);
    await call(bounded, { deadlineMs: 7, signal: own.signal });
    const [plain, both] = calls.map((args) => args.at(-1) as CallOptions);
    assert.equal(plain?.signal, term.signal);
    assert.equal(both?.deadlineMs, 7);
    own.abort();
    assert.deepEqual([both?.signal?.aborted, term.signal.aborted], [true, false]);
  }
});
