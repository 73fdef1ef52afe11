import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImagePreload } from '../../src/api/image-preload.ts';
import { createPullSharers } from '../../src/preloads/pods/pull-sharers.ts';
import { createPreloadStates, ownerKey } from '../../src/preloads/preload-state.ts';
import { at, images, preload } from '../support/unit/preload-builder.ts';

const KEY = 'shop/web-1';

function states() {
  const forgotten: { key: string; uid: string; needed: number }[] = [];
  const sharers = createPullSharers();
  const all = createPreloadStates({
    clock: { now: () => at(0) },
    absentMs: 1000,
    sharers,
    onForgotten: (key, { uid }, needed) => forgotten.push({ key, uid, needed: needed.length }),
  });
  return { all, sharers, forgotten };
}

test('a preload keeps its state for as long as it is the same object and spec', () => {
  const { all, forgotten } = states();
  const state = all.of(KEY, preload());
  assert.equal(all.of(KEY, preload()), state);
  assert.deepEqual(forgotten, []);
  assert.deepEqual([...all].length, 1);
});

test('a preload of the same name that was created again, or whose spec was edited, begins anew', () => {
  for (const change of [{ uid: 'another' }, { generation: 2 }]) {
    const { all, forgotten } = states();
    const first = all.of(KEY, preload());
    const second = all.of(KEY, { ...preload(), ...change });
    assert.notEqual(second, first);
    // The pull is still needed under this name, so its pods are not for others to delete.
    assert.deepEqual(forgotten, [{ key: KEY, uid: first.uid, needed: 1 }]);
  }
});

test('one image under two names is two pulls, and one image twice is one pull', () => {
  const { all } = states();
  const pullsOf = (...names: string[]) =>
    all.of(KEY, { ...preload({ images: images(...names) }), uid: names.join() }).pulls.length;
  assert.equal(pullsOf('a:1', 'b:1'), 2);
  assert.equal(pullsOf('a:1', 'a:1'), 1);
});

test('a forgotten preload is no longer found by its owner, its request or its pulls', () => {
  const { all, sharers } = states();
  const stored: ImagePreload = preload();
  const owner = ownerKey(stored);
  const state = all.of(KEY, stored);
  all.noteRequest(KEY, state, owner);
  const [pull] = state.pulls;
  assert.ok(pull);
  assert.deepEqual(
    [[...all.ownedBy(owner)], [...all.requestedFor(owner)], [...sharers.keysOf(pull)]],
    [[KEY], [KEY], [KEY]],
  );
  all.forget(KEY);
  assert.deepEqual(
    [[...all.ownedBy(owner)], [...all.requestedFor(owner)], [...sharers.keysOf(pull)], all.get(KEY)],
    [[], [], [], undefined],
  );
});

test('an update that is no longer waited for leaves the requests of its owner', () => {
  const { all } = states();
  const state = all.of(KEY, preload());
  all.noteRequest(KEY, state, 'shop/uid-web');
  all.noteRequest(KEY, state, undefined);
  assert.deepEqual([...all.requestedFor('shop/uid-web')], []);
});
