import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pullOutcome } from '../../src/preloads/pods/pull-result.ts';
import { parsePullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { deploy, holding } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod } from '../support/e2e/namespace.ts';
import { imagesOf, type Moment } from '../support/e2e/timeline.ts';

const world = gatedLab();
const HOLDS = 11;
const MEDIAN_MS = 300;

function isPulled(image: string): (moment: Moment) => boolean {
  return ({ kind, object }) =>
    kind === 'Pod' &&
    isPullerPod(object) &&
    imagesOf(object).includes(image) &&
    pullOutcome(parsePullerPod(object)).state === 'succeeded';
}

/**
 * Both moments are those at which the API server tells this test: the last node's pull as the status of its puller pod has it,
 * which is the earliest that anyone can know of it, and the release as the Deployment has it.
 */
test(`a hold ends at most ${MEDIAN_MS} ms after the last node's pull, in the median`, async (t) => {
  const shop = await world.namespace(t);
  const web = await deploy(shop, 'web');
  const images = await Promise.all(Array.from({ length: HOLDS }, (_, hold) => shop.push(`v${hold + 2}`)));
  const timeline = shop.timeline();

  const took: number[] = [];
  for (const image of images) {
    await web.setImage(image);
    const released = await timeline.first(`${image} is released`, 60, holding('web', image, false));
    const pulls = new Map<string, number>();
    for (const moment of timeline.of('Pod').filter(isPulled(image))) {
      if (!pulls.has(moment.name)) pulls.set(moment.name, moment.at);
    }
    assert.equal(pulls.size, world.lab.nodes().length);
    took.push(released.at - Math.max(...pulls.values()));
  }

  const sorted = took.toSorted((a, b) => a - b).map(Math.round);
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  t.diagnostic(
    `last pull to release: median ${median} ms of ${sorted.length} holds (${sorted.join(', ')} ms)`,
  );
  assert.ok(median <= MEDIAN_MS, `${median} ms`);
});
