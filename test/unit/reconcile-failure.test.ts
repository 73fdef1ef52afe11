import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../src/cluster/api-error.ts';
import { createWorkQueue } from '../../src/cluster/work-queue.ts';
import { GateError } from '../../src/errors.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

async function logOf(error: unknown): Promise<Record<string, unknown>> {
  const clock = manualClock();
  const { log, lines } = logDouble();
  const reconcile = () => Promise.reject(error);
  const queue = createWorkQueue({ name: 'test', reconcile, clock, log, random: () => 0.5 });
  queue.start();
  queue.add('shop/web');
  clock.advance(0);
  await until(() => lines.length > 0);
  await queue.stop();
  return lines[0] ?? {};
}

function forbidden(message: string): ApiError {
  return new ApiError(403, { kind: 'Status', reason: 'Forbidden', message, code: 403 });
}

test('a right that is missing is told with its code, without a stack', async () => {
  const words =
    'pods is forbidden: User "system:serviceaccount:pullgate:pullgate" cannot create resource "pods"';
  const line = await logOf(forbidden(words));
  assert.equal(line['code'], 'PG_RBAC');
  assert.ok(String(line['msg']).includes(words));
  assert.equal(line['err'], undefined);
});

test('an API server that cannot be reached is told with its code, without a stack', async () => {
  const line = await logOf(
    new GateError('PG_API_UNREACHABLE', { server: 'https://a', detail: 'ECONNREFUSED' }),
  );
  assert.equal(line['code'], 'PG_API_UNREACHABLE');
  assert.equal(line['err'], undefined);
});

test('a namespace that is being deleted is not taken for a missing right', async () => {
  const line = await logOf(
    forbidden(
      'pods "a" is forbidden: unable to create new content in namespace shop because it is being terminated',
    ),
  );
  assert.equal(line['code'], undefined);
  assert.match(String(line['msg']), /reconcile failed/);
});

test('what nobody has foreseen is told with its stack', async () => {
  const line = await logOf(new TypeError('no such property'));
  assert.match(JSON.stringify(line['err']), /stack/);
});
