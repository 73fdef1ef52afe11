import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { beginAudit, readAudit, readUpdates } from '../cluster/lab/audit-log.ts';

const NOON = new Date('2026-03-01T12:00:00.000Z');

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-audit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** As the API server writes it, of what is read. */
function line(rest: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    kind: 'Event',
    stage: 'ResponseComplete',
    verb: 'list',
    user: { username: 'system:serviceaccount:pullgate:pullgate' },
    objectRef: { resource: 'nodes', apiVersion: 'v1' },
    responseStatus: { metadata: {}, code: 200 },
    requestReceivedTimestamp: '2026-03-01T12:00:01.000000Z',
    annotations: { 'authorization.k8s.io/decision': 'allow' },
    ...rest,
  });
}

function write(folder: string, name: string, ...lines: string[]): void {
  writeFileSync(join(folder, name), lines.map((one) => `${one}\n`).join(''));
}

const NODES = {
  verb: 'list',
  apiGroup: '',
  resource: 'nodes',
  namespace: '',
  name: '',
  code: 200,
  forbidden: false,
};

test('requests of the period are read, of all files, each kind once', async (t) => {
  const folder = folderOf(t);
  const period = beginAudit(NOON, folder);
  write(folder, 'audit-2026-03-01T12-05-00.000.log', line(), line());
  write(
    folder,
    'audit.log',
    line(),
    line({ verb: 'watch' }),
    line({ verb: 'get', requestReceivedTimestamp: '2026-03-01T11:59:59.000000Z' }),
    line({ objectRef: undefined }),
    line({ verb: 'delete', user: { username: 'somebody-else' } }),
  );
  assert.deepEqual(await readAudit(period, folder), [NODES, { ...NODES, verb: 'watch' }]);
});

test('of a line that a killed API server has left half written, what the next one wrote is read', async (t) => {
  const folder = folderOf(t);
  const period = beginAudit(NOON, folder);
  const half = line({ verb: 'get' }).slice(0, 60);
  write(folder, 'audit.log', half + line(), line({ verb: 'watch' }), half);
  assert.deepEqual(await readAudit(period, folder), [NODES, { ...NODES, verb: 'watch' }]);
});

test('what is no event is no audit log', async (t) => {
  const folder = folderOf(t);
  const period = beginAudit(NOON, folder);
  write(folder, 'audit.log', 'a line of something else');
  await assert.rejects(readAudit(period, folder), SyntaxError);
});

test('a subresource is spelled as RBAC does, and who was forbidden is told from whom a plugin refused', async (t) => {
  const folder = folderOf(t);
  const period = beginAudit(NOON, folder);
  const objectRef = {
    apiGroup: 'apps',
    resource: 'deployments',
    subresource: 'status',
    namespace: 'shop',
    name: 'web',
  };
  const responseStatus = { code: 403 };
  const forbidden = { annotations: { 'authorization.k8s.io/decision': 'forbid' } };
  write(
    folder,
    'audit.log',
    line({ verb: 'patch', objectRef, responseStatus }),
    line({ verb: 'patch', objectRef, responseStatus, ...forbidden }),
  );
  const refused = {
    verb: 'patch',
    apiGroup: 'apps',
    resource: 'deployments/status',
    namespace: 'shop',
    name: 'web',
    code: 403,
  };
  assert.deepEqual(await readAudit(period, folder), [
    { ...refused, forbidden: false },
    { ...refused, forbidden: true },
  ]);
});

test('a log that was begun anew since, or never for this period, is not read', async (t) => {
  const folder = folderOf(t);
  write(folder, 'audit.log', line());
  await assert.rejects(readAudit(NOON.toISOString(), folder), /begun anew/);
  const period = beginAudit(NOON, folder);
  beginAudit(new Date(NOON.getTime() + 1), folder);
  await assert.rejects(readAudit(period, folder), /begun anew/);
});

test('a log that may have dropped its oldest part is not read; a new period begins without it', async (t) => {
  const folder = folderOf(t);
  const period = beginAudit(NOON, folder);
  write(folder, 'audit.log', line());
  for (const number of [1, 2, 3]) write(folder, `audit-${number}.log`, line());
  await assert.rejects(readAudit(period, folder), /may have lost/);
  const next = beginAudit(new Date(NOON.getTime() + 500), folder);
  assert.ok(!existsSync(join(folder, 'audit-1.log')));
  assert.equal((await readAudit(next, folder)).length, 1);
});

test('updates of Deployments tell who made them, and which webhooks they passed without', async (t) => {
  const folder = folderOf(t);
  const objectRef = { apiGroup: 'apps', resource: 'deployments', namespace: 'shop', name: 'web' };
  const update = { verb: 'patch', user: { username: 'a-developer' }, objectRef };
  const failed = { 'failed-open.mutation.webhook.admission.k8s.io/round_0_index_0': 'pause.pullgate.io' };
  write(
    folder,
    'audit.log',
    line(update),
    line({ ...update, annotations: failed }),
    line({ ...update, verb: 'get' }),
    line({ ...update, objectRef: { ...objectRef, namespace: 'other' } }),
    line({ ...update, objectRef: { ...objectRef, subresource: 'status' } }),
  );
  const read = {
    namespace: 'shop',
    name: 'web',
    user: 'a-developer',
    at: Date.parse('2026-03-01T12:00:01Z'),
    code: 200,
  };
  assert.deepEqual(await readUpdates('shop', folder), [
    { ...read, failedOpen: [] },
    { ...read, failedOpen: ['pause.pullgate.io'] },
  ]);
});
