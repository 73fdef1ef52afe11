import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { createApiClient } from '../../src/cluster/api-client.ts';
import type { Cluster } from '../../src/cluster/credentials.ts';
import { actAs } from '../../src/cluster/service-account-token.ts';
import { GateError } from '../../src/errors.ts';
import {
  type ApiServerDouble,
  answer,
  type Handler,
  startApiServerDouble,
  status,
  THINGS,
} from '../support/unit/api-server-double.ts';
import { type ManualClock, manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

const TOKEN_PATH = '/api/v1/namespaces/pullgate/serviceaccounts/gate/token';

interface Stage {
  readonly double: ApiServerDouble;
  readonly gate: Cluster;
  readonly clock: ManualClock;
  readonly tokenRequests: () => number;
}

/** Hands out `token-1`, `token-2` ... */
async function staged(run: (stage: Stage) => Promise<void>, life?: number): Promise<void> {
  const double = await startApiServerDouble();
  const admin = createApiClient(double.cluster({ token: async () => 'admin' }), {
    clock: systemClock,
    random: () => 0,
  });
  const clock = manualClock();
  let made = 0;
  const grant: Handler = (seen, response) => {
    made += 1;
    answer(201, { spec: { expirationSeconds: life }, status: { token: `token-${made}` } })(seen, response);
  };
  double.route('POST', TOKEN_PATH, grant);
  const cluster = double.cluster({
    cert: 'admin cert',
    key: 'admin key',
    headers: { 'Impersonate-User': 'root' },
  });
  try {
    await run({
      double,
      gate: actAs(admin, cluster, 'pullgate', 'gate', clock),
      clock,
      tokenRequests: () => double.requests.filter(({ path }) => path === TOKEN_PATH).length,
    });
  } finally {
    await admin.close();
    await double.close();
  }
}

test('the token is asked for once, for an hour, by the administrator, however many want it', () =>
  staged(async ({ gate, double }) => {
    const tokens = await Promise.all(Array.from({ length: 10 }, () => gate.token()));
    assert.deepEqual(new Set(tokens), new Set(['token-1']));
    assert.equal(double.requests.length, 1);
    const [request] = double.requests;
    assert.equal(request?.headers.authorization, 'Bearer admin');
    assert.deepEqual(request?.body, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 3600 },
    });
  }));

test("none of the administrator's own credentials is kept", () =>
  staged(async ({ gate }) => {
    assert.deepEqual([gate.cert, gate.key, gate.headers], [undefined, undefined, undefined]);
  }));

test('it is renewed at 80 % of its life, and nobody waits for that', () =>
  staged(async ({ gate, clock, tokenRequests }) => {
    await gate.token();
    clock.advance(0.8 * 3600_000 - 1);
    assert.equal(await gate.token(), 'token-1');
    assert.equal(tokenRequests(), 1);
    clock.advance(1);
    assert.equal(await gate.token(), 'token-1');
    await until(() => tokenRequests() === 2);
    let token: string | undefined;
    await until(() => {
      void gate.token().then((value) => {
        token = value;
      });
      return token === 'token-2';
    }, 'the new token is used');
    assert.equal(tokenRequests(), 2);
  }));

test('the life that the server grants counts, not the one asked for', () =>
  staged(async ({ gate, clock }) => {
    await gate.token();
    clock.advance(600_000);
    assert.equal(await gate.token(), 'token-2');
  }, 600));

test('an old token is used for as long as it lives if no new one can be got', () =>
  staged(async ({ gate, clock, double }) => {
    await gate.token();
    double.route('POST', TOKEN_PATH, answer(403, status(403, 'Forbidden')));
    clock.advance(3_599_999);
    assert.equal(await gate.token(), 'token-1');
    clock.advance(1);
    await assert.rejects(gate.token(), /Forbidden/);
  }));

test('after a 401 the call is repeated with a new token, asked for once by all calls that were refused', () =>
  staged(async ({ gate, double, tokenRequests }) => {
    double.route('GET', THINGS, (seen, response) => {
      const known = seen.headers.authorization !== 'Bearer token-1';
      answer(known ? 200 : 401, known ? { items: [] } : status(401, 'Unauthorized'))(seen, response);
    });
    const client = createApiClient(gate, { clock: systemClock, random: () => 0 });
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.get(THINGS)));
    assert.deepEqual(answers, Array(5).fill({ items: [] }));
    assert.equal(tokenRequests(), 2);
    await client.close();
  }));

test('a ServiceAccount that does not exist is told as such', () =>
  staged(async ({ gate, double }) => {
    double.route(
      'POST',
      TOKEN_PATH,
      answer(404, status(404, 'NotFound', 'serviceaccounts "gate" not found')),
    );
    const client = createApiClient(gate, { clock: systemClock, random: () => 0 });
    await assert.rejects(
      client.get(THINGS),
      (error) =>
        error instanceof GateError && error.code === 'PG_TOKEN' && /"gate" not found/.test(error.message),
    );
    await client.close();
  }));
