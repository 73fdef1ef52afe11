import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gateWorld, type World } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

const NODES = ['n1', 'n2', 'n3', 'n4'];
/** Fewer than the hostile namespace wants, and more than are created or deleted at a time. */
const CAP = 100;
const HOLDS = 40;

/** For how long a hold in `shop` lasts whose pulls take a second, in seconds. */
async function holdSeconds(prepare: (world: World) => void = () => undefined): Promise<number> {
  const world = gateWorld({ nodes: NODES.length, maxConcurrentPulls: CAP });
  prepare(world);
  world.start();
  await world.pass(60_000);
  world.hold();
  const began = world.clock.monotonic();
  while (world.web().paused && world.clock.monotonic() - began < 300_000) {
    await world.pass(1000);
    for (const node of NODES) world.pulled(node);
  }
  return (world.clock.monotonic() - began) / 1000;
}

function holdMany({ optIn, hold }: World, namespace = 'hostile'): void {
  optIn('pause', namespace);
  for (let n = 0; n < HOLDS; n += 1) {
    const uid = `uid-${namespace}-${n}`;
    // An image of its own, or they would share their pulls.
    const builder = updated.image(`registry.test/app:${n}`).metadata({ namespace, name: `web-${n}`, uid });
    hold(heldObject(builder, { uid }), `/apis/apps/v1/namespaces/${namespace}/deployments/web-${n}`);
  }
}

const alone = await holdSeconds();

/** The end of a hold depends on what has been pulled a second ago. */
const LATE_SECONDS = 1;

for (const kind of ['pods', 'imagepreloads', 'deployments', 'events', 'serviceaccounts', '']) {
  for (const ms of [10_000, Number.POSITIVE_INFINITY]) {
    const what = kind === '' ? 'anything' : kind;
    test(`a namespace whose calls about ${what} are not answered for ${ms / 1000} s delays no hold of another`, async () => {
      const seconds = await holdSeconds((world) => {
        world.api.hang(`/namespaces/hostile/${kind}`, ms);
        holdMany(world);
      });
      assert.ok(seconds <= alone + LATE_SECONDS, `${seconds} s, alone ${alone} s`);
    });
  }
}

test('a namespace whose webhook fails for every pod delays no hold of another', async () => {
  const seconds = await holdSeconds((world) => {
    const error = refusal(
      500,
      'InternalError',
      'failed calling webhook "policy.test": no endpoints available',
    );
    world.api.refuse('create', '/namespaces/hostile/pods', error, Number.POSITIVE_INFINITY);
    holdMany(world);
  });
  assert.ok(seconds <= alone + LATE_SECONDS, `${seconds} s, alone ${alone} s`);
});

test('twenty namespaces whose calls about pods are not answered delay no hold of another', async () => {
  const seconds = await holdSeconds((world) => {
    for (let n = 0; n < 20; n += 1) {
      world.api.hang(`/namespaces/hostile-${n}/pods`, 10_000);
      holdMany(world, `hostile-${n}`);
    }
  });
  assert.ok(seconds <= alone + LATE_SECONDS, `${seconds} s, alone ${alone} s`);
});
