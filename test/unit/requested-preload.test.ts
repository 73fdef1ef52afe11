import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseImagePreload } from '../../src/api/image-preload.ts';
import { runningTemplate } from '../../src/api/images-to-pull.ts';
import { MODE_LABEL } from '../../src/api/names.ts';
import { preloadName } from '../../src/api/preload-name.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import type { ApiClient, CallOptions } from '../../src/cluster/api-client.ts';
import type { GateEvent } from '../../src/cluster/events.ts';
import { GateError } from '../../src/errors.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { createLogLimit } from '../../src/log-limit.ts';
import { createBackgroundMaking } from '../../src/preloads/background-making.ts';
import type { PreloadSettings } from '../../src/preloads/preload-spec.ts';
import { type PreloadRequest, requestPreload } from '../../src/preloads/requested-preload.ts';
import { deployment, PRELOAD_SETTINGS, UID } from '../support/unit/deployment-builder.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi, refusal } from '../support/unit/memory-api.ts';
import { collectMemory } from '../support/unit/retained-bytes.ts';

const SHOP = '/api/v1/namespaces/shop';
const WEB = '/apis/apps/v1/namespaces/shop/deployments/web';
const PRELOADS = '/apis/pullgate.io/v1alpha1/namespaces/shop/imagepreloads';

const running = deployment();
const next = running.image('registry.test/app:2');
const name = preloadName(parseDeployment(next.object), templateHash(parseDeployment(next.object).template));
const PATH = `${PRELOADS}/${name}`;

const shop = (mode: string | undefined): JsonObject => ({
  metadata: { name: 'shop', labels: mode === undefined ? {} : { [MODE_LABEL]: mode } },
});

function world(settings: Partial<PreloadSettings> = {}) {
  const clock = manualClock();
  const api = memoryApi(clock);
  const { log, lines } = logDouble();
  const limitLog = createLogLimit(clock);
  const events: GateEvent[] = [];
  const making = createBackgroundMaking({ clock, log, limitLog });
  api.put(SHOP, shop('reject'));
  api.put(WEB, running.object);
  const ask = (fields: Partial<PreloadRequest> = {}, client = api.client) =>
    requestPreload(
      {
        namespace: 'shop',
        name: 'web',
        oldObject: running.object,
        object: next.object,
        username: 'a-developer',
        dryRun: false,
        preload: name,
        from: runningTemplate(parseDeployment(running.object).template),
        ...fields,
      },
      {
        client,
        clock,
        log,
        limitLog,
        limitProgress: limitLog,
        writeEvent: (event) => void events.push(event),
        settings: { ...PRELOAD_SETTINGS, ...settings },
        making,
        runningTemplate: async () => undefined,
      },
    );
  const stored = () => parseImagePreload(api.objects.get(PATH));
  const change = (fields: JsonObject) =>
    api.update(PATH, (object) => {
      const metadata = { ...asObject(object['metadata']), ...asObject(fields['metadata']) };
      const spec = { ...asObject(object['spec']), ...asObject(fields['spec']) };
      return { ...object, ...fields, metadata, spec };
    });
  const writes = () =>
    api.calls.filter(({ method }) => !['get', 'dryRun'].includes(method)).map(({ method }) => method);
  return { api, clock, events, lines, ask, stored, change, writes };
}

/** As the controller writes it. */
const status = (phase: string, ready: boolean, more: JsonObject = {}): JsonObject => {
  const allowed = ready ? 'True' : phase === 'Failed' ? 'False' : 'Unknown';
  return {
    phase,
    readyNodes: ready ? 2 : 0,
    desiredNodes: 2,
    conditions: [{ type: 'ReleaseAllowed', status: allowed, reason: 'NotFound', message: 'words' }],
    ...more,
  };
};

test('the first one makes the preload that a hold would wait for, owned by the Deployment', async () => {
  const { ask, stored, events, writes } = world();
  const progress = await ask();
  assert.deepEqual([progress.outcome.kind, progress.desiredNodes], ['wait', 0]);
  assert.deepEqual(writes(), ['create']);
  assert.deepEqual(stored().owner, { kind: 'Deployment', name: 'web', uid: UID });
  assert.deepEqual(stored().spec.images, [{ image: 'registry.test/app:2', imagePullPolicy: 'IfNotPresent' }]);
  assert.equal(stored().spec.templateHash, templateHash(parseDeployment(next.object).template));
  const [event, ...others] = events;
  assert.deepEqual(others, []);
  assert.partialDeepStrictEqual(event, { type: 'Normal', reason: 'RolloutRejected' });
  assert.deepEqual([event?.regarding.uid, event?.related?.name], [UID, name]);
  assert.match(event?.note ?? '', /registry\.test\/app:2; requested by a-developer;.* get ipl web-/);
});

