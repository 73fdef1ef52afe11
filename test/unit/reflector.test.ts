import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock } from '../../src/clock.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { ApiError } from '../../src/cluster/api-error.ts';
import { createReflector, type Reflector } from '../../src/cluster/reflector.ts';
import { GateError } from '../../src/errors.ts';
import { answer, hang, reset, status, THINGS } from '../support/unit/api-server-double.ts';
import { staged, synced } from '../support/unit/followed-things.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

test('what exists is reported before synced resolves, and what changes afterwards', () =>
  staged(async (stage) => {
    const { double, reflector, changes } = stage;
    double.put('a', 1);
    assert.equal(reflector.hasSynced(), false);
    assert.equal(reflector.lastContactAge(), Number.POSITIVE_INFINITY);
    await synced(stage);
    assert.equal(reflector.hasSynced(), true);
    assert.deepEqual(changes, [['added', 'default/a', 1]]);
    double.put('b', 2);
    double.put('a', 3);
    double.remove('a');
    await until(() => changes.length === 4);
    assert.deepEqual(changes.slice(1), [
      ['added', 'default/b', 2],
      ['changed', 'default/a', 3],
      ['removed', 'default/a', 3],
    ]);
    assert.equal(reflector.size, 1);
    assert.deepEqual([...reflector.values()], [{ key: 'default/b', spec: 2 }]);
    assert.ok(reflector.lastContactAge() < 5000);
  }));

test('a change that the projection hides is not reported', () =>
  staged(async (stage) => {
    const { double, changes } = stage;
    double.put('a', { x: [1] }, 'pending');
    await synced(stage);
    double.put('a', { x: [1] }, 'ready');
    double.put('b', 1);
    await until(() => changes.length === 2);
    assert.deepEqual(changes, [
      ['added', 'default/a', { x: [1] }],
      ['added', 'default/b', 1],
    ]);
  }));

test('20,000 objects are listed in pages of 100', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    for (let index = 0; index < 20_000; index++) double.put(`thing-${index}`);
    await synced(stage);
    assert.equal(reflector.size, 20_000);
    assert.equal(double.lists().length, 200);
  }));

test('others have the event loop while a long list is taken over', async () => {
  let now = 0;
  let turns = 0;
  let turning: NodeJS.Immediate;
  const turn = () => {
    turns += 1;
    turning = setImmediate(turn);
  };
  const turnsAt: number[] = [];
  const clock = { ...systemClock, monotonic: () => now };
  const onChange = () => {
    now += 4;
    turnsAt.push(turns);
  };
  turning = setImmediate(turn);
  try {
    await staged(
      async ({ double, reflector, start }) => {
        for (let n = 0; n < 60; n += 1) double.put(`thing-${n}`);
        start();
        await reflector.synced;
        assert.equal(turnsAt.length, 60);
        // Three changes of 4 ms.
        for (let n = 3; n < 60; n += 1) assert.ok((turnsAt[n] ?? 0) > (turnsAt[n - 3] ?? 0), `change ${n}`);
      },
      { clock, onChange },
    );
  } finally {
    clearImmediate(turning);
  }
});

test('the first list asks for the newest state, and the watch begins where it ended', () =>
  staged(
    async (stage) => {
      const { double } = stage;
      double.put('a');
      await synced(stage);
      const [list] = double.lists();
      assert.equal(`${list?.query}`, 'labelSelector=x%3Dy&limit=100');
      const [watch] = double.watchRequests();
      assert.equal(
        `${watch?.query}`,
        'labelSelector=x%3Dy&allowWatchBookmarks=true&resourceVersion=101&timeoutSeconds=240&watch=true',
      );
    },
    { query: { labelSelector: 'x=y' } },
  ));

test('a cut socket is taken up from the last version seen, without a list', () =>
  staged(async (stage) => {
    const { double, changes } = stage;
    double.put('a', 1);
    await synced(stage);
    double.put('b', 2);
    await until(() => changes.length === 2);
    double.cutWatches();
    double.put('c', 3);
    await until(() => changes.length === 3);
    assert.equal(double.lists().length, 1);
    assert.deepEqual(
      double.watchRequests().map(({ query }) => query.get('resourceVersion')),
      ['101', '102'],
    );
  }));

test('a bookmark moves the version from which a watch is taken up', () =>
  staged(async (stage) => {
    const { double } = stage;
    await synced(stage);
    double.bookmark();
    double.endWatches();
    await until(() => double.watchRequests().length === 2);
    assert.equal(double.watchRequests()[1]?.query.get('resourceVersion'), '101');
    assert.equal(double.lists().length, 1);
  }));

