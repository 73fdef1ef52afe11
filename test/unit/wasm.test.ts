import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runsWasm } from '../../src/preloads/pods/wasm.ts';
import { gateWorld } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';
import { refusal } from '../support/unit/memory-api.ts';

for (const name of [
  'wasmtime',
  'wasmtime-spin-v2',
  'spin',
  'wasmedge',
  'wasmer',
  'slight',
  'wasmtime-slight-v1',
  'lunatic',
  'wws',
  'crun-wasm',
  'crun-wasmedge',
  'kwasm',
  'WASM',
]) {
  test(`${name} runs WebAssembly`, () => assert.ok(runsWasm(name)));
}

test('others do not, whatever letters their names share', () => {
  for (const name of [
    'runc',
    'gvisor',
    'runsc',
    'kata',
    'kata-qemu',
    'nvidia',
    'crun',
    'spinner',
    'lightspin',
    '',
  ])
    assert.ok(!runsWasm(name), name);
});

const CLASS = '/apis/node.k8s.io/v1/runtimeclasses/edge';

test('where a runtime class runs WebAssembly no puller pod is made, and the rollout begins with words', async () => {
  const world = gateWorld();
  world.api.put(CLASS, { metadata: { name: 'edge' }, handler: 'spin' });
  world.start();
  world.hold(heldObject(updated.podSpec({ runtimeClassName: 'edge' })));
  await world.pass(2000);
  assert.deepEqual([world.pods(), world.web().paused], [[], false]);
  const ready = world.preload().status?.conditions.find(({ type }) => type === 'Ready');
  assert.deepEqual([ready?.status, ready?.reason], ['False', 'NotPreloadable']);
  const told = world.events.find(({ reason }) => reason === 'NotPreloadable');
  assert.match(told?.note ?? '', /the runtime class edge runs WebAssembly: .*nothing is preloaded/);
  assert.ok(world.events.some(({ note }) => note.includes('(NotPreloadable)')));
});

test('while the API server does not answer what the runtime class is, nothing is made', async () => {
  const world = gateWorld();
  world.api.refuse('get', CLASS, refusal(503, 'ServiceUnavailable'), 2);
  world.api.put(CLASS, { metadata: { name: 'edge' }, handler: 'runsc' });
  world.start();
  world.hold(heldObject(updated.podSpec({ runtimeClassName: 'edge' })));
  await world.pass(100);
  assert.deepEqual(world.pods(), []);
  await world.pass(10_000);
  assert.equal(world.pods().length, 2);
});

test('without the right to read it the name decides', async () => {
  const world = gateWorld();
  world.api.refuse('get', 'runtimeclasses', refusal(403, 'Forbidden'), 10);
  world.start();
  world.hold(heldObject(updated.podSpec({ runtimeClassName: 'gvisor' })));
  await world.pass(2000);
  assert.equal(world.pods().length, 2);
});
