import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import { type ImagePreload, parseImagePreload } from '../../src/api/image-preload.ts';
import type { GateEvent } from '../../src/cluster/events.ts';
import { createEnsurePreload } from '../../src/deployments/ensure-preload.ts';
import type { NeededPreload } from '../../src/deployments/next-step.ts';
import { GateError } from '../../src/errors.ts';
import { createLogLimit } from '../../src/log-limit.ts';
import { trimPreload } from '../../src/preloads/trimmed-preload.ts';
import { PRELOAD_SETTINGS } from '../support/unit/deployment-builder.ts';
import { PRELOADS, WEB } from '../support/unit/gate-world.ts';
import { heldObject, holdOf, updated } from '../support/unit/held-deployment.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi, refusal } from '../support/unit/memory-api.ts';

const WEB_HELD = parseDeployment(heldObject());
const { preload: NAME, from } = holdOf();
const NEEDED: NeededPreload = { name: NAME, from, why: 'Hold' };
const UNGATED: NeededPreload = { ...NEEDED, why: 'Ungated' };

/** The Deployment is held, and its ImagePreload is not stored. The cache shows what is stored, but for what a test says. */
function world() {
  const clock = manualClock();
  const api = memoryApi(clock);
  const { log } = logDouble();
  const limitLog = createLogLimit(clock);
  const events: GateEvent[] = [];
  const failed: string[] = [];
  const awaited: string[] = [];
  const given: { neededNow: NeededPreload | undefined; cached?: (stored: ImagePreload) => ImagePreload } = {
    neededNow: NEEDED,
  };
  const stored = () => {
    const raw = api.objects.get(`${PRELOADS}/${NAME}`);
    return raw && parseImagePreload(raw);
  };
  const ensurePreload = createEnsurePreload({
    ...{ client: api.client, clock, log, limitLog, limitProgress: limitLog, settings: PRELOAD_SETTINGS },
    writeEvent: (event) => void events.push(event),
    preloadOf() {
      const found = stored();
      return found && (given.cached?.(found) ?? found);
    },
    neededNow: () => given.neededNow,
    onPreloadAwaited: (key) => void awaited.push(key),
    async fail(_deployment, message) {
      failed.push(message);
    },
  });
  api.put(WEB, heldObject());
  const ensure = (needed: NeededPreload = NEEDED, deployment: Deployment = WEB_HELD) =>
    ensurePreload.ensure(deployment, needed);
  return {
    ...{ api, clock, events, failed, awaited, given, ensure, stored },
    isTheOne: (change: Partial<ImagePreload>, needed = NEEDED) => {
      const found = stored();
      assert.ok(found);
      return ensurePreload.isTheOne({ ...found, ...change }, WEB_HELD, needed);
    },
    creates: () => api.called('create', PRELOADS).length,
    /** The reasons of the Events, all of them Warnings. */
    warnings: () => events.map(({ reason }) => reason),
  };
}

test('a missing ImagePreload is created once, for the images that the hold needs', async () => {
  const { ensure, stored, creates, isTheOne, warnings } = world();
  assert.equal(await ensure(), undefined);
  assert.deepEqual(
    stored()?.spec.images.map(({ image }) => image),
    ['registry.test/app:2'],
  );
  assert.ok(isTheOne({}));
  assert.equal(await ensure(), undefined);
  assert.deepEqual([creates(), warnings()], [1, []]);
});

test('nothing is created for a template that is not the stored one, or that is no longer needed after the dry run', async () => {
  const { api, ensure, given, creates } = world();
  given.neededNow = undefined;
  assert.equal(await ensure(), 1000);
  given.neededNow = NEEDED;
  api.put(WEB, heldObject(updated.image('registry.test/app:3')));
  assert.equal(await ensure(), 1000);
  assert.equal(creates(), 0);
});

test('an ImagePreload of another owner, for another template or edited since is not the one that is needed', async () => {
  const { ensure, isTheOne, stored } = world();
  await ensure();
  const found = stored();
  assert.ok(found);
  const { spec } = found;
  const stranger = { kind: 'Deployment', name: 'web', uid: 'uid-of-another' };
  assert.equal(isTheOne({ owner: stranger }), false);
  assert.equal(isTheOne({ spec: { ...spec, images: [] } }), false);
  assert.equal(isTheOne({ spec: { ...spec, minNodes: '1%' } }), false, 'it would release earlier');
  assert.equal(isTheOne({ spec: { ...spec, minNodes: '100%', ttlSecondsAfterFinished: 60 } }), true);
});