for (const as of ['status', 'event'] as const) {
  test(`after 410 (as ${as}) the list shows what was deleted and made meanwhile`, () =>
    staged(async (stage) => {
      const { double, changes, reflector } = stage;
      double.put('stays', 1);
      double.put('goes', 2);
      double.put('comes-again', 3);
      await synced(stage);
      changes.length = 0;
      double.cutWatches();
      double.remove('goes');
      double.remove('comes-again');
      double.put('comes-again', 3);
      double.put('new', 4);
      double.compact(as);
      await until(() => reflector.get('default/new') !== undefined);
      assert.deepEqual(changes, [
        ['removed', 'default/goes', 2],
        ['removed', 'default/comes-again', 3],
        ['added', 'default/comes-again', 3],
        ['added', 'default/new', 4],
      ]);
    }));
}

test('a list whose continuation has expired begins again', () =>
  staged(async (stage) => {
    const { double, reflector } = stage;
    for (let index = 0; index < 600; index++) double.put(`thing-${index}`);
    double.next(
      (seen, response) => {
        double.remove('thing-0');
        double.compact();
        answer(410, status(410, 'Expired'))(seen, response);
      },
      ({ query }) => query.has('continue'),
    );
    await synced(stage);
    assert.equal(reflector.size, 599);
  }));

test('server errors and cut connections of list and watch are outlived', () =>
  staged(async (stage) => {
    const { double, changes } = stage;
    double.put('a', 1);
    double.next(reset);
    double.next(answer(500, status(500, 'InternalError')));
    double.next(answer(200, { items: [] })); // no resourceVersion
    await synced(stage);
    double.next(reset, ({ query }) => query.has('watch'));
    double.next(answer(503, status(503, 'Unavailable')), ({ query }) => query.has('watch'));
    double.next(answer(429, status(429, 'TooManyRequests')), ({ query }) => query.has('watch'));
    double.endWatches();
    double.put('b', 2);
    await until(() => changes.length === 2);
    assert.equal(double.lists().filter(({ query }) => query.has('continue')).length, 0);
    assert.equal(double.lists().length, 4);
  }));

test('a watch from a version that the API server never reaches is given up for a list', () =>
  staged(async (stage) => {
    const { double, changes } = stage;
    await synced(stage);
    double.bookmark(99_999);
    const tooLarge = status(504, 'Timeout', 'Too large resource version: 99999, current: 7');
    double.route('GET', THINGS, (seen, response) => {
      const isRefused = seen.query.get('resourceVersion') === '99999';
      return isRefused ? answer(504, tooLarge)(seen, response) : double.serve(seen, response);
    });
    double.cutWatches();
    await until(() => double.lists().length === 2);
    double.put('a', 1);
    await until(() => changes.length === 1);
  }));

test('bytes that are no events lead to a new list', () =>
  staged(async (stage) => {
    const { double, changes } = stage;
    await synced(stage);
    double.write(Buffer.from('<html>\n'));
    double.put('a', 1);
    await until(() => changes.length === 1);
    assert.deepEqual(changes, [['added', 'default/a', 1]]);
  }));

test('an error that comes as an event leads to a new list', () =>
  staged(async (stage) => {
    const { double } = stage;
    await synced(stage);
    double.write(Buffer.from(`${JSON.stringify({ type: 'ERROR', object: status(500, 'InternalError') })}\n`));
    await until(() => double.lists().length === 2);
  }));

test('stop during the list opens no watch, reports nothing, and rejects synced', () =>
  staged(async ({ double, reflector, start, changes }) => {
    double.put('a');
    double.next(hang);
    start();
    await until(() => double.lists().length === 1);
    await reflector.stop();
    await assert.rejects(reflector.synced, /was stopped/);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(double.requests.length, 1);
    assert.deepEqual(changes, []);
  }));

test('stop closes the watch', () =>
  staged(async (stage) => {
    await synced(stage);
    await stage.reflector.stop();
    await until(() => stage.double.openWatches === 0);
  }));

test('a missing definition and a missing right are each logged once, and fixed by themselves', () =>
  staged(async (stage) => {
    const { double, reflector, start, lines } = stage;
    const errors = () => lines.filter(({ level }) => level === 50).map(({ code }) => code);
    let refusal = status(404, 'NotFound');
    let code = 404;
    double.route('GET', THINGS, (seen, response) => answer(code, refusal)(seen, response));
    start();
    await until(() => double.requests.length > 5);
    assert.deepEqual(errors(), ['PG_CRD_MISSING']);
    [code, refusal] = [403, status(403, 'Forbidden', 'things is forbidden: User "x" cannot list')];
    const before = double.requests.length;
    await until(() => double.requests.length > before + 5);
    assert.deepEqual(errors(), ['PG_CRD_MISSING', 'PG_RBAC']);
    assert.ok(
      reflector.lastError instanceof GateError && /User "x" cannot list/.test(reflector.lastError.message),
    );
    double.route('GET', THINGS, answer(200, { items: [], metadata: { resourceVersion: '1' } }));
    await reflector.synced;
  }));

