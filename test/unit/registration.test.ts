import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { ApiError } from '../../src/cluster/api-error.ts';
import { readManifests } from '../../src/install/manifests.ts';
import { register } from '../../src/install/registration.ts';
import { webhookConfigurationByUrl } from '../../src/install/webhook-configuration.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { type ManualClock, manualClock } from '../support/unit/manual-clock.ts';

const WEBHOOKS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pullgate';
const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/imagepreloads.pullgate.io';
const IMAGE_PRELOADS = '/apis/pullgate.io/v1alpha1/imagepreloads';
const BY_PROCESS = { metadata: { labels: { 'pullgate.io/registered-by': 'process' } } };
const releaseNothing = () => Promise.resolve();

const URL = 'https://192.0.2.1:8443';

interface FakeOptions {
  readonly objects?: Readonly<Record<string, JsonObject>>;
  /** How many lists of the new resource are answered 404 after its CRD is there. */
  readonly servedAfter?: number;
  /** Calls that are answered with an error, as `verb path`. */
  readonly fails?: Readonly<Record<string, ApiError>>;
}

/** An API server that keeps what is applied and records every call that changes something. */
function fakeApi({ objects = {}, servedAfter = 0, fails = {} }: FakeOptions = {}) {
  const store = new Map(Object.entries(objects));
  const calls: string[] = [];
  let lists = 0;
  const notFound = () => new ApiError(404, { reason: 'NotFound', message: 'not found' });
  const failIfAsked = (call: string) => {
    if (fails[call] !== undefined) throw fails[call];
  };
  const client: Pick<ApiClient, 'cluster' | 'get' | 'apply' | 'delete'> = {
    cluster: 'fake',
    async get(path) {
      failIfAsked(`get ${path}`);
      if (path === IMAGE_PRELOADS) {
        if (!store.has(CRD) || lists++ < servedAfter) throw notFound();
        return { items: [] };
      }
      const object = store.get(path);
      if (object === undefined) throw notFound();
      return object;
    },
    async apply(path, body) {
      failIfAsked(`apply ${path}`);
      calls.push(`apply ${path}`);
      store.set(path, asObject(body));
      return body;
    },
    async delete(path) {
      failIfAsked(`delete ${path}`);
      calls.push(`delete ${path}`);
      if (!store.delete(path)) throw notFound();
      return {};
    },
  };
  return { client, store, calls, lists: () => lists };
}

function options(clock: ManualClock = manualClock()) {
  return {
    url: URL,
    caPem: 'the authority',
    unsupportedServer: false,
    failurePolicy: 'Ignore',
    clock,
    log: logDouble().log,
  } as const;
}

/** Moves the clock on whenever something waits for it. */
async function whileTimePasses<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let done = false;
  const end = () => {
    done = true;
  };
  work.then(end, end);
  while (!done) {
    const [next] = clock.timers();
    if (next !== undefined) clock.advance(next);
    await new Promise(setImmediate);
  }
  return work;
}

test('the webhook configuration comes last, when all it relies on is there', async () => {
  const { client, calls } = fakeApi();
  await register(client, options());
  assert.equal(calls.at(-2), `apply ${CRD}`);
  assert.equal(calls.at(-1), `apply ${WEBHOOKS}`);
  assert.ok(calls.includes('apply /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/pullgate'));
});

test('the webhook configuration goes first, then the CRD; accounts and rights stay', async () => {
  const { client, calls, store } = fakeApi();
  const registration = await register(client, options());
  const before = store.size;
  calls.length = 0;
  await registration.unregister(releaseNothing);
  assert.deepEqual(calls, [`delete ${WEBHOOKS}`, `delete ${CRD}`]);
  assert.equal(store.size, before - 2);
});

test('unregistering again, or after someone else removed it all, is no error', async () => {
  const { client, store } = fakeApi();
  const registration = await register(client, options());
  store.clear();
  await registration.unregister(releaseNothing);
  await registration.unregister(releaseNothing);
});

