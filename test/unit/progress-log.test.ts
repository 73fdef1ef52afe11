import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { runningTemplate } from '../../src/api/images-to-pull.ts';
import { createLogLimit, PROGRESS_RATE } from '../../src/log-limit.ts';
import { createPreload } from '../../src/preloads/create-preload.ts';
import { logProgress } from '../../src/preloads/progress-log.ts';
import { deployment, PRELOAD_SETTINGS } from '../support/unit/deployment-builder.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { memoryApi } from '../support/unit/memory-api.ts';
import { preload } from '../support/unit/preload-builder.ts';

function world() {
  const clock = manualClock();
  const { log, lines } = logDouble();
  return { clock, log, lines, limitProgress: createLogLimit(clock, PROGRESS_RATE) };
}

const outcome = { kind: 'wait', reason: 'Preloading' } as const;

test('nodes that become ready without end are 1,000 lines of a namespace at once, and the others are counted', () => {
  const { lines, clock, ...rest } = world();
  const ready = (namespace: string, nodes: number) => {
    const newlyReady = Array.from({ length: nodes }, (_, n) => `n${n}`);
    const progress = { newlyReady, ready: nodes, desired: nodes };
    logProgress({ ...preload(), namespace }, { outcome }, { outcome, progress }, { clock, ...rest });
  };
  ready('foe', 5000);
  assert.equal(lines.length, 1000);
  ready('shop', 1);
  assert.partialDeepStrictEqual(lines.at(-1), { msg: 'node ready', preload: 'shop/web-1', node: 'n0' });
  clock.advance(1000);
  ready('foe', 1);
  assert.equal(lines.at(-1)?.['leftOut'], 4000);
});

test('preloads that are created without end are 1,000 lines of a namespace at once', async () => {
  const { clock, log, lines, limitProgress } = world();
  const { client } = memoryApi(clock);
  const options = {
    ...{ client, log, limitProgress, limitLog: createLogLimit(clock), writeEvent: () => undefined },
    ...{ settings: PRELOAD_SETTINGS, call: {} },
  };
  const wanted = parseDeployment(deployment().image('registry.test/app:2').object);
  const from = runningTemplate(parseDeployment(deployment().object).template);
  for (let n = 0; n < 1100; n += 1)
    await createPreload({ deployment: wanted, name: `web-${n}`, from }, options);
  assert.equal(lines.filter(({ msg }) => msg === 'preload created').length, 1000);
});