test('the next ones make nothing, tell how far it is, and are the same Event', async () => {
  const { ask, clock, change, events, writes } = world();
  await ask();
  change({ status: status('Preloading', false, { readyNodes: 1 }) });
  clock.advance(5000);
  const progress = await ask();
  assert.deepEqual(writes(), ['create']);
  assert.deepEqual(
    [progress.outcome.kind, progress.readyNodes, progress.desiredNodes, progress.elapsedSeconds],
    ['wait', 1, 2, 5],
  );
  assert.deepEqual([events.length, new Set(events.map(({ dedupKey }) => dedupKey)).size], [2, 1]);
});

test('a ready one lets the update through, a failed one does not', async () => {
  const { ask, change } = world();
  await ask();
  change({ status: status('Ready', true) });
  assert.deepEqual((await ask()).outcome, { kind: 'release', message: 'words' });
  change({ status: status('Failed', false) });
  assert.deepEqual((await ask()).outcome, { kind: 'fail', message: 'words (NotFound)' });
});

test('while nothing serves, one ready node lets the update through', async () => {
  const { ask, api, change } = world();
  await ask();
  change({ status: status('Preloading', false, { readyNodes: 1 }) });
  assert.equal((await ask()).outcome.kind, 'wait');
  api.put(WEB, { ...running.object, status: { observedGeneration: 3, replicas: 2, updatedReplicas: 2 } });
  assert.deepEqual((await ask()).outcome, {
    kind: 'release',
    message: 'no pod of this Deployment is ready, and a node has the images',
  });
  change({ status: status('Failed', false) });
  assert.equal((await ask()).outcome.kind, 'fail');
});

test('two at once make one preload, and both wait', async () => {
  const { ask, api, events } = world();
  const both = await Promise.all([ask(), ask()]);
  assert.deepEqual(
    both.map(({ outcome }) => outcome.kind),
    ['wait', 'wait'],
  );
  assert.equal([...api.objects.keys()].filter((path) => path.startsWith(PRELOADS)).length, 1);
  await ask();
  assert.equal(new Set(events.map(({ dedupKey }) => dedupKey)).size, 1);
});

const stale: readonly (readonly [string, (api: ReturnType<typeof memoryApi>) => void])[] = [
  ['the Deployment is gone', (api) => api.put(WEB, undefined)],
  ['another Deployment has the name', (api) => api.put(WEB, running.metadata({ uid: 'another' }).object)],
  ['it has changed since', (api) => api.put(WEB, running.metadata({ generation: 4 }).object)],
  [
    'its revision is not the one that the preload is named for',
    (api) => api.put(WEB, running.annotate('deployment.kubernetes.io/revision', '4').object),
  ],
  ['what runs is something else than the review says', (api) => api.put(WEB, next.object)],
  ['the namespace is gone', (api) => api.put(SHOP, undefined)],
  ['the namespace has mode pause', (api) => api.put(SHOP, shop('pause'))],
  ['nobody opted in', (api) => api.put(SHOP, shop(undefined))],
];
for (const [when, prepare] of stale) {
  test(`nothing is made, told or even looked at where ${when}: any pod can send a review`, async () => {
    const { ask, api, events, writes } = world();
    prepare(api);
    assert.equal((await ask()).outcome.kind, 'stale');
    assert.deepEqual([writes(), events], [[], []]);
    assert.deepEqual(api.called('get', PRELOADS), []);
  });
}

test('a status that has changed since is no reason to refuse', async () => {
  const { ask, api } = world();
  api.put(WEB, running.metadata({ resourceVersion: '9' }).object);
  assert.equal((await ask()).outcome.kind, 'wait');
});

test('the owner is the stored Deployment, whatever uid, name and revision the object brings', async () => {
  const { ask, stored } = world();
  const object = next.metadata({ uid: '', name: 'another', namespace: 'another' }).object;
  await ask({ object });
  assert.deepEqual(
    [stored().namespace, stored().owner],
    ['shop', { kind: 'Deployment', name: 'web', uid: UID }],
  );
});

test('a dry run makes, deletes and tells nothing, and knows of one that is there', async () => {
  const { ask, change, events, writes } = world();
  assert.equal((await ask({ dryRun: true })).outcome.kind, 'wait');
  assert.deepEqual([writes(), events], [[], []]);
  await ask();
  change({ status: status('Ready', true) });
  assert.equal((await ask({ dryRun: true })).outcome.kind, 'release');
  change({ status: status('Finished', true, { finishedAt: '2026-01-01T00:00:00Z' }) });
  assert.equal((await ask({ dryRun: true })).outcome.kind, 'wait');
  assert.deepEqual([writes(), events.length], [['create'], 1]);
});

