import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Pull } from '../cluster/simulated/kubelet.ts';
import { simulateNodes } from '../cluster/simulated/simulated-nodes.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { until } from '../support/e2e/until.ts';

const CAP = 6;
const world = gatedLab({ flags: ['--max-concurrent-pulls', `${CAP}`] });

const SMALL_LABEL = 'sim.pullgate.io/small';
const MANY_NODES = 20;
const FEW_NODES = 2;

describe('hold 20 Deployments at once [twenty-holds]', () => {
  test('the cluster-wide cap holds and is shared fairly', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, MANY_NODES);
    const few = nodes.names().slice(0, FEW_NODES);
    await Promise.all(few.map((node) => nodes.label(node, { [SMALL_LABEL]: 'true' })));
    const smallPod = { ...nodes.pod, nodeSelector: { ...nodes.pod.nodeSelector, [SMALL_LABEL]: 'true' } };
    const names = Array.from({ length: 19 }, (_, index) => `small-${index + 1}`);
    const [large, ...small] = await Promise.all([
      deploy(shop, 'large', { pod: nodes.pod }),
      ...names.map((name) => deploy(shop, name, { pod: smallPod })),
    ]);
    assert.ok(large);
    const imageOf = (name: string) => `registry.test/${shop.name}/${name}:2`;
    const pullsOf = (name: string) =>
      nodes.pulls.filter(({ preload, image }) => preload && image === imageOf(name));

    // The large one comes first and has all that there is.
    nodes.registry.answer(imageOf('large'), { hangs: true });
    await large.setImage(imageOf('large'));
    await until(
      'it pulls',
      20,
      () => pullsOf('large'),
      ({ length }) => length === CAP,
    );
    for (const { name, setImage } of small) {
      nodes.registry.answer(imageOf(name), { seconds: 1 });
      await setImage(imageOf(name));
    }
    for (const one of [large, ...small]) assert.ok(isHeld(await one.read()), `${one.name} is held`);
    assert.equal(nodes.pulls.filter(({ preload }) => preload).length, CAP, 'nobody else has begun');

    nodes.registry.answer(imageOf('large'), { seconds: 1 });
    await Promise.all([large, ...small].map((one) => one.released(90)));
    const pulls = nodes.pulls.filter(({ preload }) => preload);
    assert.equal(pulls.length, MANY_NODES + small.length * FEW_NODES, 'one for each node and hold');
    assert.equal(mostAtOnce(pulls), CAP);
    const lastOfLarge = Math.max(...pullsOf('large').map(({ began }) => began));
    for (const { name } of small) {
      const lastOfSmall = Math.max(...pullsOf(name).map(({ began }) => began));
      assert.ok(lastOfSmall < lastOfLarge, `${name} was through before the large one`);
    }
  });
});

function mostAtOnce(pulls: readonly Pull[]): number {
  return Math.max(
    ...pulls.map(
      ({ began }) =>
        pulls.filter((other) => other.began <= began && (other.ended ?? Infinity) > began).length,
    ),
  );
}
