import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { type ApiClient, createApiClient } from '../../src/cluster/api-client.ts';
import { createEventWriter, type EventWriter, type GateEvent } from '../../src/cluster/events.ts';
import { at } from '../../src/json.ts';
import {
  type ApiServerDouble,
  answer,
  startApiServerDouble,
  status,
} from '../support/unit/api-server-double.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

const EVENTS = '/apis/events.k8s.io/v1/namespaces/shop/events';
const HELD: GateEvent = {
  type: 'Normal',
  reason: 'RolloutHeld',
  action: 'Hold',
  regarding: { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'web', uid: 'uid-1' },
  related: { apiVersion: 'pullgate.io/v1alpha1', kind: 'ImagePreload', namespace: 'shop', name: 'web-abc' },
  note: 'held until 2 nodes have nginx:2',
  dedupKey: 'template-1',
};

interface Stage {
  readonly double: ApiServerDouble;
  readonly lines: Record<string, unknown>[];
  /** A writer as another replica, or a restarted one, would have it. */
  readonly writer: () => EventWriter['write'];
  readonly client: ApiClient;
  readonly bodies: () => unknown[];
}

async function staged(run: (stage: Stage) => Promise<void>): Promise<void> {
  const double = await startApiServerDouble();
  const client = createApiClient(double.cluster(), { clock: systemClock, random: () => 0 });
  const { log, lines } = logDouble();
  for (const namespace of ['shop', 'default']) {
    double.route('POST', EVENTS.replace('shop', namespace), answer(201, {}));
  }
  try {
    await run({
      double,
      lines,
      client,
      writer: () =>
        createEventWriter(client, {
          reportingController: 'pullgate.io/gate',
          reportingInstance: 'gate-0',
          clock: manualClock(),
          log,
        }).write,
      bodies: () => double.requests.map(({ body }) => body),
    });
  } finally {
    await client.close();
    await double.close();
  }
}

test('an event says who, what, why and when, in the shape that the API server takes', () =>
  staged(async ({ writer, bodies, double }) => {
    writer()(HELD);
    await until(() => bodies().length === 1);
    const [body] = bodies();
    assert.equal(double.requests[0]?.path, EVENTS);
    assert.match(String(at(body, 'metadata', 'name')), /^web\.[0-9a-f]{16}$/);
    assert.deepEqual(body, {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: at(body, 'metadata', 'name'), namespace: 'shop' },
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'pullgate.io/gate',
      reportingInstance: 'gate-0',
      type: 'Normal',
      reason: 'RolloutHeld',
      action: 'Hold',
      regarding: HELD.regarding,
      related: HELD.related,
      note: HELD.note,
    });
  }));

test('one Event is one call and one audit line, however often it is given', () =>
  staged(async ({ writer, bodies, lines }) => {
    const write = writer();
    write(HELD);
    write(HELD);
    write({ ...HELD, dedupKey: 'template-2' });
    await until(() => bodies().length === 2);
    write({ ...HELD, note: 'the same in other words' });
    write({ ...HELD, dedupKey: 'template-3' });
    await until(() => bodies().length === 3);
    const audited = lines.filter(({ audit }) => audit === true);
    assert.deepEqual(
      audited.map(({ event, deployment, dedupKey, msg }) => [event, deployment, dedupKey, msg]),
      ['template-1', 'template-2', 'template-3'].map((dedupKey) => [
        'RolloutHeld',
        'shop/web',
        dedupKey,
        HELD.note,
      ]),
    );
  }));

test('another replica writes the same Event under the same name, and takes AlreadyExists for success', () =>
  staged(async ({ writer, bodies, lines, double }) => {
    writer()(HELD);
    await until(() => bodies().length === 1);
    const other = writer();
    double.next(answer(409, status(409, 'AlreadyExists')));
    other(HELD);
    await until(() => bodies().length === 2);
    const [first, second] = bodies();
    assert.equal(at(first, 'metadata', 'name'), at(second, 'metadata', 'name'));
    other({ ...HELD, dedupKey: 'later' });
    await until(() => bodies().length === 3);
    other(HELD);
    other({ ...HELD, dedupKey: 'last' });
    await until(() => bodies().length === 4);
    assert.deepEqual(
      lines.filter(({ level }) => Number(level) >= 40),
      [],
    );
  }));

