import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../src/cluster/api-error.ts';
import { createLogger } from '../../src/log.ts';

function logged() {
  const lines: string[] = [];
  const log = createLogger('info', { write: (line: string) => void lines.push(line) });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') };
}

const LONG = 'x'.repeat(300_000);

test('an ordinary line is written as it is given', () => {
  const { log, last } = logged();
  log.info({ deployment: 'shop/web', images: [{ image: 'registry.test/app:2' }], ms: 1.5 }, 'preload made');
  assert.partialDeepStrictEqual(last(), {
    level: 30,
    deployment: 'shop/web',
    images: [{ image: 'registry.test/app:2' }],
    ms: 1.5,
    msg: 'preload made',
  });
});

test('what a tenant wrote is cut, in the message, in fields and in lists', () => {
  const { log, lines, last } = logged();
  const images = Array.from({ length: 1000 }, () => ({ image: LONG }));
  log.info({ reason: LONG, images, deep: { deep: { deep: { deep: { deep: LONG } } } } }, LONG);
  assert.ok((lines[0]?.length ?? 0) < 60_000, `${lines[0]?.length}`);
  const { msg, reason, images: shown } = last();
  assert.deepEqual([msg.length, reason.length, shown.length, shown.at(-1)], [2048, 2048, 21, '… 980 more']);
});

test('the words of a webhook in an error are cut, and so are those of its cause', () => {
  const { log, lines, last } = logged();
  const cause = new ApiError(403, { reason: 'Forbidden', message: `denied: ${LONG}` });
  log.warn({ err: new Error(LONG, { cause }) }, 'refused');
  assert.ok((lines[0]?.length ?? 0) < 20_000, `${lines[0]?.length}`);
  assert.equal(last().err.type, 'Error');
  assert.match(last().err.stack, /^Error: x+/);
});

test('an error keeps its code, its status and its stack', () => {
  const { log, last } = logged();
  log.error({ err: new ApiError(404, { reason: 'NotFound', message: 'pods "a" not found' }) }, 'gone');
  const { err } = last();
  assert.deepEqual([err.status, err.reason], [404, 'NotFound']);
  assert.match(err.stack, /log\.test\.ts/);
});

test('a child logger cuts as its parent does', () => {
  const { log, last } = logged();
  log.child({ path: '/api/v1/pods' }).info(LONG);
  assert.deepEqual([last().path, last().msg.length], ['/api/v1/pods', 2048]);
});
