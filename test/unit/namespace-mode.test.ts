import assert from 'node:assert/strict';
import { test } from 'node:test';
import { APPROVAL_LABEL, MODE_LABEL, MODES } from '../../src/api/names.ts';
import {
  approvalLabelEvent,
  modeEvent,
  modeOf,
  parseNamespace,
} from '../../src/deployments/namespace-mode.ts';

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

test('an approval label that does nothing causes an Event', () => {
  const noteOf = (approval: string, mode?: string) =>
    approvalLabelEvent(
      parseNamespace({
        metadata: { labels: { [APPROVAL_LABEL]: approval, ...(mode && { [MODE_LABEL]: mode }) } },
      }),
    )?.note;
  for (const mode of ['pause', 'reject']) {
    assert.equal(noteOf('required', mode), undefined);
    assert.match(noteOf('true', mode) ?? '', /its value does nothing; set it to: required$/);
  }
  assert.match(
    noteOf('required', 'audit') ?? '',
    /nothing is held in a namespace of mode audit; set pullgate.io\/mode=pause$/,
  );
  assert.match(noteOf('required') ?? '', /nothing is held in a namespace without a mode/);
  assert.equal(approvalLabelEvent(shop('pause')), undefined);
});
