import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { GateError } from '../../src/errors.ts';
import { asObject, at, type JsonObject } from '../../src/json.ts';
import { createLogLimit } from '../../src/log-limit.ts';
import { podAsAdmitted } from '../../src/preloads/admitted-pod.ts';
import { deployment, UID } from '../support/unit/deployment-builder.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi, refusal } from '../support/unit/memory-api.ts';

const PODS = '/api/v1/namespaces/shop/pods';
const updated = deployment().image('registry.test/app:2');
const wanted = parseDeployment(updated.object);

function world({ isUsable = () => true, running }: { isUsable?: () => boolean; running?: JsonObject } = {}) {
  const clock = manualClock();
  const api = memoryApi(clock);
  const { log, lines } = logDouble();
  let asked = 0;
  /** The bytes of each answer that is a list. */
  const pageBytes: number[] = [];
  const client: typeof api.client = {
    ...api.client,
    get: (path, query, options) =>
      api.client.get(path, query, {
        ...options,
        onBytes(bytes) {
          pageBytes.push(bytes);
          options?.onBytes?.(bytes);
        },
      }),
  };
  const ask = async (told = true) =>
    await podAsAdmitted(
      {
        deployment: wanted,
        isUsable,
        runningTemplate: told
          ? async () => {
              asked += 1;
              return running;
            }
          : undefined,
      },
      { client, log, limitLog: createLogLimit(clock) },
    );
  const runs = (name: string, fields: JsonObject, spec: JsonObject): void =>
    api.put(`${PODS}/${name}`, {
      metadata: {
        ...{ namespace: 'shop', name, labels: { app: 'web' } },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'web-12ab' }],
        ...fields,
      },
      spec,
    });
  return { api, clock, lines, ask, runs, pageBytes, asked: () => asked };
}

const mutated = (pod: JsonObject, fields: JsonObject) => ({
  ...pod,
  spec: { ...asObject(pod['spec']), ...fields },
});

test('the dry run creates the pod that the ReplicaSet would create', async () => {
  const { api, ask } = world();
  await ask();
  const [{ body } = { body: undefined }] = api.called('dryRun', PODS);
  assert.partialDeepStrictEqual(body, {
    kind: 'Pod',
    metadata: {
      namespace: 'shop',
      labels: { app: 'web', 'pod-template-hash': wanted.templateHash },
      ownerReferences: [{ kind: 'Deployment', name: 'web', uid: UID, controller: true }],
    },
    spec: wanted.template['spec'],
  });
  assert.match(String(at(body, 'metadata', 'generateName')), /^web-[0-9a-f]{12}-$/);
  assert.equal(api.called('create', PODS).length, 0, 'nothing is stored');
});

test('what admission has made of it counts', async () => {
  const { api, ask } = world();
  const nodeSelector = { box: 'yes' };
  api.admits((pod) => mutated(pod, { nodeSelector }));
  const { source, podSpec } = await ask();
  assert.equal(source, 'DryRun');
  assert.deepEqual(podSpec?.['nodeSelector'], nodeSelector);
});

test('pull secrets of the ServiceAccount are left to the account, others are kept', async () => {
  const { api, ask } = world();
  const account = (...names: string[]) =>
    api.put('/api/v1/namespaces/shop/serviceaccounts/default', {
      imagePullSecrets: names.map((name) => ({ name })),
    });
  api.admits((pod) => mutated(pod, { imagePullSecrets: [{ name: 'a' }] }));
  account('a');
  assert.equal((await ask()).podSpec?.['imagePullSecrets'], undefined);
  account('b');
  assert.deepEqual((await ask()).podSpec?.['imagePullSecrets'], [{ name: 'a' }]);
});

const UNUSABLE: readonly (readonly [string, Error])[] = [
  [
    'a full quota',
    refusal(403, 'Forbidden', 'pods "web-" is forbidden: exceeded quota: small, requested: pods=1'),
  ],
  [
    'a missing right',
    refusal(
      403,
      'Forbidden',
      'pods is forbidden: User "system:serviceaccount:pullgate:pullgate" cannot create resource "pods"',
    ),
  ],
  ['a webhook that is down', refusal(500, 'InternalError', 'failed calling webhook "x"')],
  [
    'a webhook that does not support dry run',
    refusal(400, 'BadRequest', 'admission webhook "x" does not support dry run'),
  ],
  ['a timeout', new GateError('PG_API_TIMEOUT')],
  ['an answer that is too large', new GateError('PG_API_ANSWER_SIZE')],
  ['an answer that nests too deep', new GateError('PG_API_ANSWER_DEPTH')],
  ['a busy API server', refusal(429, 'TooManyRequests')],
];

