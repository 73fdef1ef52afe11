import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PULLER_LABEL } from '../../src/api/names.ts';
import { ApiError } from '../../src/cluster/api-error.ts';
import { asArray, asNumber, asString, asStringMap, at, type JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { podWebhook } from '../support/e2e/admission-webhook.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { fillNode } from '../support/e2e/full-node.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod, type Namespace, type Scope } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { deadWebhook, policy } from '../support/e2e/refusing-policy.ts';
import { registryDouble } from '../support/e2e/registry-double.ts';
import { assertAvailable, assertServesOn } from '../support/e2e/serves-on.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const TOLD_SECONDS = 15;
/** The back-off of the first attempt, and the pull itself on a busy machine. */
const BACK_OFF_SECONDS = 30;
const PULL_SECONDS = 5;

interface Refusal {
  readonly what: string;
  /** Of who refuses. */
  readonly words: RegExp;
  /** Further fields of the pods' spec. */
  readonly pod: () => JsonObject;
  /** Returns what takes the cause away. */
  begin(scope: Scope, namespace: Namespace): Promise<() => Promise<unknown>>;
}

/** One node gets full meanwhile: who has nothing to do with that stays on the other one. */
const onTheOtherNode = () => ({ nodeSelector: { 'kubernetes.io/hostname': world.lab.nodes()[1] } });

const REFUSALS: readonly Refusal[] = [
  {
    what: 'a quota without room for another pod',
    words: /exceeded quota: crowded, requested: pods=1, used: pods=1, limited: pods=1/,
    pod: onTheOtherNode,
    async begin(_, shop) {
      await shop.apply(quota('crowded', { pods: '1' }));
      await until(
        'the quota has counted',
        20,
        () => world.api.get(`/api/v1/namespaces/${shop.name}/resourcequotas/crowded`),
        (object) => at(object, 'status', 'used', 'pods') === '1',
      );
      return () => shop.kubectl('delete', 'resourcequota', 'crowded');
    },
  },
  {
    what: 'a full node',
    words: /OutOfcpu: .*cpu, requested: 10,/,
    pod: () => ({}),
    async begin(_, shop) {
      const [node = ''] = world.lab.nodes();
      await fillNode(world.api, shop, node);
      return () => shop.kubectl('delete', 'pod', 'filler', '--grace-period=1');
    },
  },
  {
    what: 'a policy webhook',
    words: /admission webhook "pods\.policy\.test" denied the request: every pod has the label app here/,
    pod: onTheOtherNode,
    begin: (scope, shop) =>
      podWebhook(scope, shop, {
        kind: 'Validating',
        refusal: (pod) =>
          asStringMap(at(pod, 'metadata', 'labels'))['app'] === undefined
            ? 'every pod has the label app here'
            : undefined,
      }),
  },
];

describe('have a quota, a full node or a policy webhook that refuses the puller pods [pods-refused]', {
  concurrency: true,
}, () => {
  for (const { what, words, pod, begin } of REFUSALS) {
    test(`the words of ${what} are on the Deployment within 15 s, and it goes on once the cause is gone`, async (t) => {
      const shop = await world.namespace(t);
      const image = await shop.push('v2');
      const web = await deploy(shop, 'web', { pod: pod() });
      const end = await begin(t, shop);
      const timeline = shop.timeline();
      await web.setImage(image);

      const events = await until(
        'the refusal is told',
        TOLD_SECONDS,
        async () => (await shop.events('web')).filter(({ reason }) => reason === 'PreloadNodeFailed'),
        ({ length }) => length > 0,
      );
      assert.equal(events[0]?.type, 'Warning');
      assert.match(events[0]?.note ?? '', words);
      assert.match((await shop.kubectl('describe', 'deployment', 'web')).stdout, words);
      assert.ok(isHeld(await web.read()));
      assertServesOn(timeline, 1);

      await end();
      await web.released(BACK_OFF_SECONDS + PULL_SECONDS);
      await web.rolledOut(30);
    });
  }

  const resources = {
    requests: { cpu: '10m', memory: '16Mi' },
    limits: { cpu: '100m', memory: '32Mi' },
  };
  const LET_IN: readonly {
    what: string;
    object: JsonObject;
    container: JsonObject;
    requests: Readonly<Record<string, string>>;
  }[] = [
    {
      what: 'a quota on requests and limits',
      object: quota('compute', {
        'requests.cpu': '1',
        'requests.memory': '1Gi',
        'limits.cpu': '2',
        'limits.memory': '1Gi',
      }),
      container: { resources },
      requests: { cpu: '10m', memory: String(16 * 2 ** 20) },
    },
    {
      what: 'a LimitRange with defaults',
      object: limitRange('defaults', {
        default: { cpu: '500m', memory: '256Mi' },
        defaultRequest: { cpu: '20m', memory: '32Mi' },
        max: { cpu: '1', memory: '512Mi' },
      }),
      container: {},
      requests: { cpu: '20m', memory: String(32 * 2 ** 20) },
    },
    {
      what: 'a LimitRange that wants more than they ask for, and limits close to the requests',
      object: limitRange('large', {
        min: { memory: '96Mi' },
        default: { cpu: '100m', memory: '128Mi' },
        maxLimitRequestRatio: { cpu: '2', memory: '2' },
      }),
      container: { resources: { requests: { cpu: '50m', memory: '96Mi' } } },
      requests: { cpu: '50m', memory: String(96 * 2 ** 20) },
    },
    {
      // The pod that runs, and one more: it pulls first, and is the new one then.
      what: 'a quota that counts pods, finished ones as well,',
      object: quota('counted', { 'count/pods': '2' }),
      container: {},
      requests: {},
    },
  ];
  for (const { what, object, container, requests } of LET_IN) {
    test(`${what} lets them in`, async (t) => {
      const shop = await world.namespace(t);
      await shop.apply(object);
      const image = await shop.push('v2');
      const containers = [{ name: 'app', image: PAUSE_IMAGE, ...container }];
      const web = await deploy(shop, 'web', { pod: { ...onTheOtherNode(), containers } });
      const timeline = shop.timeline();
      await web.setImage(image);
      await web.released(30);
      await web.rolledOut(30);
      assert.ok(timeline.of('Pod').some(({ object: pod }) => isPullerPod(pod)));
      const failed = (await shop.events('web')).filter(({ type }) => type === 'Warning');
      assert.deepEqual(failed, []);
      // What the LimitRange writes into the pods, or what they say themselves.
      const [preload] = await shop.preloads();
      assert.deepEqual(preload?.spec.scheduling.requests ?? {}, requests);
    });
  }
});

