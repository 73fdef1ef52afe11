import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseContainerdEvent } from '../cluster/lab/containerd-events.ts';

const LINE = '2026-11-21 14:53:10.11258289 +0000 UTC k8s.io /tasks/exit {"id":"1","exit_status":137}';

test('an event of containerd: when, what, of which', () => {
  assert.deepEqual(parseContainerdEvent(LINE), {
    at: Date.parse('2026-11-21T14:53:10.112Z'),
    topic: '/tasks/exit',
    event: { id: '1', exit_status: 137 },
  });
  assert.equal(
    parseContainerdEvent(LINE.replace('.11258289', ''))?.at,
    Date.parse('2026-11-21T14:53:10Z'),
    'Go leaves a fraction of zero out',
  );
});

test('half a line is none, wherever it was cut', () => {
  for (let length = 0; length < LINE.length; length += 1) {
    assert.equal(parseContainerdEvent(LINE.slice(0, length)), undefined);
  }
  assert.equal(parseContainerdEvent(LINE.replace(/}$/, ',}')), undefined);
});
