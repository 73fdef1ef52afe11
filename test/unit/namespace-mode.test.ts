import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODE_LABEL, MODES } from '../../src/api/names.ts';
import { modeEvent, modeOf, parseNamespace } from '../../src/deployments/namespace-mode.ts';

const shop = (mode: unknown) =>
  parseNamespace({ metadata: { name: 'shop', uid: 'uid-shop', labels: { [MODE_LABEL]: mode } } });

test('a mode opts a namespace in, and nothing is told of it', () => {
  for (const mode of MODES) {
    assert.equal(modeOf(shop(mode)), mode);
    assert.equal(modeEvent(shop(mode)), undefined);
  }
  assert.equal(modeEvent(shop(undefined)), undefined);
});

test('a label that is no mode gates nothing and is told of', () => {
  for (const mode of ['off', 'Pause', 'pause ', '__proto__', '']) {
    assert.equal(modeOf(shop(mode)), undefined);
    assert.match(modeEvent(shop(mode))?.note ?? '', new RegExp(`^${MODE_LABEL}=${mode} is not a mode`));
  }
});

test('a label that no API server would store is cut before anybody is told of it', () => {
  const { mode, ...rest } = shop('x'.repeat(1_000_000));
  assert.equal(mode?.length, 63);
  const told = modeEvent({ mode, ...rest });
  assert.ok(told !== undefined && told.note.length < 300 && told.dedupKey.length < 100);
});