const unusable: readonly (readonly [string, JsonObject])[] = [
  ['has finished', { status: status('Finished', true, { finishedAt: '2026-01-01T00:00:00Z' }) }],
  ['was edited', { spec: { images: [{ image: 'registry.test/app:1' }] }, status: status('Ready', true) }],
  [
    'belongs to another Deployment',
    {
      metadata: { ownerReferences: [{ kind: 'Deployment', name: 'web', uid: 'another' }] },
      status: status('Ready', true),
    },
  ],
  ['asks for fewer nodes', { spec: { minNodes: 1 }, status: status('Ready', true) }],
  ['has an earlier deadline', { spec: { deadlineSeconds: 1 }, status: status('Ready', true) }],
  ['gives up on nodes earlier', { spec: { nodeTimeoutSeconds: 1 }, status: status('Ready', true) }],
  [
    'is for fewer nodes',
    { spec: { scheduling: { nodeSelector: { pool: 'a' } } }, status: status('Ready', true) },
  ],
  ['was made by hand', { metadata: { ownerReferences: [] }, status: status('Ready', true) }],
];
for (const [what, fields] of unusable) {
  test(`one that ${what} lets nothing through: it is deleted and made anew`, async () => {
    const { ask, change, stored, writes } = world();
    await ask();
    const before = stored().uid;
    change(fields);
    assert.equal((await ask()).outcome.kind, 'wait');
    assert.deepEqual(writes(), ['create', 'delete', 'create']);
    assert.notEqual(stored().uid, before);
    assert.equal(stored().owner?.uid, UID);
    assert.equal((await ask()).outcome.kind, 'wait');
    assert.deepEqual(writes().length, 3, 'the new one will do');
  });
}

test('where loosening needs a permission, a Deployment that asks for it waits as the flags say', async () => {
  const { ask, stored } = world({ tightenOnly: true });
  await ask({
    object: next.annotate('pullgate.io/min-nodes', '1').annotate('pullgate.io/node-selector', 'no=node')
      .object,
  });
  assert.deepEqual([stored().spec.minNodes, stored().spec.scheduling], ['100%', {}]);
});

