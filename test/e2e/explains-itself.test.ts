import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MODE_LABEL } from '../../src/api/names.ts';
import { templateImages } from '../../src/api/template/template-images.ts';
import { asArray, asStringMap, at, isObject, type JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { podWebhook } from '../support/e2e/admission-webhook.ts';
import { type Deployment, deploy, isHeld } from '../support/e2e/deployment.ts';
import { assertAllRun, commandsIn, explanationOf } from '../support/e2e/explained.ts';
import { fillNode } from '../support/e2e/full-node.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace, Scope } from '../support/e2e/namespace.ts';
import { PULL_SECRET, storePassword } from '../support/e2e/pull-secret.ts';
import {
  believe,
  nameServer,
  plainRegistryDouble,
  registryDouble,
  secureRegistryDouble,
} from '../support/e2e/registry-double.ts';
import { paste } from '../support/e2e/terminal.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const TOLD_SECONDS = 30;

interface Failure {
  readonly what: string;
  /** Of the kubelet, the registry, or who else refuses. */
  readonly words: RegExp;
  /** In the column REASON. */
  readonly reason: string;
  /** What the answer would be for any node, so that nobody has to wait for the deadline. */
  readonly definitive?: boolean;
  /** Further fields of the pods' spec. */
  readonly pod?: JsonObject;
  /** Makes it so, and returns the image that is to be asked for. */
  begin(scope: Scope, shop: Namespace): Promise<string>;
}

const missing = ({ name }: Namespace) => `${world.lab.registry}/${name}:typo`;
const pushedTo = async (shop: Namespace, address: string) =>
  (await shop.push('v2')).replace(world.lab.registry, address);

const FAILURES: readonly Failure[] = [
  {
    what: 'a tag that does not exist',
    words: /:typo: not found/,
    reason: 'NotFound',
    definitive: true,
    begin: async (_, shop) => missing(shop),
  },
  {
    what: 'no pull secret',
    words: /401 Unauthorized|authorization failed|no basic auth credentials/,
    reason: 'Unauthorized',
    definitive: true,
    begin: (_, shop) => shop.push('v2', { registry: 'private' }),
  },
  {
    what: 'a wrong pull secret',
    words: /401 Unauthorized|authorization failed|no basic auth credentials/,
    reason: 'Unauthorized',
    definitive: true,
    pod: PULL_SECRET,
    async begin(_, shop) {
      await storePassword(shop, 'wrong');
      return await shop.push('v2', { registry: 'private' });
    },
  },
  {
    what: 'a name that is none',
    words: /invalid reference format/,
    reason: 'InvalidName',
    definitive: true,
    begin: async () => `${world.lab.registry}/Shop//Web:v2`,
  },
  {
    what: 'an image for other platforms only',
    words: /no match for platform in manifest/,
    reason: 'WrongPlatform',
    definitive: true,
    async begin(scope, shop) {
      const registry = await registryDouble(scope, world.lab);
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      const digest = `sha256:${'0'.repeat(64)}`;
      registry.serveIndex(
        ['s390x', 'ppc64le'].map((architecture) => ({
          ...{ mediaType, digest, size: 500 },
          platform: { os: 'linux', architecture },
        })),
      );
      return await pushedTo(shop, registry.address);
    },
  },
  {
    what: 'a registry that is down',
    words: /connect: connection refused/,
    reason: 'ConnectionRefused',
    async begin(scope, shop) {
      const registry = await registryDouble(scope, world.lab);
      await registry.down();
      return await pushedTo(shop, registry.address);
    },
  },
  {
    what: 'a registry that answers 429',
    words: /429 Too Many Requests/,
    reason: 'TooManyRequests',
    async begin(scope, shop) {
      const registry = await registryDouble(scope, world.lab);
      registry.failWith(429);
      return await pushedTo(shop, registry.address);
    },
  },
  {
    what: 'a registry whose CA the nodes do not know',
    words: /x509: certificate signed by unknown authority/,
    reason: 'UnknownAuthority',
    async begin(scope, shop) {
      const { address } = await secureRegistryDouble(scope, world.lab);
      return await pushedTo(shop, address);
    },
  },
  {
    what: 'a registry whose name nobody knows',
    words: /no such host/,
    reason: 'Dns',
    async begin(scope, shop) {
      const { port } = await registryDouble(scope, world.lab);
      await nameServer(scope);
      const address = `${shop.name}.test:${port}`;
      believe(scope, world.lab, address, 'http');
      return await pushedTo(shop, address);
    },
  },
  {
    what: 'a quota without room for another pod',
    words: /exceeded quota: crowded, requested: pods=1, used: pods=1, limited: pods=1/,
    reason: 'PodRejected',
    async begin(_, shop) {
      await shop.kubectl('create', 'quota', 'crowded', '--hard=pods=1');
      await counted(shop, 'crowded', 'pods', '1');
      return await shop.push('v2');
    },
  },
  {
    what: 'a registry that speaks plain HTTP',
    words: /server gave HTTP response to HTTPS client/,
    reason: 'PlainHttp',
    begin: async (scope, shop) => pushedTo(shop, (await plainRegistryDouble(scope)).address),
  },
  {
    what: 'a registry whose layer store refuses',
    words: /403 Forbidden/,
    reason: 'LayerRefused',
    async begin(scope, shop) {
      const registry = await registryDouble(scope, world.lab);
      registry.refuseBlobs();
      return await pushedTo(shop, registry.address);
    },
  },
  {
    what: 'a policy webhook that fails itself',
    words: /the policy engine is starting/,
    reason: 'PodNotCreated',
    async begin(scope, shop) {
      const refusal = () => 'the policy engine is starting';
      await podWebhook(scope, shop, { kind: 'Validating', refusal, code: 500 });
      return await shop.push('v2');
    },
  },
  {
    what: 'a policy webhook that refuses puller pods',
    words: /admission webhook "pods\.policy\.test" denied the request: every pod has the label app here/,
    reason: 'PodRejected',
    async begin(scope, shop) {
      const refusal = (pod: JsonObject) =>
        asStringMap(at(pod, 'metadata', 'labels'))['app'] === undefined
          ? 'every pod has the label app here'
          : undefined;
      await podWebhook(scope, shop, { kind: 'Validating', refusal });
      return await shop.push('v2');
    },
  },
];

// Alone: as long as that node is full, every pull there fails.
test('a full node explains itself', async (t) => {
  const shop = await world.namespace(t);
  const [node = ''] = world.lab.nodes();
  const image = await shop.push('v2');
  await deploy(shop, 'web', {
    pod: { nodeSelector: { 'kubernetes.io/hostname': world.lab.nodes()[1] } },
  });
  await fillNode(world.api, shop, node);
  // Its pods may land there, too, from now on.
  const patch = {
    spec: { template: { spec: { nodeSelector: null, containers: [{ name: 'app', image }] } } },
  };
  await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify(patch));
  await told(shop, 'web', 'PreloadNodeFailed', TOLD_SECONDS);
  await until('the other node has it', 30, shop.preloads, ([one]) => one?.status?.readyNodes === 1);
  const { described, listed } = await explanationOf(shop);
  assertTells(described, image, /OutOfcpu: .*cpu, requested: 10,/, node);
  assertListed(listed, {
    PHASE: 'Preloading',
    READY: '1/2',
    FAILED: '1',
    IMAGES: image,
    REASON: 'PodRejected',
  });
  await assertAllRun(shop, commandsIn(described));
  await shop.kubectl('delete', 'pod', 'filler', '--grace-period=1');
});

