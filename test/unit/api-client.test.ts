import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type ApiClient, createApiClient } from '../../src/cluster/api-client.ts';
import {
  ApiError,
  isAlreadyExists,
  isConflict,
  isForbidden,
  isInvalid,
  isNotFound,
} from '../../src/cluster/api-error.ts';
import type { Cluster } from '../../src/cluster/credentials.ts';
import { type ErrorCode, GateError } from '../../src/errors.ts';
import { asArray, asObject, at } from '../../src/json.ts';
import {
  type ApiServerDouble,
  answer,
  hang,
  reset,
  startApiServerDouble,
  status,
  THINGS,
} from '../support/unit/api-server-double.ts';
import { until } from '../support/unit/until.ts';

async function withDouble(
  run: (double: ApiServerDouble, client: ApiClient) => Promise<void>,
  overrides: Partial<Cluster> = {},
): Promise<void> {
  const double = await startApiServerDouble();
  const client = createApiClient(double.cluster(overrides), { clock: systemClock, random: () => 0 });
  try {
    await run(double, client);
  } finally {
    await client.close();
    await double.close();
  }
}

const gateError = (code: ErrorCode) => (error: unknown) => error instanceof GateError && error.code === code;

// The second one: undici frees a connection one turn of the event loop after the answer, and the next call is faster.
test('100 calls in a row need no more than two TLS connections', () =>
  withDouble(async (double, client) => {
    for (let call = 0; call < 100; call++) await client.get(THINGS);
    assert.equal(double.requests.length, 100);
    assert.ok(double.connections <= 2, `${double.connections} connections`);
  }));

test('each verb sends its method, query and content type', () =>
  withDouble(async (double, client) => {
    for (const method of ['POST', 'PATCH', 'DELETE'])
      double.route(method, THINGS, answer(200, { done: method }));
    assert.deepEqual(await client.create(THINGS, { a: 1 }, { fieldManager: 'pullgate' }), { done: 'POST' });
    assert.deepEqual(await client.jsonPatch(THINGS, [{ op: 'test', path: '/a', value: 1 }]), {
      done: 'PATCH',
    });
    await client.mergePatch(THINGS, { a: null }, { dryRun: undefined });
    await client.delete(THINGS, { propagationPolicy: 'Background' });
    await client.delete(THINGS);
    assert.deepEqual(
      double.requests.map((seen) => [seen.method, `${seen.query}`, seen.headers['content-type'], seen.body]),
      [
        ['POST', 'fieldManager=pullgate', 'application/json', { a: 1 }],
        ['PATCH', '', 'application/json-patch+json', [{ op: 'test', path: '/a', value: 1 }]],
        ['PATCH', '', 'application/merge-patch+json', { a: null }],
        ['DELETE', '', 'application/json', { propagationPolicy: 'Background' }],
        ['DELETE', '', undefined, undefined],
      ],
    );
  }));

test('a path in the server address comes before the path of the call', async () => {
  const double = await startApiServerDouble();
  const cluster = double.cluster();
  double.route('GET', '/k8s/clusters/c-1/version', answer(200, { minor: '36' }));
  const client = createApiClient(
    { ...cluster, server: `${cluster.server}/k8s/clusters/c-1/` },
    { clock: systemClock, random: () => 0 },
  );
  assert.deepEqual(await client.get('/version'), { minor: '36' });
  await client.close();
  await double.close();
});

test('a refusal carries status, reason and message, and each kind is told apart', () =>
  withDouble(async (double, client) => {
    const refusal = async (code: number, reason: string) => {
      double.next(answer(code, status(code, reason, 'no')));
      return client.get(THINGS).then(
        () => assert.fail('not refused'),
        (error: unknown) => error,
      );
    };
    const error = await refusal(404, 'NotFound');
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.status, error.reason, error.apiMessage], [404, 'NotFound', 'no']);

    const kinds = [isNotFound, isConflict, isAlreadyExists, isInvalid, isForbidden];
    const answers: [number, string][] = [
      [404, 'NotFound'],
      [409, 'Conflict'],
      [409, 'AlreadyExists'],
      [422, 'Invalid'],
      [403, 'Forbidden'],
    ];
    for (const [index, [code, reason]] of answers.entries()) {
      const refused = await refusal(code, reason);
      assert.deepEqual(
        kinds.map((is) => is(refused)),
        kinds.map((_, other) => other === index),
        reason,
      );
    }
  }));