test('an installed gate is never overwritten: nothing is changed at all', async () => {
  const { client, calls } = fakeApi({ objects: { [WEBHOOKS]: { metadata: { name: 'pullgate' } } } });
  await assert.rejects(register(client, options()), { code: 'PG_ALREADY_INSTALLED' });
  assert.deepEqual(calls, []);
});

test('what a killed process left behind is taken over, and taken away in the end', async () => {
  const { client, calls, store } = fakeApi({ objects: { [WEBHOOKS]: BY_PROCESS, [CRD]: BY_PROCESS } });
  const registration = await register(client, options());
  assert.ok(calls.includes(`apply ${CRD}`));
  await registration.unregister(releaseNothing);
  assert.equal(store.has(WEBHOOKS), false);
  assert.equal(store.has(CRD), false);
});

test('holds are released when nothing can be held any more, and while the kind still exists', async () => {
  const { client, store } = fakeApi();
  const registration = await register(client, options());
  let there: readonly boolean[] = [];
  await registration.unregister(async () => {
    there = [store.has(WEBHOOKS), store.has(CRD)];
  });
  assert.deepEqual(there, [false, true]);
});

test('if a hold cannot be released, at least no new one is made', async () => {
  const { client, store } = fakeApi();
  const registration = await register(client, options());
  const failing = () => Promise.reject(new Error('refused'));
  await assert.rejects(registration.unregister(failing), /refused/);
  assert.equal(store.has(WEBHOOKS), false);
});

test('a CRD that no process made is neither changed nor deleted', async () => {
  const { client, calls, store } = fakeApi({ objects: { [CRD]: { metadata: {} } } });
  const registration = await register(client, options());
  await registration.unregister(releaseNothing);
  assert.deepEqual(
    calls.filter((call) => call.endsWith(CRD)),
    [],
  );
  assert.ok(store.has(CRD));
});

test('a process that another one has taken over from leaves its registration and holds alone', async () => {
  const { client, calls } = fakeApi();
  const first = await register(client, options());
  await register(client, { ...options(), url: 'https://192.0.2.2:8443' });
  calls.length = 0;
  await first.unregister(async () => void calls.push('release'));
  assert.deepEqual(calls, []);
});

test('the webhook configuration waits until the API server serves ImagePreloads', async () => {
  const clock = manualClock();
  const { client, lists, calls } = fakeApi({ servedAfter: 5 });
  await whileTimePasses(clock, register(client, options(clock)));
  assert.equal(lists(), 6);
  assert.equal(calls.at(-1), `apply ${WEBHOOKS}`);
});

test('a CRD that is never served ends in an error, without a webhook configuration', async () => {
  const clock = manualClock();
  const { client, calls } = fakeApi({ servedAfter: Number.POSITIVE_INFINITY });
  await assert.rejects(whileTimePasses(clock, register(client, options(clock))), {
    code: 'PG_REGISTRATION',
    message: /serve customresourcedefinitions\/imagepreloads\.pullgate\.io failed/,
  });
  assert.ok(!calls.includes(`apply ${WEBHOOKS}`));
});