test('another reason, another object or another key is another Event', () =>
  staged(async ({ writer, bodies }) => {
    const write = writer();
    write(HELD);
    write({ ...HELD, reason: 'RolloutReleased' });
    write({ ...HELD, dedupKey: 'other' });
    write({ ...HELD, regarding: { ...HELD.regarding, uid: 'uid-2' } });
    await until(() => bodies().length === 4);
    assert.equal(new Set(bodies().map((body) => at(body, 'metadata', 'name'))).size, 4);
  }));

test('a note is cut at 1024 bytes, between characters', () =>
  staged(async ({ writer, bodies }) => {
    const write = writer();
    const notes = [
      'x'.repeat(1024),
      'x'.repeat(1025),
      ...[0, 1, 2, 3].map((n) => 'x'.repeat(n) + '🚢'.repeat(300)),
    ];
    for (const note of notes) write({ ...HELD, note, dedupKey: note });
    await until(() => bodies().length === notes.length);
    for (const [index, body] of bodies().entries()) {
      const note = String(at(body, 'note'));
      const original = notes[index] ?? '';
      assert.ok(
        Buffer.byteLength(note) <= 1024 && Buffer.byteLength(note) > 1018,
        `${Buffer.byteLength(note)}`,
      );
      assert.ok(note === original || (note.endsWith('…') && original.startsWith(note.slice(0, -1))), note);
    }
    assert.equal(at(bodies()[0], 'note'), notes[0]);
  }));

test('a long name leaves room for the hash, and stays a valid one', () =>
  staged(async ({ writer, bodies }) => {
    writer()({ ...HELD, regarding: { ...HELD.regarding, name: `${'a'.repeat(199)}.${'b'.repeat(50)}` } });
    await until(() => bodies().length === 1);
    assert.match(String(at(bodies()[0], 'metadata', 'name')), /^a{199}\.[0-9a-f]{16}$/);
  }));

test("a Namespace's event lies in that namespace, a Node's in default", () =>
  staged(async ({ writer, double }) => {
    const write = writer();
    write({
      ...HELD,
      type: 'Warning',
      reason: 'InvalidMode',
      regarding: { apiVersion: 'v1', kind: 'Namespace', name: 'shop' },
    });
    write({ ...HELD, regarding: { apiVersion: 'v1', kind: 'Node', name: 'node-1' } });
    await until(() => double.requests.length === 2);
    assert.deepEqual(
      double.requests.map(({ path, body }) => [path, at(body, 'regarding', 'namespace')]),
      [
        [EVENTS, 'shop'],
        [EVENTS.replace('shop', 'default'), 'default'],
      ],
    );
  }));

test('events that cannot be written are one warning and no error, and are tried again when given again', () =>
  staged(async ({ writer, double, lines, bodies }) => {
    double.route('POST', EVENTS, answer(403, status(403, 'Forbidden')));
    const write = writer();
    write(HELD);
    write({ ...HELD, dedupKey: 'second' });
    await until(() => bodies().length === 2);
    double.route('POST', EVENTS, answer(201, {}));
    await until(() => {
      write(HELD);
      return bodies().length === 3;
    }, 'it is tried again');
    assert.equal(lines.filter(({ level }) => level === 40).length, 1);
    assert.equal(lines.filter(({ audit }) => audit === true).length, 2);
  }));

test('who has to end can wait until all has been written', () =>
  staged(async ({ client, bodies }) => {
    const { log } = logDouble();
    const { write, settled } = createEventWriter(client, {
      reportingController: 'pullgate.io/gate',
      reportingInstance: 'gate-0',
      clock: manualClock(),
      log,
    });
    await settled();
    for (let fact = 0; fact < 20; fact += 1) write({ ...HELD, dedupKey: `${fact}` });
    assert.ok(bodies().length < 20);
    await settled();
    assert.equal(bodies().length, 20);
  }));

/** A writer before an API server that takes Events when the test lets it. */
function world({ taken = async () => ({}) }: { taken?: (namespace: string) => Promise<unknown> } = {}) {
  const clock = manualClock();
  const { log, lines } = logDouble();
  const created: { namespace: string; note: string }[] = [];
  const { write, settled } = createEventWriter(
    {
      create: async (_path, body) => {
        const namespace = String(at(body, 'metadata', 'namespace'));
        created.push({ namespace, note: String(at(body, 'note')) });
        return await taken(namespace);
      },
    },
    { reportingController: 'pullgate.io/gate', reportingInstance: 'gate-0', clock, log },
  );
  return {
    clock,
    settled,
    write,
    notesIn: (namespace: string) =>
      created.filter((event) => event.namespace === namespace).map(({ note }) => note),
    audited: () => lines.filter(({ audit }) => audit === true),
    warnings: () => lines.filter(({ level }) => Number(level) >= 40),
  };
}

