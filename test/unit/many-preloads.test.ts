import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import type { ImagePreload } from '../../src/api/image-preload.ts';
import { PULL_TIMES } from '../../src/preloads/assess/pull-times.ts';
import type { Node } from '../../src/preloads/nodes/node.ts';
import { PULLER_RESOURCES } from '../../src/preloads/pods/puller-resources.ts';
import { createPreloadController } from '../../src/preloads/preload-controller.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi } from '../support/unit/memory-api.ts';
import { preload } from '../support/unit/preload-builder.ts';

const MANY = 3000;
const ROLLING: Deployment = {
  ...parseDeployment(deployment().object),
  generation: 4,
  uid: 'uid-web',
  templateHash: 'template-2',
};

/** A controller that follows so many ImagePreloads of one Deployment, which rolls out their template. */
function following(count: number) {
  const clock = manualClock();
  const stored = new Map<string, ImagePreload>();
  const whole = new Map<string, ImagePreload>();
  const reads = { one: 0, all: 0 };
  const controller = createPreloadController({
    client: memoryApi(clock).client,
    clock,
    random: () => 0.5,
    log: logDouble().log,
    writeEvent: () => undefined,
    preloads: {
      get(key) {
        reads.one += 1;
        return stored.get(key);
      },
      values: () => stored.values(),
      trim(key) {
        const one = stored.get(key);
        if (one !== undefined && !controller.isWhole(one)) stored.set(key, controller.less(one));
      },
      async refresh(key) {
        const one = whole.get(key);
        if (one !== undefined) stored.set(key, one);
        controller.preloadChanged(key);
      },
      *inNamespace() {
        for (const one of stored.values()) {
          reads.all += 1;
          yield one;
        }
      },
    },
    deployments: Object.assign(new EmptyStore<Deployment>(), { get: () => ROLLING }),
    nodes: new EmptyStore<Node>(),
    modeOf: () => 'reject',
    awaitedOf: () => undefined,
    maxConcurrentPulls: 200,
    nodeTimeoutSeconds: 900,
    pullTimes: PULL_TIMES,
    pullerResources: PULLER_RESOURCES,
  });
  for (let n = 0; n < count; n += 1) {
    const one = preload({}, { name: `web-${n}`, uid: `uid-${n}` });
    stored.set(`shop/${one.name}`, one);
    whole.set(`shop/${one.name}`, one);
    controller.preloadChanged(`shop/${one.name}`);
  }
  return { clock, controller, reads };
}

test('thousands of ImagePreloads with one owner are taken over without reading all of them for each', () => {
  const { reads } = following(MANY);
  assert.equal(reads.all, 0);
});

test('a Deployment with thousands of ImagePreloads has those looked at that are served, when it changes', async () => {
  const { clock, controller, reads } = following(MANY);
  controller.start(() => undefined);
  const pass = async () => {
    for (let n = 0; n < 200; n += 1) {
      clock.advance(50);
      await nextTurn();
    }
  };
  await pass();
  reads.one = 0;
  controller.ownerChanged({ namespace: 'shop', uid: 'uid-web' });
  await pass();
  assert.ok(reads.one > 0 && reads.one < MANY, `${reads.one} reads`);
  await controller.stop();
});

class EmptyStore<T> extends Map<string, T> {
  *inNamespace(): IterableIterator<T> {}
}