test('a CRD that is still being deleted is waited for, and made anew', async () => {
  const clock = manualClock();
  const going = { metadata: { ...BY_PROCESS.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
  const { client, calls, store } = fakeApi({ objects: { [CRD]: going } });
  const work = register(client, options(clock));
  while (clock.timers().length === 0) await new Promise(setImmediate);
  assert.ok(!calls.includes(`apply ${CRD}`));
  store.delete(CRD);
  await whileTimePasses(clock, work);
  assert.equal(at(store.get(CRD), 'metadata', 'deletionTimestamp'), undefined);
  assert.ok(calls.includes(`apply ${CRD}`));
});

test('a missing permission is named by verb and resource', async () => {
  const forbidden = new ApiError(403, { reason: 'Forbidden', message: 'User "developer" cannot patch' });
  const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/pullgate';
  await assert.rejects(register(fakeApi({ fails: { [`apply ${role}`]: forbidden } }).client, options()), {
    code: 'PG_REGISTRATION_RBAC',
    message: /no permission to patch clusterroles\/pullgate: User "developer" cannot patch/,
  });
  await assert.rejects(register(fakeApi({ fails: { [`get ${WEBHOOKS}`]: forbidden } }).client, options()), {
    code: 'PG_REGISTRATION_RBAC',
    message: /no permission to get mutatingwebhookconfigurations\/pullgate/,
  });
});

test('any other refusal names what was refused', async () => {
  const refused = new ApiError(422, { reason: 'Invalid', message: 'no' });
  await assert.rejects(register(fakeApi({ fails: { [`apply ${CRD}`]: refused } }).client, options()), {
    code: 'PG_REGISTRATION',
    message: /patch customresourcedefinitions\/imagepreloads\.pullgate\.io failed: no/,
  });
});

test('both things that go again carry the label of a process', async () => {
  const { client, store } = fakeApi();
  await register(client, options());
  for (const path of [WEBHOOKS, CRD]) {
    assert.equal(at(store.get(path), 'metadata', 'labels', 'pullgate.io/registered-by'), 'process');
  }
  const unmarked = [...store].filter(([path]) => path !== WEBHOOKS && path !== CRD);
  for (const [path, object] of unmarked) {
    assert.equal(at(object, 'metadata', 'labels', 'pullgate.io/registered-by'), undefined, path);
  }
});

const ADMISSION = '/apis/admissionregistration.k8s.io/v1';
const POLICIES = ['pullgate-puller-pods', 'pullgate-status', 'pullgate-marks', 'pullgate-made-for'].map(
  (name) => ({
    policy: `${ADMISSION}/validatingadmissionpolicies/${name}`,
    binding: `${ADMISSION}/validatingadmissionpolicybindings/${name}`,
  }),
);

test('the policies are in place before the first update is gated, and they stay', async () => {
  const { client, calls, store } = fakeApi();
  const registration = await register(client, options());
  for (const { policy, binding } of POLICIES) {
    assert.ok(calls.includes(`apply ${policy}`), policy);
    assert.ok(calls.indexOf(`apply ${policy}`) < calls.indexOf(`apply ${binding}`));
    assert.ok(calls.indexOf(`apply ${binding}`) < calls.indexOf(`apply ${WEBHOOKS}`));
  }
  await registration.unregister(releaseNothing);
  for (const { policy, binding } of POLICIES) assert.ok(store.has(policy) && store.has(binding), policy);
});

test('a server without policies is registered at with --unsupported-server alone', async () => {
  const missing = new ApiError(404, { reason: 'NotFound', message: 'the server could not find it' });
  const paths = POLICIES.flatMap(({ policy, binding }) => [policy, binding]);
  const fails = Object.fromEntries(paths.map((path) => [`apply ${path}`, missing]));
  const { client, store } = fakeApi({ fails });
  await register(client, { ...options(), unsupportedServer: true });
  assert.ok(store.has(WEBHOOKS));
  await assert.rejects(register(fakeApi({ fails }).client, options()), missing);
});

test('match conditions are left out with --unsupported-server alone', async () => {
  const { webhookConfiguration } = await readManifests();
  const built = (unsupportedServer: boolean) =>
    asArray(
      webhookConfigurationByUrl(webhookConfiguration, { ...options(), unsupportedServer })['webhooks'],
    ).map((webhook) => Object.hasOwn(asObject(webhook), 'matchConditions'));
  assert.deepEqual(built(false), [true, true, true, true]);
  assert.deepEqual(built(true), [false, false, false, false]);
});

test('each webhook by URL has the path of its mode, the authority in base64, and no Service', async () => {
  const { webhookConfiguration } = await readManifests();
  const built = webhookConfigurationByUrl(webhookConfiguration, { ...options(), failurePolicy: 'Fail' });
  const caBundle = Buffer.from('the authority').toString('base64');
  assert.deepEqual(
    asArray(built['webhooks']).map((webhook) => [at(webhook, 'clientConfig'), at(webhook, 'failurePolicy')]),
    ['pause', 'reject', 'pause', 'audit'].map((mode) => [{ url: `${URL}/admit/${mode}`, caBundle }, 'Fail']),
  );
});