describe('look at a pull that fails, with `kubectl describe deploy` and `kubectl get ipl -A` alone [explain-failure]', {
  concurrency: true,
}, () => {
  for (const { what, words, reason, definitive = false, pod = {}, begin } of FAILURES) {
    test(`${what}: count, node, image, the words and the next command, which works`, async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web', { pod });
      const image = await begin(t, shop);
      await web.setImage(image);
      await told(shop, 'web', definitive ? 'PreloadFailed' : 'PreloadNodeFailed', TOLD_SECONDS);
      const phase = definitive ? 'Failed' : 'Preloading';
      await until('the status tells it, too', TOLD_SECONDS, shop.preloads, ([one]) => {
        return one?.status?.phase === phase && one.status.failedNodes > 0;
      });
      const { described, listed } = await explanationOf(shop);
      assertTells(described, image, words);
      const failed = listed?.['FAILED'] ?? '';
      assert.match(failed, /^[12]$/);
      assertListed(listed, { PHASE: phase, READY: '0/2', FAILED: failed, IMAGES: image, REASON: reason });
      assert.ok(described.includes(`(${reason}`), described);
      const commands = commandsIn(described);
      await assertAllRun(shop, commands);
      await goBack(shop, web, commands);
    });
  }

  test('an init container that a webhook adds and that never ends: its name, and what to do', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const patch = [
      { op: 'add', path: '/spec/initContainers', value: [{ name: 'wait', image: PAUSE_IMAGE }] },
    ];
    await podWebhook(t, shop, { kind: 'Mutating', patch: () => patch });
    await web.setImage(await shop.push('v2'));
    await told(shop, 'web', 'PreloadNodeFailed', TOLD_SECONDS);
    const { described, listed } = await explanationOf(shop);
    assert.match(
      described,
      /init container wait, which a webhook has added, is still running \(InitContainer\); 0 of 2 nodes are ready; exclude pods with the label pullgate/,
    );
    assert.equal(listed?.['REASON'], 'InitContainer');
  });

  test('a native sidecar whose image is missing: that image, and rollout status fails', async (t) => {
    const shop = await world.namespace(t);
    await deploy(shop, 'web');
    const image = missing(shop);
    const initContainers = [{ name: 'proxy', image, restartPolicy: 'Always' }];
    const patch = { spec: { template: { spec: { initContainers } } } };
    await shop.kubectl('patch', 'deployment', 'web', '-p', JSON.stringify(patch));
    const { note } = await told(shop, 'web', 'PreloadFailed', TOLD_SECONDS);
    assert.match(
      note,
      /:typo: not found \(NotFound on node-\d\); 0 of 2 nodes are ready; the running version is/,
    );
    const { code, stderr } = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=30s');
    assert.equal(code, 1);
    assert.match(stderr, /exceeded its progress deadline/);
    const { listed } = await explanationOf(shop);
    const failed = listed?.['FAILED'] ?? '';
    assert.match(failed, /^[12]$/);
    assertListed(listed, {
      ...{ PHASE: 'Failed', READY: '0/2', FAILED: failed },
      ...{ IMAGES: image, REASON: 'NotFound' },
    });
  });

  test('an ImagePreload that a quota refuses: the image, the words and the ways out', async (t) => {
    const shop = await world.namespace(t);
    await shop.kubectl('create', 'quota', 'none', '--hard=count/imagepreloads.pullgate.io=0');
    await counted(shop, 'none', 'count/imagepreloads.pullgate.io', '0');
    const web = await deploy(shop, 'web');
    const image = missing(shop);
    await web.setImage(image);
    await assertRefusalTold(shop, web, image, /was refused: .*exceeded quota: none/);
  });

  test('mode reject: what kubectl answers, too', async (t) => {
    const shop = await world.namespace(t, { [MODE_LABEL]: 'reject' });
    const image = missing(shop);
    await deploy(shop, 'web');
    const { code, stderr } = await shop.tryKubectl('set', 'image', 'deployment/web', `app=${image}`);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /rejected; the running version is unchanged: 0 of 2 nodes have every image; node-\d: .*:typo: not found \(NotFound\)/,
    );
    await told(shop, 'web', 'PreloadFailed');
    const { described, listed } = await explanationOf(shop);
    assert.match(described, /not found \(NotFound on node-\d\); 0 of 2 nodes are ready; /);
    assert.ok(described.includes(image));
    assert.equal(listed?.['REASON'], 'NotFound');
    const commands = commandsIn(`${described}\n${stderr}`);
    assert.ok(
      commands.some((command) => command.includes('describe ipl')),
      described,
    );
    assert.ok(
      commands.some((command) => command.includes('get ipl')),
      stderr,
    );
    // What runs is stored: there is nothing to go back from.
    assert.ok(!commands.some((command) => command.includes('set image')), described);
    await assertAllRun(shop, commands);
  });
});