test('a call never outlives its deadline: the server is silent', () =>
  withDouble(async (double, client) => {
    double.route('GET', THINGS, hang);
    await bounded(client.get(THINGS, {}, { deadlineMs: 200 }), 'PG_API_TIMEOUT');
  }));

test('a call never outlives its deadline: the body stops half way', () =>
  withDouble(async (double, client) => {
    double.route('GET', THINGS, (_seen, response) => void response.writeHead(200).write('{"items":['));
    await bounded(client.get(THINGS, {}, { deadlineMs: 200 }), 'PG_API_TIMEOUT');
  }));

test('a call never outlives its deadline: the token does not come', () =>
  withDouble((_double, client) => bounded(client.get(THINGS, {}, { deadlineMs: 200 }), 'PG_API_TIMEOUT'), {
    token: () => new Promise(() => undefined),
  }));

test('a call never outlives its deadline: the server fails for ever, and its last words are told', () =>
  withDouble(async (double, client) => {
    double.route(
      'GET',
      THINGS,
      answer(500, status(500, 'InternalError', 'etcd is tired'), { 'retry-after': '3' }),
    );
    const start = performance.now();
    await assert.rejects(client.get(THINGS, {}, { deadlineMs: 500 }), /etcd is tired/);
    assert.ok(performance.now() - start < 600);
  }));

async function bounded(call: Promise<unknown>, code: ErrorCode): Promise<void> {
  const start = performance.now();
  await assert.rejects(call, gateError(code));
  const took = performance.now() - start;
  assert.ok(took >= 190 && took < 500, `${took} ms`);
}

test('429 is tried again, not before Retry-After has passed', () =>
  withDouble(async (double, client) => {
    double.next(answer(429, status(429, 'TooManyRequests'), { 'retry-after': '1' }));
    await client.get(THINGS);
    const [first, second] = double.requests;
    assert.ok(first !== undefined && second !== undefined);
    assert.ok(second.at - first.at >= 990, `${second.at - first.at} ms`);
  }));

test('a Retry-After beyond the deadline is not waited for', () =>
  withDouble(async (double, client) => {
    double.route('GET', THINGS, answer(429, status(429, 'TooManyRequests'), { 'retry-after': '60' }));
    const start = performance.now();
    await assert.rejects(
      client.get(THINGS),
      (error) => error instanceof ApiError && error.retryAfterMs === 60_000,
    );
    assert.ok(performance.now() - start < 1000);
  }));

test('5xx and cut connections are tried again, writes too', () =>
  withDouble(async (double, client) => {
    double.route('POST', THINGS, answer(201, { made: true }));
    double.next(answer(503, status(503, 'ServiceUnavailable')));
    double.next(reset);
    double.next(answer(500, 'not even JSON'));
    assert.deepEqual(await client.create(THINGS, {}), { made: true });
    assert.equal(double.requests.length, 4);
  }));

test('what repeating cannot fix is not repeated, and nothing is when the caller says so', () =>
  withDouble(async (double, client) => {
    for (const code of [400, 403, 404, 409, 422]) {
      double.next(answer(code, status(code, 'No')));
      await assert.rejects(client.get(THINGS), ApiError);
    }
    double.next(answer(503, status(503, 'No')));
    await assert.rejects(client.get(THINGS, {}, { retry: false }), ApiError);
    assert.equal(double.requests.length, 6);
  }));

test('a refused token is replaced once', async () => {
  const double = await startApiServerDouble();
  const refused: unknown[] = [];
  let token = 'old';
  const cluster = double.cluster({
    token: async () => token,
    invalidateToken(old) {
      refused.push(old);
      token = 'new';
    },
  });
  const client = createApiClient(cluster, { clock: systemClock, random: () => 0 });
  double.next(answer(401, status(401, 'Unauthorized')));
  await client.get(THINGS);
  assert.deepEqual(refused, ['old']);
  assert.deepEqual(
    double.requests.map((seen) => seen.headers.authorization),
    ['Bearer old', 'Bearer new'],
  );
  double.route('GET', THINGS, answer(401, status(401, 'Unauthorized')));
  await assert.rejects(client.get(THINGS), (error) => error instanceof ApiError && error.status === 401);
  assert.equal(double.requests.length, 4);
  await client.close();
  await double.close();
});

