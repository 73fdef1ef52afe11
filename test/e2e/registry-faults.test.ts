import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Deployment, deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace, Scope, ToldEvent } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { givePassword, PULL_SECRET, storePassword } from '../support/e2e/pull-secret.ts';
import { believe, nameServer, registryDouble, secureRegistryDouble } from '../support/e2e/registry-double.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const TOLD_SECONDS = 15;
/** The back-off of the first attempt, and the pulls themselves on a busy machine. */
const BACK_OFF_SECONDS = 30;
const PULL_SECONDS = 10;

/** A registry that cannot be had, and what brings it back. */
interface Trouble {
  readonly address: string;
  readonly end: () => unknown;
}

interface Fault {
  readonly what: string;
  readonly reason: string;
  /** As the node or the registry says it. */
  readonly words: RegExp;
  begin(scope: Scope, namespace: Namespace): Promise<Trouble>;
}

const FAULTS: readonly Fault[] = [
  {
    what: 'a registry that is down',
    reason: 'ConnectionRefused',
    words: /connect: connection refused/,
    async begin(scope) {
      const registry = await registryDouble(scope, world.lab);
      await registry.down();
      return { address: registry.address, end: registry.up };
    },
  },
  {
    what: 'a registry that answers 500',
    reason: 'ServerError',
    words: /500 Internal Server Error/,
    async begin(scope) {
      const registry = await registryDouble(scope, world.lab);
      registry.failWith(500);
      return { address: registry.address, end: registry.serve };
    },
  },
  {
    what: 'a registry that answers 429',
    reason: 'TooManyRequests',
    words: /429 Too Many Requests/,
    async begin(scope) {
      const registry = await registryDouble(scope, world.lab);
      registry.failWith(429, { 'retry-after': '5' });
      return { address: registry.address, end: registry.serve };
    },
  },
  {
    what: 'a registry whose CA the nodes do not know',
    reason: 'UnknownAuthority',
    words: /x509: certificate signed by unknown authority/,
    async begin(scope) {
      const registry = await secureRegistryDouble(scope, world.lab);
      return { address: registry.address, end: registry.tellNodes };
    },
  },
  {
    what: 'a registry whose name nobody knows',
    reason: 'Dns',
    words: /no such host/,
    async begin(scope, { name }) {
      const { port } = await registryDouble(scope, world.lab);
      const { names } = await nameServer(scope);
      const host = `${name}.test`;
      believe(scope, world.lab, `${host}:${port}`, 'http');
      return { address: `${host}:${port}`, end: () => names.add(host) };
    },
  },
];

describe('have a registry that is down and comes back, an unknown host, 429 answers, an unknown CA [registry-faults]', {
  concurrency: true,
}, () => {
  for (const { what, reason, words, begin } of FAULTS) {
    test(`${what} is told as ${reason}, costs nothing, and the rollout goes on once it is back`, async (t) => {
      const shop = await world.namespace(t);
      const { address, end } = await begin(t, shop);
      const image = (await shop.push('v2')).replace(world.lab.registry, address);
      const web = await deploy(shop, 'web');
      const timeline = shop.timeline();
      await web.setImage(image);

      const { note, type } = await told(shop, 'PreloadNodeFailed');
      assert.equal(type, 'Warning');
      assert.match(note, words);
      assert.match(note, new RegExp(`\\(${reason}\\); 0 of 2 nodes are ready; [^;]+; see kubectl`));
      const failures = await until(
        'the status tells of both nodes',
        TOLD_SECONDS,
        async () => (await shop.preloads())[0]?.status?.failures ?? [],
        ({ length }) => length === world.lab.nodes().length,
      );
      for (const failure of failures) {
        assert.equal(failure.reason, reason, failure.message);
        assert.match(failure.message, words);
      }
      assert.ok(isHeld(await web.read()));
      assertServesOn(timeline, 1);

      await end();
      await goesOn(web, image);
    });
  }
});

describe('push a missing tag late, or fix a pull secret [late-tag]', { concurrency: true }, () => {
  test('a missing tag that is pushed late goes on, and kubectl rollout status waits again', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const image = `${world.lab.registry}/${shop.name}:late`;
    await web.setImage(image);
    assert.match((await told(shop, 'PreloadFailed')).note, /not found/);
    assertServesOn(timeline, 1);

    assert.equal(await shop.push('late'), image);
    await goesOn(web, image);
    await shop.kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    assert.equal((await web.read()).status.progressing?.reason, 'NewReplicaSetAvailable');
  });

  test('a wrong password is refused until the secret is fixed', async (t) => {
    const shop = await world.namespace(t);
    await storePassword(shop, 'wrong');
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web', { pod: PULL_SECRET });
    const timeline = shop.timeline();
    await web.setImage(image);
    await unauthorized(shop);
    assertServesOn(timeline, 1);

    await storePassword(shop);
    await goesOn(web, image);
  });

  test('one node that gets no access fails alone, and is asked until it gets some', async (t) => {
    const shop = await world.namespace(t);
    const registry = await registryDouble(t, world.lab);
    const [refused = ''] = world.lab.nodes();
    registry.refuseNode(refused);
    const image = (await shop.push('v2')).replace(world.lab.registry, registry.address);
    const web = await deploy(shop, 'web');
    await web.setImage(image);
    const { note } = await told(shop, 'PreloadNodeFailed');
    assert.match(note, new RegExp(`^${refused}: .*401 Unauthorized.* \\(Unauthorized\\)`));
    await until(
      'it has been asked again, and the other node has the image',
      TOLD_SECONDS,
      async () => ({ status: (await shop.preloads())[0]?.status, pods: await shop.pullerPods() }),
      ({ status, pods }) => status?.ready === '1/2' && status.failedNodes === 1 && pods.length === 2,
    );
    assert.ok(isHeld(await web.read()));
    assert.ok(!(await shop.events('web')).some(({ reason }) => reason === 'PreloadFailed'));

    registry.serve();
    await goesOn(web, image);
  });

  test('no password at all is refused until the service account has one', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('v2', { registry: 'private' });
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    await web.setImage(image);
    await unauthorized(shop);
    assertServesOn(timeline, 1);

    await storePassword(shop);
    await givePassword(shop, 'default');
    await goesOn(web, image);
  });
});

async function unauthorized(shop: Namespace): Promise<void> {
  const { note, type } = await told(shop, 'PreloadFailed');
  assert.equal(type, 'Warning');
  assert.match(note, /\(Unauthorized on node-\d\)/);
  // The registry's challenge, as containerd passes it on.
  assert.match(note, /no basic auth credentials|401 Unauthorized|authorization failed/);
  const [preload] = await until(
    'so does the status',
    10,
    shop.preloads,
    ([one]) => one?.status?.phase === 'Failed',
  );
  assert.equal(preload?.status?.failures[0]?.reason, 'Unauthorized');
}

async function told(shop: Namespace, reason: string): Promise<ToldEvent> {
  const find = async () => (await shop.events('web')).find((event) => event.reason === reason);
  const event = await until(`event ${reason}`, TOLD_SECONDS, find, (found) => found !== undefined);
  if (event === undefined) throw new Error(reason);
  return event;
}

/** By itself: nothing has been done but to take the cause away. */
async function goesOn(web: Deployment, image: string): Promise<void> {
  await web.released(BACK_OFF_SECONDS + PULL_SECONDS);
  await assertOnEveryNode(world.lab, image);
  await web.rolledOut(30);
}
