import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at } from '../../src/json.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { gateWorld, PODS, PRELOADS, WEB, type World } from '../support/unit/gate-world.ts';
import { heldObject } from '../support/unit/held-deployment.ts';

const NODES = 1000;
const CAP = 200;
const PULL_MS = 10_000;
/** A pull of a few seconds is left alone: those of the other namespace give their places back after that. */
const LEVELLED_MS = 12_000;
const in_ = (path: string, namespace: string) => path.replace('/shop/', `/${namespace}/`);

/** Asks for all that a namespace can: rollouts and pre-pulls on every node, of a registry that never answers. */
function crowd({ api, hold, optIn }: World): void {
  optIn('pause', 'evil');
  for (let n = 0; n < 20; n += 1) {
    const metadata = { namespace: 'evil', name: `slow-${n}`, uid: `uid-evil-${n}` };
    const updated = deployment().metadata(metadata).image(`slow.test/rollout-${n}:2`);
    const held = heldObject(updated, { uid: metadata.uid, preload: `slow-${n}-1` });
    hold(held, in_(WEB, 'evil').replace(/web$/, metadata.name));
    api.put(`${in_(PRELOADS, 'evil')}/by-hand-${n}`, {
      metadata: { namespace: 'evil', name: `by-hand-${n}`, uid: `uid-by-hand-${n}`, generation: 1 },
      spec: { images: [{ image: `slow.test/by-hand-${n}:1` }], nodeTimeoutSeconds: 86_400 },
    });
  }
}

/** The shop's pulls take PULL_MS each. Returns how many of them ran in each second, and how long all took. */
async function rollout(world: World): Promise<{ readonly running: number[]; readonly ms: number }> {
  const began = world.clock.monotonic();
  const since = new Map<string, number>();
  const running: number[] = [];
  while (world.web().paused) {
    const passed = world.clock.monotonic() - began;
    assert.ok(passed < 10 * 60_000, `still paused after ${passed} ms`);
    await world.pass(1000);
    let count = 0;
    for (const [path, pod] of world.api.objects) {
      if (!path.startsWith(PODS) || at(pod, 'status', 'phase') === 'Failed') continue;
      const start = since.get(path) ?? world.clock.monotonic();
      since.set(path, start);
      count += 1;
      if (world.clock.monotonic() - start >= PULL_MS) world.pulled(String(at(pod, 'spec', 'nodeName')));
    }
    running.push(count);
  }
  return { running, ms: world.clock.monotonic() - began };
}

test('on 1,000 nodes a rollout has its half of the places, whatever another namespace asks for', async () => {
  const alone = gateWorld({ nodes: NODES, maxConcurrentPulls: CAP });
  alone.start();
  alone.hold();
  const without = await rollout(alone);

  const crowded = gateWorld({ nodes: NODES, maxConcurrentPulls: CAP });
  crowded.start();
  crowd(crowded);
  await crowded.pass(60_000);
  assert.equal(crowded.preloadController.running(), CAP, 'the other namespace has all places');
  crowded.hold();
  const { running, ms } = await rollout(crowded);
  // At its end fewer are left than it could have.
  const levelled = running.slice(LEVELLED_MS / 1000, -PULL_MS / 1000);
  assert.ok(Math.min(...levelled) >= CAP / 2, `${levelled}`);
  assert.ok(ms <= 1.5 * without.ms + LEVELLED_MS, `${ms} ms, alone ${without.ms} ms`);
});