/** Pullgate's dry run is of a pod that the Deployment owns: its ReplicaSet does not exist yet. */
function isDryRun(pod: JsonObject): boolean {
  return asArray(at(pod, 'metadata', 'ownerReferences')).some((owner) => at(owner, 'kind') === 'Deployment');
}

const imageOf = (pod: JsonObject) => asString(at(asArray(at(pod, 'spec', 'containers'))[0], 'image')) ?? '';

describe('the pod as admitted', { concurrency: true }, () => {
  test('have a webhook that adds a native sidecar, or one that rewrites images [admitted-images]', async (t) => {
    const shop = await world.namespace(t);
    const [image, sidecar] = [await shop.push('v2'), await shop.push('sidecar')];
    const written = image.replace(/:v2$/, ':as-written');
    const web = await deploy(shop, 'web');
    const added = [{ name: 'proxy', image: sidecar, restartPolicy: 'Always' }];
    await podWebhook(t, shop, {
      kind: 'Mutating',
      patch: (pod) =>
        isPullerPod(pod)
          ? []
          : [
              { op: 'add', path: '/spec/initContainers', value: added },
              ...(imageOf(pod) === written
                ? [{ op: 'replace', path: '/spec/containers/0/image', value: image }]
                : []),
            ],
    });
    await web.setImage(written);
    await web.released(30);
    const [preload] = await shop.preloads();
    assert.deepEqual(preload?.spec.images.map((one) => one.image).sort(), [image, sidecar].sort());
    for (const one of [image, sidecar]) await assertOnEveryNode(world.lab, one);
    await web.rolledOut(30);
  });

  test('have a policy that refuses the pods of the new version [refused-new-pods]', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const end = await podWebhook(t, shop, {
      kind: 'Validating',
      refusal: (pod) =>
        imageOf(pod) === image && !isPullerPod(pod) ? 'version 2 is not signed off' : undefined,
    });
    await web.setImage(image);
    const { type, note } = await told(shop, 'web', 'PodsMayBeRefused');
    assert.equal(type, 'Warning');
    assert.match(note, /^a dry run as Pullgate's account was refused: .*version 2 is not signed off/);
    await web.released(30);
    assertAvailable(timeline, 1);
    assert.equal((await shop.events('web')).filter(({ reason }) => reason === 'PodsMayBeRefused').length, 1);
    await end();
    await web.rolledOut(60);
  });

  test(`have a policy that refuses only pods of Pullgate's dry run [refused-dry-run]`, async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    let refused = 0;
    await podWebhook(t, shop, {
      kind: 'Validating',
      refusal(pod) {
        if (!isDryRun(pod)) return undefined;
        refused += 1;
        return 'every pod has a ReplicaSet here';
      },
    });
    await web.setImage(image);
    await web.released(30);
    await web.rolledOut(30);
    assert.equal(refused, 2, 'the new template and the running one');
    assert.deepEqual(
      (await shop.events('web')).filter(({ type }) => type === 'Warning'),
      [],
    );
  });

  test('have a webhook that does not answer the dry run [slow-dry-run]', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const [node = ''] = world.lab.nodes();
    const value = { 'kubernetes.io/hostname': node };
    await podWebhook(t, shop, {
      kind: 'Mutating',
      patch: (pod) =>
        isDryRun(pod)
          ? new Promise(() => undefined)
          : isPullerPod(pod)
            ? []
            : [{ op: 'add', path: '/spec/nodeSelector', value }],
    });
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    await web.released(30);
    const [preload] = await shop.preloads();
    assert.deepEqual(preload?.spec.scheduling.nodeSelector, value);
    assert.deepEqual(
      preload?.spec.images.map((one) => one.image),
      [image],
    );
    await web.rolledOut(30);
  });
});

