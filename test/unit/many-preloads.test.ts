import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Deployment } from '../../src/hold/deployment.ts';
import type { ImagePreload } from '../../src/preload/image-preload.ts';
import type { Node } from '../../src/preload/node.ts';
import { createPreloadController } from '../../src/preload/preload-controller.ts';
import { PULL_TIMES } from '../../src/preload/pull-times.ts';
import { logDouble } from './log-double.ts';
import { manualClock } from './manual-clock.ts';
import { memoryApi } from './memory-api.ts';
import { preload } from './preload-builder.ts';

const MANY = 3000;

test('thousands of ImagePreloads with one owner are taken over without reading all of them for each', () => {
  const clock = manualClock();
  const stored = new Map<string, ImagePreload>();
  let read = 0;
  const controller = createPreloadController({
    client: memoryApi(clock).client,
    clock,
    random: () => 0.5,
    log: logDouble().log,
    writeEvent: () => undefined,
    preloads: {
      get: (key) => stored.get(key),
      values: () => stored.values(),
      *inNamespace() {
        for (const one of stored.values()) {
          read += 1;
          yield one;
        }
      },
    },
    deployments: new EmptyStore<Deployment>(),
    nodes: new EmptyStore<Node>(),
    modeOf: () => 'reject',
    maxConcurrentPulls: 200,
    nodeTimeoutSeconds: 900,
    pullTimes: PULL_TIMES,
    onAssessed: () => undefined,
  });
  for (let n = 0; n < MANY; n += 1) {
    const one = preload({}, { name: `web-${n}`, uid: `uid-${n}` });
    stored.set(`shop/${one.name}`, one);
    controller.preloadChanged(`shop/${one.name}`);
  }
  assert.equal(read, 0);
});

class EmptyStore<T> extends Map<string, T> {
  *inNamespace(): IterableIterator<T> {}
}