test('one that is on its way out is waited for', async () => {
  const { ask, change, writes } = world();
  await ask();
  change({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' }, status: status('Ready', true) });
  assert.equal((await ask()).outcome.kind, 'wait');
  assert.deepEqual(writes(), ['create', 'create'], 'the second one is AlreadyExists');
});

test('one that somebody else deletes at the same time is no error', async () => {
  for (const error of [refusal(404, 'NotFound'), refusal(409, 'Conflict')]) {
    const { ask, api, change } = world();
    await ask();
    change({ status: status('Finished', true, { finishedAt: '2026-01-01T00:00:00Z' }) });
    api.refuse('delete', PRELOADS, error);
    assert.equal((await ask()).outcome.kind, 'wait');
  }
});

test('a policy or a quota that refuses the preload denies the update, in its words', async () => {
  for (const [status, reason] of [
    [403, 'Forbidden'],
    [422, 'Invalid'],
  ] as const) {
    const { ask, api } = world();
    api.refuse('create', PRELOADS, refusal(status, reason));
    const { outcome } = await ask();
    assert.equal(outcome.kind, 'fail');
    assert.match(outcome.kind === 'fail' ? outcome.message : '', /^ImagePreload web-\w+ was refused: ./);
  }
});

test('an API server that is away or too busy denies the update for now: an error would let it pass ungated', async () => {
  const values = { server: 'https://api', call: 'GET', deadline: 1000, detail: 'none' };
  for (const error of [
    new GateError('PG_API_TIMEOUT', values),
    new GateError('PG_API_UNREACHABLE', values),
    refusal(429, 'TooManyRequests'),
    refusal(503, 'ServiceUnavailable'),
  ]) {
    for (const [method, part] of [
      ['get', WEB],
      ['get', SHOP],
      ['get', PATH],
      ['create', PRELOADS],
    ] as const) {
      const { ask, api, events } = world();
      api.refuse(method, part, error);
      assert.deepEqual(
        (await ask()).outcome,
        { kind: 'unanswered' },
        `${error.message} to ${method} ${part}`,
      );
      assert.deepEqual(events, []);
      assert.equal((await ask()).outcome.kind, 'wait', 'the next time it is asked again');
    }
  }
});

test('a webhook that is down for ImagePreloads is told in its words', async () => {
  const { ask, api } = world();
  api.refuse(
    'create',
    PRELOADS,
    refusal(500, 'InternalError', 'failed calling webhook "a.test": no endpoints'),
  );
  const progress = await ask();
  assert.equal(progress.outcome.kind, 'unanswered');
  assert.match(progress.trouble ?? '', /failed calling webhook "a\.test"/);
});

test('all calls before the answer take 3 s at most: the API server waits 5 s', async () => {
  const { ask, api, clock, change } = world();
  await ask();
  change({ spec: { templateHash: 'of another template' } });
  const deadlines: (number | undefined)[] = [];
  const slow = <T>(options: CallOptions | undefined, answer: T): T => {
    deadlines.push(options?.deadlineMs);
    clock.advance(900);
    return answer;
  };
  const { client } = api;
  await ask(
    {},
    {
      ...client,
      get: (path, query, options) => slow(options, client.get(path, query, options)),
      delete: (path, body, options) => slow(options, client.delete(path, body, options)),
      create: (path, body, query, options) => slow(options, client.create(path, body, query, options)),
    },
  );
  assert.deepEqual(deadlines.slice(0, 4), [1000, 1000, 1000, 300]);
  assert.deepEqual(deadlines.slice(4), [4000, 1000], 'the dry run and the ImagePreload are not waited for');
});

test('whatever else the API server refuses is thrown: failurePolicy decides', async () => {
  for (const [method, part] of [
    ['get', WEB],
    ['get', SHOP],
    ['get', PATH],
  ] as const) {
    const { ask, api, events } = world();
    api.refuse(method, part, refusal(403, 'Forbidden'));
    await assert.rejects(ask(), { status: 403 }, `${method} ${part}`);
    assert.deepEqual(events, []);
  }
});

test('however many forged reviews there are, they are one line a minute', async () => {
  const { ask, api, lines } = world();
  api.put(WEB, undefined);
  for (let n = 0; n < 100; n += 1) assert.equal((await ask()).outcome.kind, 'stale');
  assert.equal(lines.length, 1);
});

describe('while a webhook hangs', () => {
  const slowly = (clock: ReturnType<typeof manualClock>, api: ReturnType<typeof memoryApi>): ApiClient => ({
    ...api.client,
    async create(path, body, query, options) {
      if (query?.['dryRun'] === 'All')
        await new Promise<void>((resolve) => clock.setTimer(4000, () => resolve()));
      return await api.client.create(path, body, query, options);
    },
  });

  async function settle(clock: ReturnType<typeof manualClock>, ms: number): Promise<void> {
    await nextTurn();
    clock.advance(ms);
    await nextTurn();
  }

  test('the update is answered, and the preload made when the dry run is answered', async () => {
    const { ask, api, clock, stored, writes } = world();
    const client = slowly(clock, api);
    const answer = ask({}, client);
    await settle(clock, 500);
    assert.equal((await answer).outcome.kind, 'wait');
    assert.deepEqual(writes(), []);
    const again = ask({}, client);
    await settle(clock, 500);
    assert.equal((await again).outcome.kind, 'wait');
    await settle(clock, 3000);
    assert.deepEqual(writes(), ['create']);
    assert.deepEqual(api.called('dryRun', SHOP).length, 1, 'one for both');
    assert.equal(stored().owner?.uid, UID);
  });

  test('nothing of the review is kept but the new template', async () => {
    const { ask, api, clock } = world();
    const objects: WeakRef<JsonObject>[] = [];
    const review = () => {
      const oldObject = structuredClone(running.object);
      const object = structuredClone(next.object);
      objects.push(new WeakRef(oldObject), new WeakRef(object));
      return { oldObject, object };
    };
    const answer = ask(review(), slowly(clock, api));
    await settle(clock, 500);
    assert.equal((await answer).outcome.kind, 'wait');
    collectMemory();
    assert.deepEqual(
      objects.map((object) => object.deref()),
      [undefined, undefined],
    );
  });

  test('updates whose preloads there is no room to make are denied for now, and have room later', async () => {
    const { ask, clock, api } = world();
    const client = slowly(clock, api);
    const outcomesOf = async (...preloads: string[]) => {
      const answers = preloads.map((preload) => ask({ preload }, client));
      await settle(clock, 500);
      return (await Promise.all(answers)).map(({ outcome }) => outcome.kind);
    };
    const names = Array.from({ length: 9 }, (_, n) => `web-${n}`);
    assert.deepEqual(await outcomesOf(...names), [...Array.from({ length: 8 }, () => 'wait'), 'crowded']);
    // The namespace is slow, so the next dry runs come one after the other.
    for (let n = 0; n < 8; n += 1) await settle(clock, 4000);
    assert.deepEqual(await outcomesOf('web-8'), ['wait']);
  });

  test('a refusal of the preload that comes late is told when the client asks again, once', async () => {
    const { ask, api, clock } = world();
    const client = slowly(clock, api);
    api.refuse('create', PRELOADS, refusal(403, 'Forbidden', 'exceeded quota'));
    const answer = ask({}, client);
    await settle(clock, 500);
    assert.equal((await answer).outcome.kind, 'wait');
    await settle(clock, 3500);
    assert.equal((await ask()).outcome.kind, 'fail');
    assert.equal((await ask()).outcome.kind, 'wait');
  });
});
