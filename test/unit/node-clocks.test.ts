import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { at, type JsonObject } from '../../src/json.ts';
import { believedTimes } from '../../src/preloads/pods/believed-times.ts';
import { parsePullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { gateWorld, PODS, type World } from '../support/unit/gate-world.ts';
import { puller, at as second } from '../support/unit/preload-builder.ts';

const DAY = 86_400;
const timestamp = (ms: number) => new Date(ms).toISOString();

/** What the kubelet of that node says, by a clock that differs from ours by so many seconds. */
function kubelet(
  { api, clock }: World,
  node: string,
  offset: number,
  state: (time: string) => JsonObject,
): void {
  const time = timestamp(clock.now() + offset * 1000);
  for (const [path, object] of api.objects) {
    if (!path.startsWith(PODS) || at(object, 'spec', 'nodeName') !== node) continue;
    const container = { name: 'pull', state: state(time) };
    api.update(path, (pod) => ({
      ...pod,
      status: { phase: 'Pending', startTime: time, containerStatuses: [container] },
    }));
  }
}
const creating = () => ({ waiting: { reason: 'ContainerCreating' } });
const pulled = (finishedAt: string) => ({ terminated: { reason: 'StartError', exitCode: 128, finishedAt } });

async function holding(settings: Parameters<typeof gateWorld>[0] = {}): Promise<World> {
  const world = gateWorld(settings);
  world.start();
  world.hold();
  await world.pass(200);
  return world;
}

test('a node whose clock is slow has the time of its pull like any other', async () => {
  const world = await holding();
  world.pulled('n1');
  kubelet(world, 'n2', -16 * 60, creating);
  await world.pass(800_000);
  assert.deepEqual([world.web().paused, world.preload().status?.desiredNodes], [true, 2]);
  await world.pass(110_000);
  assert.equal(world.web().paused, false, 'after 900 s by our clock it is given up');
});

test('a node whose clock is fast is given up after as long as any other', async () => {
  const world = await holding();
  world.pulled('n1');
  kubelet(world, 'n2', DAY, creating);
  await world.pass(910_000);
  assert.equal(world.web().paused, false);
});

test('a node whose clock is fast does not put the deadline off', async () => {
  const world = await holding({ settings: { nodeTimeoutSeconds: DAY, deadlineSeconds: 3600 } });
  kubelet(world, 'n1', DAY, pulled);
  await world.pass(3_500_000);
  assert.equal(world.web().paused, true);
  await world.pass(110_000);
  assert.equal(world.web().paused, false);
});

test('a node cannot put the deadline off by telling of an end again and again', async () => {
  const world = await holding({ settings: { nodeTimeoutSeconds: DAY, deadlineSeconds: 3600 } });
  for (let n = 0; n < 3; n += 1) {
    kubelet(world, 'n1', DAY, pulled);
    await world.pass(1_230_000);
  }
  assert.equal(world.web().paused, false);
});

test('a new leader believes no later end than the time when the status was last written', () => {
  const metadata = {
    creationTimestamp: timestamp(second(0)),
    managedFields: [
      { manager: 'pullgate', time: timestamp(second(0)) },
      { manager: 'kubelet', subresource: 'status', time: timestamp(second(20)) },
      { manager: 'kubelet', subresource: 'status', time: timestamp(second(50)) },
    ],
  };
  const containerStatuses = [{ name: 'pull', state: pulled(timestamp(second(DAY))) }];
  const status = { startTime: timestamp(second(DAY)), containerStatuses };
  const pod = believedTimes(parsePullerPod({ metadata, status }), undefined, { now: second(3000) });
  assert.deepEqual([pod.startedAt, pod.container?.terminated?.finishedAt], [second(50), second(50)]);
});

const anyTime = fc.integer({ min: -10 * DAY, max: 10 * DAY });

test('no time that is believed is before the pod was made, or after it was seen first', () => {
  fc.assert(
    fc.property(
      anyTime,
      anyTime,
      anyTime,
      fc.array(fc.nat(DAY), { minLength: 1 }),
      (start, end, first, looks) => {
        const { pod } = puller()
          .firstAt(first)
          .pulled(end)
          .with({ startedAt: second(start) });
        let before: typeof pod | undefined;
        let now = pod.createdAt;
        const seenAt = now + (looks[0] ?? 0) * 1000;
        for (const after of looks) {
          now += after * 1000;
          before = believedTimes(pod, before, { notBefore: pod.createdAt - 60_000, now });
          const finishedAt = before.container?.terminated?.finishedAt;
          for (const time of [before.startedAt, finishedAt]) {
            assert.ok(time !== undefined && time >= pod.createdAt && time <= seenAt);
          }
          assert.ok(
            before.firstAttemptAt >= pod.createdAt - 60_000 && before.firstAttemptAt <= pod.createdAt,
          );
        }
      },
    ),
  );
});