describe('without a usable answer a running pod says where pods land, and the template what they need:', () => {
  const placed = {
    nodeSelector: { box: 'yes' },
    tolerations: [{ key: 'box', operator: 'Exists' }],
    runtimeClassName: 'boxed',
    overhead: { cpu: '250m' },
    nodeName: 'n1',
    containers: [{ name: 'app', image: 'registry.test/app:1' }],
  };
  for (const [what, error] of UNUSABLE) {
    test(what, async () => {
      const { api, ask, runs, asked } = world();
      runs('web-12ab-new', { creationTimestamp: '2026-01-01T00:00:00Z' }, placed);
      runs('web-12ab-old', { creationTimestamp: '2025-01-01T00:00:00Z' }, {});
      runs('web-12ab-end', { creationTimestamp: '2026-02-01T00:00:00Z', deletionTimestamp: 'now' }, {});
      runs('other', { creationTimestamp: '2026-02-01T00:00:00Z', ownerReferences: [] }, {});
      api.refuse('dryRun', PODS, error);
      const { source, podSpec, refusal: told } = await ask();
      assert.equal(source, 'RunningPod');
      assert.partialDeepStrictEqual(podSpec, {
        nodeSelector: { box: 'yes' },
        tolerations: [{ key: 'box', operator: 'Exists' }],
        runtimeClassName: 'boxed',
        overhead: { cpu: '250m' },
        containers: [{ name: 'app', image: 'registry.test/app:2' }],
      });
      assert.equal(podSpec?.['nodeName'], undefined, 'the scheduler has chosen that');
      assert.equal(told, undefined);
      assert.equal(asked(), 0, 'the running template is not tried');
    });
  }

  test('no pod runs: the template alone counts', async () => {
    const { api, ask } = world();
    api.refuse('dryRun', PODS, refusal(500, 'InternalError'));
    assert.deepEqual(await ask(), { source: 'Template', podSpec: wanted.template['spec'] });
  });

  test('the pods cannot be listed either: the template alone counts', async () => {
    const { api, ask } = world();
    api.refuse('dryRun', PODS, refusal(500, 'InternalError'));
    api.refuse('get', PODS, new GateError('PG_API_TIMEOUT'));
    assert.equal((await ask()).source, 'Template');
  });

  test('more than an ImagePreload carries: nothing is added to the template', async () => {
    const { ask } = world({ isUsable: () => false });
    assert.deepEqual(await ask(), { source: 'Template', podSpec: undefined });
  });
});

describe('pods that a user has made large are read in small pages:', () => {
  const fat = 'x'.repeat(1024 * 1024);
  /** Returns the source of the answer, and the bytes of the largest page. */
  async function askWith(put: (runs: ReturnType<typeof world>['runs']) => void) {
    const { ask, runs, api, pageBytes } = world();
    put(runs);
    api.refuse('dryRun', PODS, refusal(500, 'InternalError'));
    const { source } = await ask();
    return { source, bytes: Math.max(...pageBytes), pages: pageBytes.length };
  }

  test('none of which is the Deployment’s', async () => {
    const { source, bytes, pages } = await askWith((runs) => {
      for (let n = 0; n < 30; n += 1) runs(`fat-${n}`, { ownerReferences: [], annotations: { fat } }, {});
    });
    assert.equal(source, 'Template');
    assert.ok(bytes < 2 * fat.length, `${bytes} bytes at once`);
    assert.equal(pages, 20, 'no more than it takes to find one that is not ending');
  });

  test('its own, of which the first serves', async () => {
    const { source, bytes, pages } = await askWith((runs) => {
      for (let n = 0; n < 30; n += 1) runs(`web-12ab-${n}`, { annotations: { fat } }, {});
    });
    assert.equal(source, 'RunningPod');
    assert.ok(bytes < 2 * fat.length, `${bytes} bytes at once`);
    assert.equal(pages, 1);
  });
});

describe('a refusal', () => {
  const denied = refusal(
    403,
    'Forbidden',
    'admission webhook "policy.test" denied the request: no version 2',
  );
  const running = { spec: { containers: [{ name: 'app', image: 'registry.test/app:1' }] } };

  test('is told if a pod of the running version passes', async () => {
    const { api, ask } = world({ running });
    api.refuse('dryRun', PODS, denied);
    const { refusal: told, source } = await ask();
    assert.equal(told, denied.apiMessage);
    assert.equal(source, 'Template');
    assert.deepEqual(at(api.called('dryRun', PODS)[1]?.body, 'spec'), running.spec);
  });

  test('is not told if that is refused, too: it is about the account', async () => {
    const { api, ask } = world({ running });
    api.refuse('dryRun', PODS, denied, 2);
    assert.equal((await ask()).refusal, undefined);
  });

  test('is not told if nobody knows what runs, or if nobody waits', async () => {
    const { api, ask } = world();
    api.refuse('dryRun', PODS, denied, 2);
    assert.equal((await ask()).refusal, undefined);
    assert.equal((await ask(false)).refusal, undefined);
  });
});

test('the end of a leader’s term is no answer: it ends the attempt', async () => {
  const { api, ask } = world();
  const over = new Error('not the leader any more');
  api.refuse('dryRun', PODS, over);
  await assert.rejects(ask(), over);
});

test('a missing right has its code in the log', async () => {
  const { api, ask, lines } = world();
  api.refuse('dryRun', PODS, UNUSABLE[1]?.[1] ?? refusal(403, 'Forbidden'));
  await ask();
  assert.equal(lines.find(({ code }) => code !== undefined)?.['code'], 'PG_RBAC');
});