test('a token that cannot be got is an error of its own, not a 404 of what was asked for', () =>
  withDouble(
    async (_double, client) => {
      await assert.rejects(client.get(THINGS), (error) => gateError('PG_TOKEN')(error) && !isNotFound(error));
    },
    { token: () => Promise.reject(new ApiError(404, status(404, 'NotFound'))) },
  ));

test('an unknown authority, a refused connection and a stranger each have their own code', async () => {
  const double = await startApiServerDouble();
  const options = { clock: systemClock, random: () => 0 };
  const quick = { deadlineMs: 1000, retry: false };
  const unknownAuthority = createApiClient(double.cluster({ ca: undefined }), options);
  await assert.rejects(unknownAuthority.get(THINGS), gateError('PG_API_TLS'));
  const otherName = createApiClient(double.cluster({ serverName: 'kubernetes' }), options);
  await assert.rejects(otherName.get(THINGS), gateError('PG_API_TLS'));
  const trusting = createApiClient(double.cluster({ ca: undefined, skipTlsVerify: true }), options);
  await trusting.get(THINGS);
  double.route('GET', '/', answer(200, '<html>welcome</html>'));
  await assert.rejects(trusting.get('/'), gateError('PG_API_ANSWER'));
  await double.close();
  await assert.rejects(trusting.get(THINGS, {}, quick), gateError('PG_API_UNREACHABLE'));
  await Promise.all([unknownAuthority, otherName, trusting].map((client) => client.close()));
});

