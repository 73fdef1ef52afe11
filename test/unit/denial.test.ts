import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Denial, forbidden, rejection } from '../../src/admission/denial.ts';
import type { PreloadProgress } from '../../src/api/preload-progress.ts';

const WEB = { namespace: 'shop', name: 'web' };
const V2 = 'registry.test/app:2';

function denied(progress?: Partial<PreloadProgress>, dryRun = false): Denial {
  const whole: PreloadProgress | undefined = progress && {
    outcome: { kind: 'wait' },
    readyNodes: 0,
    desiredNodes: 0,
    elapsedSeconds: 0,
    remainingSeconds: undefined,
    ...progress,
  };
  return rejection(WEB, 'web-1', [V2], whole, dryRun);
}

test('a wait says what for, how far it is, where to look, and that the same command will do', () => {
  assert.deepEqual(denied({ readyNodes: 3, desiredNodes: 10, elapsedSeconds: 12.4, remainingSeconds: 8.2 }), {
    code: 429,
    reason: 'TooManyRequests',
    message:
      `pullgate: shop/web waits until its nodes have ${V2}: 3 of 10 nodes after 12 s, about 9 s more at the pace of ` +
      'the slowest node so far; see kubectl -n shop get ipl web-1. Run the same command again to retry',
    retryAfterSeconds: 9,
  });
});

test('it promises no time before a node has shown one, and no nodes before they are counted', () => {
  const { message } = denied({ readyNodes: 0, desiredNodes: 10, elapsedSeconds: 5 });
  assert.match(message, /: 0 of 10 nodes after 5 s; see/);
  for (const early of [undefined, { desiredNodes: 0 }]) {
    assert.match(denied(early).message, /: the preload has not begun yet; see/);
  }
});

test('as long as no time is known, the next look is after as long again, at least 2 s', () => {
  const next = (elapsedSeconds: number) =>
    denied({ readyNodes: 0, desiredNodes: 10, elapsedSeconds }).retryAfterSeconds;
  assert.deepEqual([next(0), next(1), next(5), next(29.5), next(300)], [2, 2, 5, 30, 30]);
  assert.equal(denied(undefined).retryAfterSeconds, 2);
});

test('what should be over by now is asked for again in a second', () => {
  assert.equal(denied({ readyNodes: 2, desiredNodes: 3, remainingSeconds: 0 }).retryAfterSeconds, 1);
});

test('whatever is estimated, the wait is a whole number of seconds from 1 to 30', () => {
  const seconds = fc.double({ min: 0, max: 1e9, noNaN: true });
  fc.assert(
    fc.property(seconds, fc.option(seconds, { nil: undefined }), (elapsedSeconds, remainingSeconds) => {
      const wait = denied({ readyNodes: 1, desiredNodes: 2, elapsedSeconds, remainingSeconds });
      const { retryAfterSeconds = 0 } = wait;
      assert.ok(Number.isInteger(retryAfterSeconds));
      assert.ok(retryAfterSeconds >= 1 && retryAfterSeconds <= 30, `${retryAfterSeconds}`);
    }),
  );
});

test('a Deployment that has changed meanwhile is to be asked for again at once', () => {
  const { code, message, retryAfterSeconds } = denied({ outcome: { kind: 'stale' }, elapsedSeconds: 100 });
  assert.deepEqual([code, retryAfterSeconds], [429, 1]);
  assert.match(message, /shop\/web changed while it was being checked/);
});

test('an API server that could not answer is told in its words', () => {
  const { message } = denied({ outcome: { kind: 'unanswered' }, trouble: 'failed calling webhook "a.test"' });
  assert.match(
    message,
    /^pullgate: the API server could not answer \(failed calling webhook "a\.test"\), so the progress/,
  );
});

test('an API server that did not answer is no reason to let the update through, and is asked again at once', () => {
  assert.deepEqual(denied({ outcome: { kind: 'unanswered' } }), {
    code: 429,
    reason: 'TooManyRequests',
    message:
      'pullgate: the API server did not answer in time, so the progress of the preload of shop/web is unknown. ' +
      'Run the same command again to retry',
    retryAfterSeconds: 1,
  });
});

test('an update whose ImagePreload there is no room to make is to be asked for again', () => {
  const { code, message, retryAfterSeconds } = denied({ outcome: { kind: 'crowded' } });
  assert.deepEqual([code, retryAfterSeconds], [429, 1]);
  assert.equal(
    message,
    'pullgate: too many updates of this namespace wait for their ImagePreloads to be created, so that of shop/web is not ' +
      'created yet. Run the same command again to retry',
  );
});

test('a dry run is told to wait for nothing, whatever the outcome', () => {
  for (const kind of ['wait', 'stale', 'unanswered', 'crowded'] as const) {
    assert.equal(denied({ outcome: { kind } }, true).retryAfterSeconds, undefined);
  }
  assert.equal(denied(undefined, true).retryAfterSeconds, undefined);
});

test("what cannot be pulled is forbidden, in the registry's words, and no client waits for it", () => {
  const denial = denied({ outcome: { kind: 'fail', message: `${V2}: not found (NotFound)` } });
  assert.deepEqual(denial, {
    code: 403,
    reason: 'Forbidden',
    message: `pullgate: update of shop/web rejected; the running version is unchanged: ${V2}: not found (NotFound); see kubectl -n shop get ipl web-1`,
  });
  assert.deepEqual(forbidden('no'), { code: 403, reason: 'Forbidden', message: 'no' });
});

test('images without end are cut, never the command behind them', () => {
  const images = Array.from({ length: 200 }, (_, index) => `registry.test/${'x'.repeat(200)}:${index}`);
  const { message } = rejection(WEB, 'web-1', images, undefined, false);
  assert.ok(message.length < 800, `${message.length}`);
  assert.match(message, /x\.\.\.: the preload has not begun yet; see kubectl -n shop get ipl web-1\. /);
});
