import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createPodTroubles } from '../../src/preloads/pods/pod-trouble.ts';
import type { PullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { puller } from '../support/unit/preload-builder.ts';

/** As kubelets write them, that many seconds after the pod was taken on. */
const event = (seconds: number, reason: string, message = '') => ({
  reason,
  message,
  lastTimestamp: `2026-01-01T00:00:${String(seconds).padStart(2, '0')}Z`,
});
const SANDBOX_ID = '0123456789ab'.repeat(6).slice(0, 64);
const NO_SANDBOX = event(
  4,
  'FailedCreatePodSandBox',
  'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox ' +
    `"${SANDBOX_ID}": plugin type="bridge" failed (add): no IP addresses available`,
);

function world(answer: () => readonly unknown[]) {
  const asked: unknown[] = [];
  const found: string[] = [];
  const troubles = createPodTroubles({
    client: {
      get: async (path, query, options) => {
        asked.push([path, query]);
        assert.ok((options?.maxBytes ?? Number.POSITIVE_INFINITY) <= 2 ** 20);
        return { items: answer() };
      },
    },
    clock: manualClock(),
    log: logDouble().log,
    onFound: ({ node }) => void found.push(node),
  });
  return { asked, found, troubles };
}

async function troubleIn(...events: readonly unknown[]) {
  const { troubles } = world(() => events);
  const { pod } = puller().pulling();
  troubles.read([pod]);
  await nextTurn();
  return troubles.of(pod);
}

test('the events of an injected container say nothing of the pull', async () => {
  const ofInit = { ...event(5, 'Pulled'), involvedObject: { fieldPath: 'spec.initContainers{wait}' } };
  assert.equal((await troubleIn(NO_SANDBOX, ofInit))?.reason, 'PodNotStarted');
  const ofPull = { ...event(5, 'Pulling'), involvedObject: { fieldPath: 'spec.containers{pull}' } };
  assert.equal(await troubleIn(NO_SANDBOX, ofPull), undefined);
});

test('a pull secret that the kubelet cannot find is told, although the pull has begun', async () => {
  const words =
    'Unable to retrieve some image pull secrets (registry); attempting to pull the image may not succeed.';
  const trouble = await troubleIn(event(1, 'Pulling'), event(2, 'FailedToRetrieveImagePullSecret', words));
  assert.deepEqual(trouble, { reason: 'PullSecretMissing', definitive: true, message: words });
});

test("a sandbox that cannot be made is told in the kubelet's words, the cause in front", async () => {
  assert.deepEqual(await troubleIn(NO_SANDBOX), {
    reason: 'PodNotStarted',
    definitive: false,
    message:
      'FailedCreatePodSandBox: Failed to create pod sandbox: failed to setup network for sandbox "0123456789ab": ' +
      'plugin type="bridge" failed (add): no IP addresses available',
  });
});

for (const reason of ['FailedMount', 'FailedAttachVolume', 'NetworkNotReady', 'FailedCreatePodContainer']) {
  test(`${reason} keeps a pod from its pull`, async () => {
    assert.match((await troubleIn(event(1, reason, 'why')))?.message ?? '', new RegExp(`^${reason}: why$`));
  });
}

for (const words of [
  'failed to get sandbox runtime: no runtime for "kata" is configured',
  'failed to find runtime handler kata from runtime list map[runc:0xc000]',
  'RuntimeHandler "kata" not supported',
]) {
  test(`a node refuses a pod for whose runtime class it has no runtime: ${words.slice(0, 40)}`, async () => {
    const { reason, message } = (await troubleIn(event(1, 'FailedCreatePodSandBox', words))) ?? {};
    assert.deepEqual([reason, message], ['NodeRefusesPod', `FailedCreatePodSandBox: ${words}`]);
  });
}

test('the newest failure is told, in whatever order they are listed and whatever else is said after it', async () => {
  const mount = event(2, 'FailedMount', 'secret "s" not found');
  const after = event(5, 'SandboxChanged', 'Pod sandbox changed, it will be killed and re-created.');
  for (const events of [
    [mount, NO_SANDBOX, after],
    [after, NO_SANDBOX, mount],
  ]) {
    assert.match((await troubleIn(...events))?.message ?? '', /^FailedCreatePodSandBox/);
  }
});

test('a pod that pulls has no trouble, whatever was before, and what a kubelet goes on after is none', async () => {
  assert.equal(await troubleIn(NO_SANDBOX, event(6, 'Pulling', 'Pulling image "app:2"')), undefined);
  assert.equal(await troubleIn(event(1, 'DNSConfigForming', 'Nameserver limits were exceeded')), undefined);
  assert.equal(await troubleIn(), undefined);
});

test('the events of each pod are read once, by its uid, whatever they say', async () => {
  const { asked, found, troubles } = world(() => [NO_SANDBOX]);
  const pods = ['n1', 'n2'].map((name) => puller(name).pulling().pod);
  for (let n = 0; n < 3; n += 1) {
    troubles.read(pods);
    await nextTurn();
  }
  const path = '/api/v1/namespaces/shop/events';
  assert.deepEqual(asked, [
    [path, { fieldSelector: 'involvedObject.uid=uid-puller-n1-1', limit: 100 }],
    [path, { fieldSelector: 'involvedObject.uid=uid-puller-n2-1', limit: 100 }],
  ]);
  assert.deepEqual(found, ['n1', 'n2']);
  const quiet = world(() => []);
  for (let n = 0; n < 3; n += 1) {
    quiet.troubles.read(pods);
    await nextTurn();
  }
  assert.deepEqual([quiet.asked.length, quiet.found], [2, []]);
});

test('events that may not be read say nothing of their pod, and keep no other from being read', async () => {
  let denied = true;
  const { found, troubles } = world(() => {
    if (!denied) return [NO_SANDBOX];
    denied = false;
    throw new Error('events is forbidden');
  });
  const [first, second] = ['n1', 'n2'].map((name): PullerPod => puller(name).pulling().pod);
  assert.ok(first && second);
  troubles.read([first, second]);
  await nextTurn();
  assert.deepEqual([troubles.of(first), found], [undefined, ['n2']]);
});

test('a namespace whose events cannot be read in time keeps no other from being told', async () => {
  const found: string[] = [];
  const asked: string[] = [];
  const troubles = createPodTroubles({
    client: {
      get: async (path) => {
        asked.push(path);
        return path.includes('hostile') ? await new Promise(() => undefined) : { items: [NO_SANDBOX] };
      },
    },
    clock: manualClock(),
    log: logDouble().log,
    onFound: ({ namespace, node }) => void found.push(`${namespace} ${node}`),
  });
  const podsIn = (namespace: string) =>
    ['n1', 'n2', 'n3'].map((node) => {
      const { pod } = puller(node).pulling();
      return { ...pod, namespace, uid: `${namespace} ${pod.uid}` };
    });
  troubles.read(podsIn('hostile'));
  troubles.read(podsIn('shop'));
  await nextTurn();
  assert.deepEqual(found, ['shop n1', 'shop n2', 'shop n3']);
  assert.equal(asked.filter((path) => path.includes('hostile')).length, 1);
});

test('of a namespace whose events take long to read, no more than 100 pods wait; the others are asked about later', async () => {
  const ends: (() => void)[] = [];
  const asked: string[] = [];
  const troubles = createPodTroubles({
    client: {
      get: (_path, query) => {
        asked.push(String(query?.['fieldSelector']));
        return new Promise((resolve) => ends.push(() => resolve({ items: [] })));
      },
    },
    clock: manualClock(),
    log: logDouble().log,
    onFound: () => undefined,
  });
  const pods = Array.from({ length: 150 }, (_, n) => ({ ...puller('n1').pulling().pod, uid: `uid-${n}` }));
  const readAll = async (): Promise<void> => {
    troubles.read(pods);
    await nextTurn();
    while (ends.length > 0) {
      ends.shift()?.();
      await nextTurn();
    }
  };
  await readAll();
  assert.equal(asked.length, 100);
  await readAll();
  assert.equal(new Set(asked).size, 150);
  await readAll();
  assert.equal(asked.length, 150);
});