// Last: without that right no other hold gets its preload.
test('a gate that may not make ImagePreloads explains itself', async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles/pullgate-workloads';
  const rules = asArray(at(await world.api.get(path), 'rules')).filter(isObject);
  const without = rules.map((rule) =>
    asArray(rule['resources']).includes('imagepreloads')
      ? { ...rule, verbs: asArray(rule['verbs']).filter((verb) => verb !== 'create') }
      : rule,
  );
  assert.notDeepEqual(without, rules);
  await world.api.mergePatch(path, { rules: without });
  t.after(() => world.api.mergePatch(path, { rules }));
  const image = missing(shop);
  await web.setImage(image);
  await assertRefusalTold(shop, web, image, /was refused: .*cannot create resource "imagepreloads"/);
});

/** The Events say everything in one place: what fails where, how many nodes are ready, and what to do about the hold. */
function assertTells(described: string, image: string, words: RegExp, node?: string): void {
  const events = described.slice(described.indexOf('\nEvents:'));
  const line = events.split('\n').find((text) => text.includes(' PreloadNodeFailed ')) ?? '';
  assert.match(line, words, events);
  assert.ok(line.includes(image), line);
  assert.match(
    line,
    new RegExp(
      `${node ?? 'node-\\d'}: .*; [01] of 2 nodes are ready; [^;]+; see kubectl -n \\S+ describe ipl `,
    ),
  );
  const held = events.split('\n').find((text) => text.includes(' RolloutHeld ')) ?? '';
  assert.ok(held.includes(image), events);
  assert.match(held, /; release it now: kubectl .*; go back: kubectl .*; see kubectl .* get ipl web-/);
}

