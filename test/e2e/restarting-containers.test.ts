import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asArray, asNumber, at, type JsonObject } from '../../src/json.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { assertFoundAll, podName, podsOf } from '../support/e2e/pull-events.ts';
import { assertServesOn } from '../support/e2e/serves-on.ts';

const world = gatedLab();

const EXIT_CODE = 42;
const STATE = { name: 'state', emptyDir: {} };
const volumeMounts = [{ name: 'state', mountPath: '/state' }];
/** The kubelet starts such a container again for this exit code alone. */
const ONLY_FOR_THE_CODE = {
  restartPolicy: 'Never',
  restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [EXIT_CODE] } }],
};

/** An image that fails when it is started first, and the second time does what follows. */
function failsFirst(shop: Namespace, tag: string, then: string): Promise<string> {
  const script = `[ -e /state/${tag} ] || { touch /state/${tag}; exit ${EXIT_CODE}; }; ${then}`;
  return shop.push(tag, { base: 'busybox', entrypoint: ['/bin/sh', '-c', script] });
}

const RUNS_ON = 'touch /state/again; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done';
const WHEN_IT_RUNS_ON = { exec: { command: ['test', '-e', '/state/again'] }, periodSeconds: 1 };

interface Change {
  /** The template's spec before and after. */
  readonly before: JsonObject;
  readonly after: JsonObject;
  /** What of it is new. */
  readonly images: readonly string[];
}

/** The update is held, preloads just these images, and rolls out to a pod that pulls nothing. Returns the status of that pod. */
async function throughTheGate(shop: Namespace, { before, after, images }: Change): Promise<unknown> {
  const web = await deploy(shop, 'web', { pod: before });
  const timeline = shop.timeline();
  await shop.kubectl(
    'patch',
    'deployment',
    'web',
    '-p',
    JSON.stringify({ spec: { template: { spec: after } } }),
  );
  assert.ok(isHeld(await web.read()));
  await timeline.first(
    'the hold is seen',
    10,
    ({ kind, object }) => kind === 'Deployment' && at(object, 'spec', 'paused') === true,
  );
  assertServesOn(timeline, 1);
  await web.released(30);
  for (const image of images) await assertOnEveryNode(world.lab, image);
  await web.rolledOut(60);
  assert.deepEqual(
    (await shop.preloads()).map(({ spec }) => spec.images.map(({ image }) => image)),
    [images],
  );
  const pods = await podsOf(shop, 'web');
  assert.equal(pods.length, 1);
  await assertFoundAll(shop, pods.map(podName), images);
  return at(pods[0], 'status');
}

function container(
  status: unknown,
  list: 'containerStatuses' | 'initContainerStatuses',
  name: string,
): unknown {
  const found = asArray(at(status, list)).find((one) => at(one, 'name') === name);
  assert.ok(found, JSON.stringify(status));
  return found;
}

const restarts = (state: unknown) => asNumber(at(state, 'restartCount'));

describe('have a native sidecar, an init container that fails first, or restart rules of a container [restarting-containers]', {
  concurrency: true,
}, () => {
  test('a native sidecar: only its image is preloaded, and it runs in the new pod', async (t) => {
    const shop = await world.namespace(t);
    const [v1, v2] = await Promise.all([shop.push('proxy1'), shop.push('proxy2')]);
    const sidecar = (image: string) => ({
      initContainers: [{ name: 'proxy', image, restartPolicy: 'Always' }],
    });
    const status = await throughTheGate(shop, { before: sidecar(v1), after: sidecar(v2), images: [v2] });
    assert.ok(at(container(status, 'initContainerStatuses', 'proxy'), 'state', 'running'));
  });

  test('a native sidecar that is added', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.push('proxy');
    const after = { initContainers: [{ name: 'proxy', image, restartPolicy: 'Always' }] };
    const status = await throughTheGate(shop, { before: {}, after, images: [image] });
    assert.ok(at(container(status, 'initContainerStatuses', 'proxy'), 'state', 'running'));
  });

  test('an init container that fails and starts again: it starts again without a pull', async (t) => {
    const shop = await world.namespace(t);
    const image = await failsFirst(shop, 'setup', 'exit 0');
    const after = { volumes: [STATE], initContainers: [{ name: 'setup', image, volumeMounts }] };
    const status = await throughTheGate(shop, { before: {}, after, images: [image] });
    const setup = container(status, 'initContainerStatuses', 'setup');
    assert.equal(restarts(setup), 1);
    assert.equal(at(setup, 'state', 'terminated', 'exitCode'), 0);
  });

  test('an init container and a container with restart rules of their own: both start again without a pull', async (t) => {
    const shop = await world.namespace(t);
    const [setup, app] = await Promise.all([
      failsFirst(shop, 'setup', 'exit 0'),
      failsFirst(shop, 'app', RUNS_ON),
    ]);
    const after = {
      volumes: [STATE],
      initContainers: [{ name: 'setup', image: setup, volumeMounts, ...ONLY_FOR_THE_CODE }],
      containers: [
        { name: 'app', image: app, volumeMounts, readinessProbe: WHEN_IT_RUNS_ON, ...ONLY_FOR_THE_CODE },
      ],
    };
    const before = { containers: [{ name: 'app', image: PAUSE_IMAGE }] };
    const status = await throughTheGate(shop, { before, after, images: [setup, app] });
    assert.equal(restarts(container(status, 'initContainerStatuses', 'setup')), 1);
    assert.equal(restarts(container(status, 'containerStatuses', 'app')), 1);
  });
});