function event(
  namespace: string,
  n: number,
  fields: Partial<Omit<GateEvent, 'type' | 'reason'>> = {},
): GateEvent {
  const regarding = { ...HELD.regarding, namespace, uid: `uid-of-${namespace}` };
  return { ...HELD, regarding, dedupKey: `fact-${n}`, note: `${n}`, ...fields };
}

test('an object has 25 Events of one reason, then one in 5 minutes, and the log says how many were left out', async () => {
  const { clock, write, settled, notesIn, audited } = world();
  const flood = (from: number) => {
    for (let n = from; n < from + 1000; n += 1) write(event('shop', n));
  };
  flood(0);
  await settled();
  assert.deepEqual([notesIn('shop').length, audited().length], [25, 25]);
  clock.advance(300_000);
  flood(1000);
  await settled();
  assert.deepEqual([notesIn('shop').length, audited().length], [26, 26]);
  assert.equal(audited().at(-1)?.['leftOut'], 975);
  write({ ...event('shop', 0), reason: 'RolloutReleased' });
  write(event('shop', 0, { regarding: { ...HELD.regarding, uid: 'another' } }));
  await settled();
  assert.equal(notesIn('shop').length, 28, 'another reason and another object have Events of their own');
});

test('an Event that was left out is written when it is given again later, if it is still true', async () => {
  const { clock, write, settled, notesIn } = world();
  for (let n = 0; n < 100; n += 1) write(event('shop', n));
  clock.advance(300_000);
  write(event('shop', 99));
  await settled();
  assert.equal(notesIn('shop').at(-1), '99');
});

test('the log does not repeat a key of any length that a user wrote', async () => {
  const { write, audited } = world();
  write(event('shop', 1, { dedupKey: `pullgate.io/parallelism ${'x'.repeat(200_000)}` }));
  write(event('shop', 2, { dedupKey: `pullgate.io/parallelism ${'x'.repeat(200_001)}` }));
  assert.deepEqual(
    audited().map(({ dedupKey }) => String(dedupKey).length),
    [256, 256],
  );
});

test('a namespace whose Events are never taken delays no Event of another', async () => {
  const never = new Promise<unknown>(() => undefined);
  const { write, notesIn } = world({
    taken: (namespace) => (namespace === 'shop' ? Promise.resolve() : never),
  });
  for (let n = 0; n < 20; n += 1) {
    write(event('hostile-1', n));
    write(event('hostile-2', n));
    write(event('shop', n));
  }
  await until(() => notesIn('shop').length === 20);
});

test('a leader that tells of all that was decided in the last hour drops no Event of a namespace for those of another', async () => {
  const { write, settled, notesIn, audited, warnings } = world();
  const of = (namespace: string, n: number) =>
    event(namespace, n, { regarding: { ...HELD.regarding, namespace, uid: `uid-${namespace}-${n}` } });
  for (let n = 0; n < 10_000; n += 1) write(of('large', n));
  for (let n = 0; n < 40; n += 1) for (let ns = 0; ns < 50; ns += 1) write(of(`small-${ns}`, n));
  await settled();
  for (let ns = 0; ns < 50; ns += 1) assert.equal(notesIn(`small-${ns}`).length, 40);
  assert.ok(notesIn('large').length >= 3000 && notesIn('large').length < 10_000);
  assert.equal(warnings().length, 1);
  assert.equal(audited().length, 12_000, 'each is logged');
  // Level-triggered: who has more to tell than there is room for tells it again.
  for (let n = 0; n < 10_000; n += 1) write(of('large', n));
  await settled();
  assert.equal(audited().length, 12_000, 'and not again');
});

test('as many facts as there may be of one namespace make the writer forget none of another', async () => {
  const { write, settled, audited } = world();
  write(event('shop', 1));
  for (let n = 0; n < 30_000; n += 1)
    write(event('hostile', n, { regarding: { ...HELD.regarding, namespace: 'hostile', uid: `uid-${n}` } }));
  await settled();
  const before = audited().length;
  write(event('shop', 1));
  assert.equal(audited().length, before);
});
