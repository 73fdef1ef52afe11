import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at } from '../../src/json.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, PRELOADS, WEB } from '../support/unit/gate-world.ts';
import { heldObject } from '../support/unit/held-deployment.ts';

const API = WEB.replace('web', 'api');
const apiDeployment = deployment().metadata({ name: 'api', uid: 'uid-api' });

/** Two Deployments are held for the same image. Web was first, so the pods are its own. */
async function twoHeld() {
  const world = gateWorld();
  world.start();
  world.hold();
  await world.pass(200);
  const marks = { uid: 'uid-api', preload: 'api-1' };
  world.hold(heldObject(apiDeployment.image('registry.test/app:2'), marks), API);
  await world.pass(2000);
  assert.equal(world.preloads().length, 2);
  assert.deepEqual(world.pods(), ['web n1 1', 'web n2 1']);
  return world;
}

test('two preloads that need the same image share its pods', async () => {
  const world = await twoHeld();
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(2000);
  assert.deepEqual(
    world.preloads().map(({ status }) => status?.readyNodes),
    [2, 2],
  );
});

test('if the owner of shared pods goes, the other makes its own', async () => {
  const world = await twoHeld();
  const web = world.preloads().find(({ name }) => name.startsWith('web'));
  world.api.put(WEB, undefined);
  world.api.put(`${PRELOADS}/${web?.name}`, undefined);
  world.collectGarbage();
  await world.pass(2000);
  assert.deepEqual(world.pods(), ['api n1 1', 'api n2 1']);
});

test('a shared success goes on counting when the preload that pulled it is forgotten', async () => {
  const world = await twoHeld();
  world.pulled('n1');
  world.pulled('n2');
  await world.pass(5000);
  assert.deepEqual([world.web().paused, at(world.api.objects.get(API), 'spec', 'paused')], [false, false]);
  assert.deepEqual(world.pods(), [], 'both rollouts have begun');

  // The rollout of web ends, and its preload with it. That of api takes longer.
  world.rolledOut();
  await world.pass(3700_000);
  assert.deepEqual(
    world.preloads().map(({ owner }) => owner?.name),
    ['api'],
  );
  await world.pass(60_000);
  world.preloadController.nodesChanged();
  await world.pass(60_000);
  assert.deepEqual(world.pods(), []);
  assert.equal(world.api.called('create', PODS).length, 2, 'no node is asked again');
});

test('pods that another preload needs stay', async () => {
  const world = gateWorld();
  world.start();
  world.hold();
  await world.pass(200);
  const api = apiDeployment.image('registry.test/other:2', 'side').image('registry.test/app:2');
  world.hold(heldObject(api, { uid: 'uid-api', preload: 'api-1' }), API);
  await world.pass(100);
  const shared = world.pods().filter((pod) => pod.startsWith('web'));
  assert.equal(shared.length, 2);
  world.hold(deployment().object);
  await world.pass(3000);
  assert.deepEqual(
    world.pods().filter((pod) => pod.startsWith('web')),
    shared,
  );
});