describe('policies about what Pullgate writes', { concurrency: true }, () => {
  test('have a policy that refuses the release [refused-release]', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    await shop.kubectl('create', 'deployment', 'frozen', '--replicas=0', `--image=${PAUSE_IMAGE}`);
    await shop.kubectl('rollout', 'pause', 'deployment/frozen');
    const rule = { group: 'apps', resource: 'deployments', operation: 'UPDATE' } as const;
    const isPaused = (of: string) => `has(${of}.spec.paused) && ${of}.spec.paused`;
    const end = await policy(t, shop, rule, {
      expression: `!(${isPaused('oldObject')}) || (${isPaused('object')})`,
      message: 'nothing is resumed before Monday',
    });
    await until(
      'the policy is in effect',
      20,
      () =>
        shop.tryKubectl(
          'patch',
          'deployment',
          'frozen',
          '-p',
          '{"spec":{"paused":null}}',
          '--dry-run=server',
        ),
      ({ stderr }) => stderr.includes('before Monday'),
    );
    await web.setImage(image);
    await until('every node has it', 20, shop.preloads, ([one]) => one?.status?.phase === 'Ready');
    const { type, note } = await told(shop, 'web', 'ReleaseFailed', TOLD_SECONDS);
    assert.equal(type, 'Warning');
    assert.match(note, /^the hold should end \(Ready\), but .*nothing is resumed before Monday/);
    assert.ok(isHeld(await web.read()));
    await end();
    await web.released(30);
    await web.rolledOut(30);
  });

  test('a webhook for ImagePreloads that fails itself: its words, and it goes on by itself', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    const rule = { group: 'pullgate.io', resource: 'imagepreloads', operation: 'CREATE' } as const;
    const end = await deadWebhook(t, shop, rule);
    const probe = {
      apiVersion: 'pullgate.io/v1alpha1',
      kind: 'ImagePreload',
      metadata: { name: 'probe' },
      spec: { images: [{ image }] },
    };
    const input = JSON.stringify(probe);
    await until(
      'the webhook is asked',
      20,
      () => shop.lab.kubectl(['-n', shop.name, 'create', '--dry-run=server', '-f', '-'], { input }),
      ({ stderr }) => stderr.includes('failed calling webhook'),
    );
    await web.setImage(image);
    const { note } = await told(shop, 'web', 'PreloadFailed', TOLD_SECONDS);
    assert.match(note, /^ImagePreload web-\w+ could not be created: .*failed calling webhook "\S+"/);
    assert.match(note, /; the request is retried automatically; no node is preloaded with /);
    await end();
    await web.released(30);
    await web.rolledOut(30);
  });
});

