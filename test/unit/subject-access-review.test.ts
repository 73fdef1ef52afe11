import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { createApiClient } from '../../src/cluster/api-client.ts';
import { isAllowed } from '../../src/cluster/subject-access-review.ts';
import { createLogLimit } from '../../src/log-limit.ts';
import {
  answer,
  type Handler,
  hang,
  startApiServerDouble,
  status,
} from '../support/unit/api-server-double.ts';
import { logDouble } from '../support/unit/log-double.ts';

const PATH = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
const USER = { username: 'somebody-else', groups: ['dev'], extra: { scopes: ['a', 'b'] } };

async function ask(handler: Handler) {
  const double = await startApiServerDouble();
  const client = createApiClient(double.cluster(), { clock: systemClock, random: () => 0 });
  const { log, lines } = logDouble();
  double.route('POST', PATH, handler);
  try {
    const start = performance.now();
    const allowed = await isAllowed(
      client,
      USER,
      { namespace: 'shop', verb: 'bypass' },
      { log, limitLog: createLogLimit(systemClock) },
    );
    return { allowed, lines, requests: double.requests, took: performance.now() - start };
  } finally {
    await client.close();
    await double.close();
  }
}

test('the API server is asked for this user, with groups and extra, and its answer counts', async () => {
  const { allowed, requests } = await ask(answer(201, { status: { allowed: true } }));
  assert.equal(allowed, true);
  assert.deepEqual(requests[0]?.body, {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: 'somebody-else',
      groups: ['dev'],
      extra: { scopes: ['a', 'b'] },
      resourceAttributes: {
        group: 'pullgate.io',
        resource: 'imagepreloads',
        verb: 'bypass',
        namespace: 'shop',
      },
    },
  });
  assert.equal((await ask(answer(201, { status: { allowed: false } }))).allowed, false);
  assert.equal((await ask(answer(201, {}))).allowed, false);
});

test('an error is a no, at once and in the log', async () => {
  const { allowed, requests, lines } = await ask(answer(500, status(500, 'InternalError')));
  assert.deepEqual([allowed, requests.length, lines.length], [false, 1, 1]);
});

test('silence is a no after one second', async () => {
  const { allowed, lines, took } = await ask(hang);
  assert.deepEqual([allowed, lines.length], [false, 1]);
  assert.ok(took >= 990 && took < 1400, `${took} ms`);
});