test('one that has finished is of an earlier hold, and does for a rollout that is under way', async () => {
  const { ensure, isTheOne, stored } = world();
  await ensure();
  const { status } = parseImagePreload({ status: { finishedAt: '2026-01-01T00:00:00Z' } });
  assert.ok(status?.finishedAt);
  assert.equal(isTheOne({ status }), false);
  assert.equal(isTheOne({ status }, UNGATED), true);
  assert.ok(stored());
});

test('of one that the cache keeps in part the template counts, and its controller is told that it is awaited', async () => {
  const { ensure, given, awaited, isTheOne, stored } = world();
  await ensure();
  given.cached = trimPreload;
  assert.equal(await ensure(), undefined);
  assert.deepEqual(awaited, [`shop/${NAME}`]);
  const found = stored();
  assert.ok(found);
  const other = trimPreload({ ...found, spec: { ...found.spec, templateHash: 'another' } });
  assert.equal(isTheOne(other), false);
});

test('one that does not match is deleted, if it is still the same object, and created again', async () => {
  const { api, ensure, given, stored } = world();
  await ensure();
  const first = stored()?.uid;
  given.cached = (found) => ({ ...found, owner: { kind: 'Deployment', name: 'web', uid: 'forged' } });
  assert.equal(await ensure(), 1000);
  assert.deepEqual(api.called('delete', NAME)[0]?.body, { preconditions: { uid: first } });
  delete given.cached;
  assert.equal(await ensure(), undefined);
  assert.notEqual(stored()?.uid, first);
});

test('a refused ImagePreload fails a waiting rollout status, and an ungated rollout is left alone', async () => {
  const { api, ensure, failed, warnings } = world();
  api.refuse('create', PRELOADS, refusal(403, 'Forbidden', 'exceeded quota'), 2);
  await assert.rejects(ensure(UNGATED), { message: /exceeded quota/ });
  assert.deepEqual([failed, warnings()], [[], []]);
  await assert.rejects(ensure(), { message: /exceeded quota/ });
  assert.deepEqual(
    [failed, warnings()],
    [[`ImagePreload ${NAME} was refused: exceeded quota`], ['PreloadFailed']],
  );
});

test('an API server that does not answer is reported after 5 s, and fails nothing', async () => {
  const { api, clock, ensure, failed, warnings } = world();
  const values = { server: 'memory', call: '', deadline: 10_000, detail: 'none' };
  api.refuse('create', PRELOADS, new GateError('PG_API_TIMEOUT', values), 3);
  for (const expected of [[], ['PreloadFailed']]) {
    await assert.rejects(ensure(), { code: 'PG_API_TIMEOUT' });
    assert.deepEqual(warnings(), expected);
    clock.advance(5000);
  }
  assert.deepEqual(failed, []);
});

test('one whose finalizers keep it is reported once, after 10 s, with the command that removes them', async () => {
  const { ensure, given, failed, warnings } = world();
  await ensure();
  given.cached = (found) => ({ ...found, deleting: true });
  const looks = async (times: number) => {
    for (let n = 0; n < times; n += 1) assert.equal(await ensure(), 1000);
    return [failed.length, warnings().length];
  };
  assert.deepEqual(
    [await looks(9), await looks(1), await looks(5)],
    [
      [0, 0],
      [1, 1],
      [1, 1],
    ],
  );
  assert.match(failed[0] ?? '', /finalizers prevent that; remove them: kubectl -n shop patch ipl /);
});

test('a deletion that is refused is an impasse as well', async () => {
  const { api, ensure, given, failed } = world();
  await ensure();
  given.cached = (found) => ({ ...found, owner: { kind: 'Deployment', name: 'web', uid: 'forged' } });
  api.refuse('delete', PRELOADS, refusal(403, 'Forbidden', 'a policy forbids it'));
  await assert.rejects(ensure(), { message: /a policy forbids it/ });
  assert.deepEqual(failed, [
    `ImagePreload ${NAME} does not match any more, and its deletion was refused: a policy forbids it`,
  ]);
});