describe('have injected sidecars, or a PodDisruptionBudget that selects everything [sidecars-and-budgets]', {
  concurrency: true,
}, () => {
  test('a sidecar that keeps every puller pod running keeps nothing waiting', async (t) => {
    const shop = await world.namespace(t);
    const sidecar = { name: 'proxy', image: PAUSE_IMAGE };
    // The first of the containers, as meshes put it that are to be up before the rest.
    const patch = [{ op: 'add', path: '/spec/containers/0', value: sidecar }];
    await podWebhook(t, shop, { kind: 'Mutating', patch: () => patch });
    const image = await shop.push('v2');
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    await web.setImage(image);
    await web.released(30);
    await assertOnEveryNode(world.lab, image);
    const kept = timeline
      .of('Pod')
      .filter(({ object }) => isPullerPod(object) && at(object, 'status', 'phase') === 'Running');
    assert.deepEqual(
      [...new Set(kept.map(({ object }) => asString(at(object, 'spec', 'nodeName'))))].sort(),
      world.lab.nodes(),
    );
    await web.rolledOut(30);
    await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
  });

  test('kubectl drain does not stop at a puller pod', async (t) => {
    const shop = await world.namespace(t);
    const registry = await registryDouble(t, world.lab);
    registry.hang();
    const image = (await shop.push('v2')).replace(world.lab.registry, registry.address);
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    const nodes = world.lab.nodes();
    const pullers = await until(
      'every node pulls',
      15,
      shop.pullerPods,
      ({ length }) => length === nodes.length,
    );
    for (const node of nodes) {
      // Without --force. The node is not touched: other tests need it.
      const { code, stderr, stdout } = await world.lab.kubectl([
        'drain',
        node,
        '--dry-run=client',
        `--pod-selector=${PULLER_LABEL}`,
      ]);
      assert.equal(code, 0, stderr);
      assert.ok(
        pullers.some((name) => `${stdout}${stderr}`.includes(name)),
        stdout,
      );
    }
    registry.serve();
    await web.released(30);
    await web.rolledOut(30);
  });

  /** What may be evicted of two pods. */
  const BUDGETS: readonly { budget: JsonObject; allowed: number }[] = [
    { budget: { minAvailable: 1 }, allowed: 1 },
    { budget: { maxUnavailable: 1 }, allowed: 1 },
    { budget: { maxUnavailable: 0 }, allowed: 0 },
  ];
  for (const { budget, allowed } of BUDGETS) {
    test(`a budget of ${JSON.stringify(budget)} over all pods allows during a hold what it allowed before`, async (t) => {
      const shop = await world.namespace(t);
      const registry = await registryDouble(t, world.lab);
      registry.hang();
      const image = (await shop.push('v2')).replace(world.lab.registry, registry.address);
      const web = await deploy(shop, 'web', { replicas: 2 });
      await shop.apply({
        apiVersion: 'policy/v1',
        kind: 'PodDisruptionBudget',
        metadata: { name: 'all' },
        spec: { ...budget, selector: {} },
      });
      await allows(shop, allowed);
      await web.setImage(image);
      const pullers = await until(
        'every node pulls',
        15,
        shop.pullerPods,
        ({ length }) => length === world.lab.nodes().length,
      );

      const own = (await podNames(shop)).filter((name) => !pullers.includes(name));
      assert.equal(own.length, 2);
      assert.equal(await evict(shop, own[0] ?? ''), allowed === 0 ? 'TooManyRequests' : 'evicted');
      // Counted anew beside the puller pods, once the evicted pod has been replaced.
      await allows(shop, allowed);
      for (const name of pullers) assert.equal(await evict(shop, name), 'evicted');
      await allows(shop, allowed);
      assert.deepEqual(await troubleWithBudget(shop), []);
      assert.ok(isHeld(await web.read()));

      registry.serve();
      await web.released(30);
      await assertOnEveryNode(world.lab, image);
      await web.rolledOut(30);
    });
  }
});

function quota(name: string, hard: JsonObject): JsonObject {
  return { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name }, spec: { hard } };
}

function limitRange(name: string, limits: JsonObject): JsonObject {
  const spec = { limits: [{ type: 'Container', ...limits }] };
  return { apiVersion: 'v1', kind: 'LimitRange', metadata: { name }, spec };
}

async function allows(shop: Namespace, disruptions: number): Promise<void> {
  await until(
    `the budget allows ${disruptions}`,
    20,
    () => world.api.get(`/apis/policy/v1/namespaces/${shop.name}/poddisruptionbudgets/all`),
    (budget) =>
      asNumber(at(budget, 'status', 'currentHealthy')) === 2 &&
      asNumber(at(budget, 'status', 'disruptionsAllowed')) === disruptions,
  );
}

/** What the controller of budgets has to complain about: pods that it can make nothing of. */
async function troubleWithBudget(shop: Namespace): Promise<string[]> {
  const list = await world.api.get(`/api/v1/namespaces/${shop.name}/events`, {
    fieldSelector: 'involvedObject.kind=PodDisruptionBudget',
  });
  return asArray(at(list, 'items')).map((event) => `${at(event, 'reason')}: ${at(event, 'message')}`);
}

async function podNames(shop: Namespace): Promise<string[]> {
  const list = await world.api.get(`/api/v1/namespaces/${shop.name}/pods`);
  return asArray(at(list, 'items')).map((pod) => asString(at(pod, 'metadata', 'name')) ?? '');
}

/** Asks for it as `kubectl drain` does. */
async function evict(shop: Namespace, name: string): Promise<string> {
  const path = `/api/v1/namespaces/${shop.name}/pods/${name}/eviction`;
  try {
    const metadata = { name, namespace: shop.name };
    // A budget says no with a 429, which is no reason to ask again here.
    await world.api.create(
      path,
      { apiVersion: 'policy/v1', kind: 'Eviction', metadata },
      {},
      { retry: false },
    );
    return 'evicted';
  } catch (error) {
    return error instanceof ApiError ? error.reason : String(error);
  }
}
