import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { HELD_LABEL, HOLD_ANNOTATION, WEBHOOK_CONFIGURATION } from '../../src/api/names.ts';
import type { GateEvent } from '../../src/cluster/events.ts';
import { GateError } from '../../src/errors.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { endHolding } from '../../src/uninstall.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi, refusal } from '../support/unit/memory-api.ts';
import { replicaSetOf } from '../support/unit/replica-set.ts';
import { until } from '../support/unit/until.ts';

const WEBHOOKS = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${WEBHOOK_CONFIGURATION}`;
const { namespace, name } = parseDeployment(updated.object);
const WEB = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
const NAMESPACE = `/api/v1/namespaces/${namespace}`;
const API = WEB.replace(new RegExp(`${name}$`), 'api');

function installed() {
  const clock = manualClock();
  const api = memoryApi(clock);
  api.put(WEBHOOKS, { metadata: { name: WEBHOOK_CONFIGURATION }, webhooks: [{ name: 'pause.pullgate.io' }] });
  api.put(NAMESPACE, { metadata: { name: namespace } });
  api.put(WEB, heldObject());
  const events: GateEvent[] = [];
  return { clock, api, events, log: logDouble().log };
}

type Installed = ReturnType<typeof installed>;

const optionsOf = ({ api, clock, events, log }: Installed) => ({
  ...{ client: api.client, clock, log },
  writeEvent: (event: GateEvent) => void events.push(event),
});

const isHeld = (object: unknown) => {
  const { annotations, labels, paused } = parseDeployment(object);
  return annotations[HOLD_ANNOTATION] !== undefined || labels[HELD_LABEL] !== undefined || paused;
};

/** Runs to its end, whatever it waits for. */
async function toItsEnd(world: Installed, holds?: 'release' | 'revert' | 'stop'): Promise<void> {
  const { clock } = world;
  let over = false;
  const running = endHolding(optionsOf(world), holds).finally(() => {
    over = true;
  });
  running.catch(() => undefined);
  await until(() => over || clock.timers().length > 0);
  clock.advance(10_000);
  await running;
}

test('every hold is released, and the webhooks are gone before the first release', async () => {
  const world = installed();
  await toItsEnd(world);
  assert.deepEqual(asArray(at(world.api.objects.get(WEBHOOKS), 'webhooks')), []);
  assert.equal(isHeld(world.api.objects.get(WEB)), false);
  assert.deepEqual(
    world.api.calls.filter(({ method }) => method === 'jsonPatch').map(({ path }) => path),
    [WEBHOOKS, WEB],
  );
});

test('what an API server still had held by a webhook that it did not know to be gone is released, too', async () => {
  const world = installed();
  const running = endHolding(optionsOf(world), undefined);
  await until(() => world.clock.timers().length > 0);
  world.api.put(API, heldObject(updated.metadata({ name: 'api', uid: 'uid-api' })));
  assert.ok((world.clock.timers()[0] ?? 0) > 5000, 'an API server waits for an answer for 5 s');
  world.clock.advance(10_000);
  await running;
  assert.equal(isHeld(world.api.objects.get(API)), false);
});

test('a hold that waits for an approval or a time goes back to the running version, and its Event says so', async () => {
  const later = updated.annotate('pullgate.io/not-before', '2030-01-01T00:00:00Z');
  for (const [object, labels, why] of [
    [
      updated.label('pullgate.io/approval', 'required'),
      {},
      /; the rollout waited for an approval; apply the new version again$/,
    ],
    [updated, { 'pullgate.io/approval': 'required' }, /waited for an approval/],
    [later, {}, /waited for a later time/],
  ] as const) {
    const world = installed();
    world.api.put(NAMESPACE, { metadata: { name: namespace, labels } });
    world.api.put(WEB, heldObject(object));
    world.api.put(...replicaSetOf(deployment().object));
    await toItsEnd(world);
    const stored = parseDeployment(world.api.objects.get(WEB));
    assert.equal(isHeld(world.api.objects.get(WEB)), false);
    assert.equal(stored.templateHash, parseDeployment(deployment().object).templateHash);
    assert.match(world.events[0]?.note ?? '', why);
  }
});

test('a Deployment that is paused by its user stays as it is', async () => {
  const world = installed();
  const paused = deployment().spec({ paused: true }).object;
  world.api.put(WEB, paused);
  await toItsEnd(world);
  assert.deepEqual(world.api.objects.get(WEB), paused);
});

test('it can be repeated, and where nothing is installed there is nothing to do', async () => {
  const world = installed();
  await toItsEnd(world);
  world.api.put(WEBHOOKS, undefined);
  const before = world.api.calls.filter(({ method }) => method !== 'get').length;
  await toItsEnd(world);
  assert.equal(world.api.calls.filter(({ method }) => method !== 'get').length, before);
});

test('a hold that cannot be released fails the whole, so that the Job is tried again', async () => {
  const world = installed();
  world.api.refuse('jsonPatch', WEB, refusal(403, 'Forbidden', 'policy says no'), 1000);
  await assert.rejects(toItsEnd(world), AggregateError);
});

test('a namespace in which no release is ever answered keeps no other namespace waiting', async () => {
  const world = installed();
  // Behind them in the list.
  const web = world.api.objects.get(WEB);
  world.api.put(WEB, undefined);
  const hostile = WEB.replace(`/${namespace}/`, '/hostile/');
  for (let n = 0; n < 50; n += 1) {
    const path = `${hostile}-${n}`;
    world.api.put(
      path,
      heldObject(updated.metadata({ namespace: 'hostile', name: `web-${n}`, uid: `uid-${n}` })),
    );
  }
  world.api.put(WEB, web);
  world.api.hang('/namespaces/hostile/');
  // It never ends: that is for the time limit of each call.
  void endHolding(optionsOf(world), undefined);
  await until(() => !isHeld(world.api.objects.get(WEB)));
});

test('webhooks that may not be taken out are an error, and nothing is released: it would be held again', async () => {
  const world = installed();
  world.api.refuse('jsonPatch', WEBHOOKS, refusal(403, 'Forbidden'), 1000);
  await assert.rejects(toItsEnd(world));
  assert.ok(isHeld(world.api.objects.get(WEB)));
});

test('holds of all pages of a large cluster are released', async () => {
  const world = installed();
  const pages = [
    { items: [], metadata: { continue: 'next' } },
    { items: [world.api.objects.get(WEB)], metadata: {} },
  ];
  const asked: unknown[] = [];
  const get: typeof world.api.client.get = async (path, query, options) => {
    if (!path.endsWith('/deployments')) return await world.api.client.get(path, query, options);
    asked.push(query?.['continue']);
    return pages[query?.['continue'] === 'next' ? 1 : 0];
  };
  await toItsEnd({ ...world, api: { ...world.api, client: { ...world.api.client, get } } });
  assert.deepEqual(asked.slice(0, 2), [undefined, 'next']);
  assert.equal(isHeld(world.api.objects.get(WEB)), false);
});

/** The stored Deployment as the leader marks it when its image cannot be had. */
function failed(object: JsonObject): JsonObject {
  const message = 'pullgate: registry.test/app:2: not found (NotFound)';
  const condition = { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message };
  return { ...object, status: { ...asObject(object['status']), conditions: [condition] } };
}

const imageOf = (object: unknown) =>
  at(asArray(at(object, 'spec', 'template', 'spec', 'containers'))[0], 'image');

const ends: readonly (readonly [string, 'release' | 'revert' | undefined, string, string])[] = [
  ['by default', undefined, '2 RolloutReleased', '1 HoldReverted'],
  ['with --holds release', 'release', '2 RolloutReleased', '2 RolloutReleased'],
  ['with --holds revert', 'revert', '1 HoldReverted', '1 HoldReverted'],
];
for (const [when, holds, well, bad] of ends) {
  test(`${when}: a hold that goes well, and one whose image is known to be unavailable`, async () => {
    const world = installed();
    const { api, events } = world;
    const ofApi = updated.metadata({ name: 'api', uid: 'uid-api' });
    api.put(API, failed(heldObject(ofApi, { uid: 'uid-api' })));
    const running = deployment().metadata({ name: 'api', uid: 'uid-api' });
    for (const builder of [deployment(), running]) api.put(...replicaSetOf(builder.object));
    await toItsEnd(world, holds);
    for (const [path, want] of [
      [WEB, well],
      [API, bad],
    ] as const) {
      const stored = api.objects.get(path);
      assert.equal(isHeld(stored), false);
      const about = events.filter(({ regarding }) => path.endsWith(`/${regarding.name}`));
      assert.deepEqual(
        about.map(({ reason }) => `${String(imageOf(stored)).at(-1)} ${reason}`),
        [want],
      );
      assert.equal(/known to be unavailable: .*not found/.test(about[0]?.note ?? ''), path === API);
    }
  });
}

test('a failed hold whose running ReplicaSet is gone is released, and its event says what starts', async () => {
  const world = installed();
  world.api.put(WEB, failed(heldObject()));
  await toItsEnd(world);
  assert.equal(isHeld(world.api.objects.get(WEB)), false);
  assert.deepEqual(
    world.events.map(({ reason, type }) => `${type} ${reason}`),
    ['Warning RolloutReleased'],
  );
  assert.match(world.events[0]?.note ?? '', /known to be unavailable/);
});

test('with --holds stop nothing is changed while a Deployment is held, and the error names it', async () => {
  const world = installed();
  await assert.rejects(
    toItsEnd(world, 'stop'),
    (error) =>
      error instanceof GateError && error.code === 'PG_HOLDS_OPEN' && /shop\/web/.test(error.message),
  );
  assert.ok(isHeld(world.api.objects.get(WEB)));
  assert.equal(asArray(at(world.api.objects.get(WEBHOOKS), 'webhooks')).length, 1);
  world.api.put(WEB, deployment().object);
  await toItsEnd(world, 'stop');
  assert.deepEqual(asArray(at(world.api.objects.get(WEBHOOKS), 'webhooks')), []);
});