test('a watch that the server does not end is torn down 30 s after its time, and taken up', () => {
  const clock = manualClock();
  return staged(
    async (stage) => {
      const { double, reflector } = stage;
      await synced(stage);
      clock.advance(269_999);
      assert.equal(double.watchRequests().length, 1);
      assert.equal(reflector.lastContactAge(), 269_999);
      clock.advance(1);
      await until(() => double.watchRequests().length === 2);
      assert.equal(double.lists().length, 1);
    },
    { clock },
  );
});

test('failures in a row are further and further apart, up to 10 s', () => {
  const clock = manualClock();
  const waits: number[] = [];
  return staged(
    async ({ double, start }) => {
      double.route('GET', THINGS, answer(403, status(403, 'Forbidden')));
      start();
      for (let failure = 1; failure <= 8; failure++) {
        await until(() => double.requests.length === failure && clock.timers().length === 1);
        waits.push(Math.round(clock.timers()[0] ?? 0));
        clock.advance(10_000);
      }
      assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    },
    { clock, random: () => 0.5 },
  );
});

/** A client whose server is silent as long as it is told to be, and a collection without objects. */
function quietServer() {
  let answers = true;
  let refusal: Error | undefined;
  const hanging = (signal: AbortSignal | undefined) =>
    new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  const client: Pick<ApiClient, 'get' | 'watch'> = {
    async get(_path, _query, options) {
      if (refusal !== undefined) throw refusal;
      return answers ? { items: [], metadata: { resourceVersion: '1' } } : await hanging(options?.signal);
    },
    async *watch(_path, _query, signal, hooks) {
      if (refusal !== undefined) throw refusal;
      if (answers) hooks?.onOpen?.();
      yield await hanging(signal);
    },
  };
  return {
    client: client as ApiClient,
    silence() {
      answers = false;
    },
    refuse(error: Error) {
      refusal = error;
    },
  };
}

/** What nobody hears of for 300 s of a watch, 30 s of grace, 10 s of rest and 30 s of a list is lost. */
const LOST_MS = 370_000;

async function quietReflector(run: (stage: QuietStage) => Promise<void>): Promise<void> {
  const clock = manualClock();
  const server = quietServer();
  const { log } = logDouble();
  const reflector = createReflector<unknown>({
    client: server.client,
    path: THINGS,
    parse: (raw) => raw,
    log,
    clock,
    random: () => 0.99,
  });
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 1000) {
      clock.advance(1000);
      await nextTurn();
    }
  };
  try {
    await run({ server, reflector, pass });
  } finally {
    await reflector.stop();
  }
}
const NOBODY = { onChange: () => undefined };

interface QuietStage {
  readonly server: ReturnType<typeof quietServer>;
  readonly reflector: Reflector<unknown>;
  pass(ms: number): Promise<void>;
}

test('a collection in which nothing ever happens is heard of each time its watch is opened, and never silent', () =>
  quietReflector(async ({ reflector, pass }) => {
    reflector.start(NOBODY);
    for (let minutes = 0; minutes < 30; minutes += 1) {
      await pass(60_000);
      assert.ok(reflector.lastContactAge() <= 331_000, `${reflector.lastContactAge()} ms`);
      assert.equal(reflector.isSilent(), false);
    }
  }));

test('one that gets no answer of any kind is silent once no working one could be', () =>
  quietReflector(async ({ server, reflector, pass }) => {
    reflector.start(NOBODY);
    await pass(1000);
    server.silence();
    await pass(LOST_MS);
    assert.equal(reflector.isSilent(), false);
    await pass(2000);
    assert.equal(reflector.isSilent(), true);
  }));

test('one that has never been heard of is silent by as long after its start', () =>
  quietReflector(async ({ server, reflector, pass }) => {
    server.silence();
    await pass(LOST_MS);
    reflector.start(NOBODY);
    assert.equal(reflector.lastContactAge(), Number.POSITIVE_INFINITY);
    await pass(LOST_MS);
    assert.equal(reflector.isSilent(), false);
    await pass(2000);
    assert.equal(reflector.isSilent(), true);
  }));

test('one that the API server refuses is not silent: it was heard', () =>
  quietReflector(async ({ server, reflector, pass }) => {
    server.refuse(new ApiError(403, { reason: 'Forbidden', message: 'User "x" cannot list' }));
    reflector.start(NOBODY);
    await pass(2 * LOST_MS);
    assert.equal(reflector.lastContactAge(), Number.POSITIVE_INFINITY);
    assert.equal(reflector.isSilent(), false);
  }));