test('aborting ends a call with the reason given', () =>
  withDouble(async (double, client) => {
    double.route('GET', THINGS, hang);
    const abort = new AbortController();
    const call = client.get(THINGS, {}, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await assert.rejects(call, /^Error: enough$/);
  }));

test('a watch yields events however the bytes are cut, and leaving it closes the connection', () =>
  withDouble(async (double, client) => {
    const names = ['ä', '日本', '🚢', 'plain'];
    const bytes = Buffer.from(names.map((name) => `${JSON.stringify({ name })}\n`).join(''));
    let closed = false;
    double.route('GET', THINGS, (_seen, response) => {
      response.on('close', () => {
        closed = true;
      });
      let at = 0;
      const writeNext = () => {
        response.write(bytes.subarray(at, at + 1));
        at += 1;
        if (at < bytes.length) setImmediate(writeNext);
      };
      writeNext();
    });
    const seen: unknown[] = [];
    for await (const event of client.watch(THINGS, { timeoutSeconds: 10 }, new AbortController().signal)) {
      seen.push(event);
      if (seen.length === names.length) break;
    }
    assert.deepEqual(
      seen,
      names.map((name) => ({ name })),
    );
    assert.equal(double.requests[0]?.query.get('watch'), 'true');
    while (!closed) await new Promise(setImmediate);
  }));

test('closing the client ends its watches', () =>
  withDouble(async (double, client) => {
    const events = client.watch(THINGS, { resourceVersion: '100' }, new AbortController().signal);
    const first = events[Symbol.asyncIterator]().next();
    while (double.openWatches === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    await client.close();
    await assert.rejects(first, gateError('PG_API_UNREACHABLE'));
    await assert.rejects(client.get(THINGS), gateError('PG_API_UNREACHABLE'));
  }));

test('each attempt is told, watches too, with its status or that there was none', async () => {
  const double = await startApiServerDouble();
  const told: string[] = [];
  const client = createApiClient(double.cluster(), {
    clock: systemClock,
    random: () => 0,
    onAttempt: (verb, code) => told.push(`${verb} ${code}`),
  });
  try {
    let calls = 0;
    double.route('POST', THINGS, (seen, response) => {
      calls += 1;
      if (calls === 1) reset(seen, response);
      else answer(calls === 2 ? 503 : 201, {})(seen, response);
    });
    double.route('PATCH', THINGS, answer(409, status(409, 'Conflict')));
    double.route('DELETE', THINGS, hang);
    await client.create(THINGS, {});
    await assert.rejects(client.jsonPatch(THINGS, []));
    await assert.rejects(client.delete(THINGS, undefined, { deadlineMs: 50 }));
    await client.get(THINGS);
    double.put('a');
    let opened = 0;
    const events = client.watch(THINGS, { resourceVersion: '100' }, new AbortController().signal, {
      onOpen() {
        opened += 1;
      },
    });
    for await (const _ of events) break;
    assert.equal(opened, 1);
    assert.deepEqual(told, [
      'create error',
      'create 503',
      'create 201',
      'patch 409',
      'delete error',
      'get 200',
      'watch 200',
    ]);
  } finally {
    await client.close();
    await double.close();
  }
});

const podsOf = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;

test('calls about one namespace that are never answered take no connection from another namespace', () =>
  withDouble(async (double, client) => {
    double.route('POST', podsOf('hostile'), hang);
    double.route('POST', podsOf('shop'), answer(201, {}));
    const hanging = Array.from({ length: 200 }, () => client.create(podsOf('hostile'), {}));
    const ended = Promise.allSettled(hanging);
    const start = performance.now();
    await Promise.all(Array.from({ length: 200 }, () => client.create(podsOf('shop'), {})));
    await client.get(THINGS);
    assert.ok(performance.now() - start < 5000);
    await client.close();
    await ended;
  }));

test('calls about pods that are never answered keep no Event and no release of the same namespace waiting', () =>
  withDouble(async (double, client) => {
    const others = [
      '/apis/events.k8s.io/v1/namespaces/shop/events',
      '/apis/apps/v1/namespaces/shop/deployments',
    ];
    double.route('POST', podsOf('shop'), hang);
    for (const path of others) double.route('POST', path, answer(201, {}));
    const ended = Promise.allSettled(Array.from({ length: 10 }, () => client.create(podsOf('shop'), {})));
    const start = performance.now();
    await Promise.all(others.map((path) => client.create(path, {})));
    assert.ok(performance.now() - start < 5000);
    await client.close();
    await ended;
  }));

test('a call that waits before it tries again keeps no connection from others meanwhile', () =>
  withDouble(async (double, client) => {
    double.route('POST', podsOf('shop'), answer(503, status(503, 'Unavailable'), { 'retry-after': '10' }));
    const calls = Promise.allSettled(Array.from({ length: 100 }, () => client.create(podsOf('shop'), {})));
    await until(() => double.requests.length === 100);
    await client.close();
    await calls;
  }));

test('names that no API server stores are answered with 404, and take no connection from other calls', () =>
  withDouble(async (double, client) => {
    // More than the client has connections.
    const names = Array.from(
      { length: 100 },
      (_, index) => ['\0', ' ', 'é', '\ud800', '\u{1f4a3}'][index % 5],
    );
    for (const name of names) await assert.rejects(client.get(`${THINGS}/${name}`), { status: 404 });
    assert.equal(double.requests.at(-1)?.path, `${THINGS}/%F0%9F%92%A3`);
    await client.get(THINGS);
  }));

test('a call whose time is over when its turn comes is never sent, even if no timer has said so', async () => {
  const double = await startApiServerDouble();
  let jumpedMs = 0;
  // A process that is stopped and goes on: the clock has moved on, and which timer fires first is open.
  const clock: Clock = { ...systemClock, monotonic: () => performance.now() + jumpedMs };
  const client = createApiClient(double.cluster(), { clock, random: () => 0 });
  let release = () => {};
  double.route('POST', podsOf('shop'), (seen, response) => {
    release = () => answer(201, {})(seen, response);
  });
  const first = client.create(podsOf('shop'), { call: 1 });
  const second = client.create(podsOf('shop'), { call: 2 }, {}, { deadlineMs: 10_000 });
  await until(() => double.requests.length === 1);
  jumpedMs = 10_000;
  release();
  await first;
  await assert.rejects(second, gateError('PG_API_TIMEOUT'));
  assert.deepEqual(
    double.requests.map(({ body }) => body),
    [{ call: 1 }],
  );
  await client.close();
  await double.close();
});

test('an answer that is larger than the caller allows is an error, and is not read to its end', () =>
  withDouble(async (double, client) => {
    double.route('GET', THINGS, answer(200, { text: 'x'.repeat(1000) }));
    assert.ok(await client.get(THINGS, {}, { maxBytes: 2000 }));
    await assert.rejects(client.get(THINGS, {}, { maxBytes: 1000 }), gateError('PG_API_ANSWER_SIZE'));
    let closed = false;
    double.route('GET', THINGS, (_seen, response) => {
      response.writeHead(200).write('x'.repeat(2000));
      response.on('close', () => {
        closed = true;
      });
    });
    await assert.rejects(client.get(THINGS, {}, { maxBytes: 1000 }), gateError('PG_API_ANSWER_SIZE'));
    await until(() => closed);
  }));

test('an answer that nests too deep for a recursive walk is an error, and in a list only that object is missing', () =>
  withDouble(async (double, client) => {
    const nested = (levels: number) =>
      JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`) as unknown;
    const thing = (name: string, spec: unknown) => ({ metadata: { name, namespace: 'shop' }, spec });
    double.route('GET', `${THINGS}/deep`, answer(200, thing('deep', nested(2000))));
    await assert.rejects(client.get(`${THINGS}/deep`), gateError('PG_API_ANSWER_DEPTH'));
    const whole = thing('flat', { deepest: nested(50), text: `\\"${'[{'.repeat(100)}` });
    double.route('GET', `${THINGS}/flat`, answer(200, whole));
    assert.deepEqual(await client.get(`${THINGS}/flat`), whole);
    const items = [whole, thing('deep', nested(2000))];
    double.route('GET', THINGS, answer(200, { metadata: { resourceVersion: '7', continue: 'x' }, items }));
    const list = await client.get(THINGS);
    assert.deepEqual(at(list, 'metadata'), { resourceVersion: '7', continue: 'x' });
    const [first, second] = asArray(at(list, 'items'));
    assert.deepEqual(first, whole);
    assert.deepEqual({ ...asObject(second) }, { metadata: { name: 'deep', namespace: 'shop' } });
  }));

test('an answer without end is given up, whoever asked', () =>
  withDouble(async (double, client) => {
    double.route('GET', THINGS, (_seen, response) => {
      const chunk = 'x'.repeat(1024 * 1024);
      const send = () => {
        while (response.write(chunk));
      };
      response.writeHead(200).on('drain', send);
      send();
    });
    await assert.rejects(client.get(THINGS), gateError('PG_API_ANSWER_SIZE'));
  }));

test('a large answer waits while two about its namespace are being read, and a small one does not', () =>
  withDouble(async (double, client) => {
    const path = (name: string) => `/api/v1/namespaces/foe/serviceaccounts/${name}`;
    let begun = 0;
    for (const name of ['slow-1', 'slow-2'])
      double.route('GET', path(name), (_seen, response) => {
        response.writeHead(200).write('x'.repeat(1024 * 1024), () => {
          begun += 1;
        });
      });
    double.route('GET', path('large'), answer(200, { text: 'x'.repeat(1024 * 1024) }));
    double.route('GET', path('small'), answer(200, { text: 'x' }));
    // Each of them gives the namespace one more place for calls.
    const quick = Array.from({ length: 8 }, () => client.get(path('small')));
    const slow = ['slow-1', 'slow-2'].map((name) => client.get(path(name)).catch(() => undefined));
    await Promise.all(quick);
    await until(() => begun === 2);
    await assert.rejects(client.get(path('large'), {}, { deadlineMs: 500 }), gateError('PG_API_TIMEOUT'));
    assert.ok(await client.get(path('small')));
    await client.close();
    await Promise.all(slow);
  }));

test('a refusal of any length is that refusal, and takes little memory', () =>
  withDouble(async (double, client) => {
    const refusalWith = async (message: string) => {
      double.next(answer(403, status(403, 'Forbidden', message)));
      return await client.get(THINGS).catch((error: unknown) => error);
    };
    const long = await refusalWith('x'.repeat(500_000));
    assert.ok(long instanceof ApiError && isForbidden(long));
    assert.deepEqual([long.reason, long.apiMessage.length], ['Forbidden', 4096]);
    const tooLong = await refusalWith('x'.repeat(5_000_000));
    assert.ok(tooLong instanceof ApiError && isForbidden(tooLong));
    assert.equal(tooLong.apiMessage, '');
  }));

test('a body is written as the API server would write it, as a test in a JSON patch compares texts', () =>
  withDouble(async (double, client) => {
    double.next(answer(200, {}));
    const value = 'a && <b>\u2028"c"\n';
    await client.jsonPatch(THINGS, [{ op: 'test', path: '/a', value }]);
    const { text = '', body } = double.requests.at(-1) ?? {};
    assert.ok(text.includes(String.raw`"a \u0026\u0026 \u003cb\u003e\u2028\"c\"\n"`), text);
    assert.deepEqual(body, [{ op: 'test', path: '/a', value }]);
  }));