function assertListed(
  listed: Readonly<Record<string, string>> | undefined,
  want: Readonly<Record<string, string>>,
): void {
  const { NAMESPACE: _, NAME: __, AGE: ___, ...rest } = listed ?? {};
  assert.deepEqual(rest, want);
}

/** Nothing is made, so there is nothing to list, and no node has been asked. */
async function assertRefusalTold(
  shop: Namespace,
  web: Deployment,
  image: string,
  words: RegExp,
): Promise<void> {
  await told(shop, 'web', 'PreloadFailed', TOLD_SECONDS);
  const { described, listed } = await explanationOf(shop);
  assert.equal(listed, undefined);
  const line = described.split('\n').find((text) => text.includes(' PreloadFailed ')) ?? '';
  assert.match(line, words, described);
  assert.ok(line.includes(`no node is preloaded with ${image}`), line);
  const commands = commandsIn(line);
  assert.equal(commands.length, 2, line);
  await assertAllRun(shop, commands);
  await goBack(shop, web, commands);
}

/** For real: what is held goes back to what runs, in that same request. */
async function goBack(shop: Namespace, web: Deployment, commands: readonly string[]): Promise<void> {
  const command = commands.find((text) => text.includes('set image')) ?? '';
  await paste(shop.lab, command);
  const stored = await web.read();
  assert.equal(isHeld(stored), false);
  assert.deepEqual(
    templateImages(stored.template).map(({ image }) => image),
    [PAUSE_IMAGE],
  );
}

async function counted(shop: Namespace, quota: string, what: string, used: string): Promise<void> {
  await until(
    `the quota ${quota} has counted`,
    30,
    () => world.api.get(`/api/v1/namespaces/${shop.name}/resourcequotas/${quota}`),
    (object) => at(object, 'status', 'used', what) === used,
  );
}
