import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../src/cluster/api-error.ts';
import { GateError } from '../../src/errors.ts';
import { awaitSupportedServer, checkServerVersion } from '../../src/install/server-version.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';

const SERVER = 'https://192.0.2.1:6443';
const clientOf = (answer: () => unknown) => ({ get: async () => answer() });

function checkOf(version: unknown, unsupportedServer = false) {
  const { log, lines } = logDouble();
  const done = checkServerVersion(
    clientOf(() => version),
    { server: SERVER, unsupportedServer, log },
  );
  return { done, lines };
}

for (const [major, minor] of [
  ['1', '30'],
  ['1', '30+'],
  ['1', '37+'],
  ['2', '0'],
]) {
  test(`a server of ${major}.${minor} is supported`, async () => {
    await checkOf({ major, minor }).done;
  });
}

for (const [major, minor, version] of [
  ['1', '29', '1.29'],
  ['1', '27+', '1.27'],
  ['1', '9', '1.9'],
  ['0', '31', '0.31'],
]) {
  test(`a server of ${major}.${minor} is refused by URL and version`, async () => {
    await assert.rejects(checkOf({ major, minor }).done, {
      code: 'PG_SERVER_VERSION',
      message: new RegExp(`API server ${SERVER} runs Kubernetes ${version?.replace('.', '\\.')}; `),
    });
  });
}

test('with --unsupported-server an older server passes with a warning', async () => {
  const { done, lines } = checkOf({ major: '1', minor: '20' }, true);
  await done;
  assert.partialDeepStrictEqual(lines, [{ level: 40, version: '1.20' }]);
});

test('an answer without a version is none of an API server, whatever the flag says', async () => {
  for (const answer of [{}, { major: '1' }, { major: '1', minor: '+' }, 'ok']) {
    await assert.rejects(checkOf(answer).done, { code: 'PG_API_ANSWER' });
    await assert.rejects(checkOf(answer, true).done, { code: 'PG_API_ANSWER' });
  }
});

function awaiting(answer: () => unknown, stop = new AbortController()) {
  const clock = manualClock();
  const { log, lines } = logDouble();
  const check = { server: SERVER, unsupportedServer: false, log };
  let ended = false;
  const done = awaitSupportedServer(clientOf(answer), check, clock, stop.signal).finally(() => {
    ended = true;
  });
  done.catch(() => undefined);
  return {
    done,
    lines,
    stop,
    hasEnded: () => ended,
    /** Lets so many milliseconds pass, timer by timer. */
    async pass(ms: number): Promise<void> {
      for (const end = clock.monotonic() + ms; clock.monotonic() < end; ) {
        await new Promise(setImmediate);
        clock.advance(Math.min(clock.timers()[0] ?? ms, end - clock.monotonic()));
      }
      await new Promise(setImmediate);
    },
  };
}

function unreachable(): never {
  throw new GateError('PG_API_UNREACHABLE', { server: SERVER, detail: 'connect ECONNREFUSED' });
}

test('while the API server is away the replica waits for its version, and says so once', async () => {
  let answer: () => unknown = unreachable;
  const { done, lines, pass, hasEnded } = awaiting(() => answer());
  await pass(3_600_000);
  assert.equal(hasEnded(), false);
  assert.deepEqual(
    lines.map(({ code }) => code),
    ['PG_API_UNREACHABLE'],
  );
  answer = () => ({ major: '1', minor: '30' });
  await pass(5000);
  assert.equal(hasEnded(), true);
  await done;
});

test('a refusal and an answer without a version do not end the replica either', async () => {
  const refusals = [
    () => {
      throw new ApiError(403, { reason: 'Forbidden', message: 'User "x" cannot get path "/version"' });
    },
    () => {
      throw new ApiError(503, 'unavailable');
    },
    () => ({}),
  ];
  let asked = 0;
  const { lines, pass, hasEnded } = awaiting(() => refusals[asked++ % refusals.length]?.());
  await pass(10_000);
  assert.equal(hasEnded(), false);
  assert.deepEqual(
    lines.map(({ code, msg }) => code ?? msg),
    ['PG_RBAC', 'could not read the Kubernetes version, retrying', 'PG_API_ANSWER'],
  );
});

test('a server that comes back too old is refused', async () => {
  let answer: () => unknown = unreachable;
  const { done, pass } = awaiting(() => answer());
  await pass(60_000);
  answer = () => ({ major: '1', minor: '29' });
  await pass(5000);
  await assert.rejects(done, { code: 'PG_SERVER_VERSION' });
});

test('a stop ends the waiting at once', async () => {
  const { done, stop, pass } = awaiting(unreachable);
  await pass(60_000);
  stop.abort(new Error('stopped'));
  await assert.rejects(done, /stopped/);
});
