import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page, type Results, textTable } from '../stress/faults/results.ts';
import { replaced } from '../support/page-file.ts';

const outcome = (recoverySeconds: number, broken: string[] = []) => ({ recoverySeconds, holds: 4, broken });

function results(broken: string[] = []): Results {
  return {
    day: '2026-01-31',
    kubernetesVersion: '1.37.0',
    nodes: 2,
    minutes: 18,
    faults: [
      {
        what: 'the leader killed',
        from: 'the kill',
        seconds: undefined,
        outcomes: [outcome(16), outcome(12.04), outcome(14, broken)],
      },
      { what: 'etcd stopped', from: 'its end', seconds: 60, outcomes: [outcome(4), outcome(5)] },
    ],
  };
}

test('the page has every fault with median and maximum, and says where and when that was', () => {
  const text = page(results());
  assert.match(text, /\| the leader killed \| 3 \| 12 \| the kill \| 14\.0 s \| 16\.0 s \| 0 \|/);
  assert.match(text, /\| etcd stopped \(60 s\) \| 2 \| 8 \| its end \| 4\.5 s \| 5\.0 s \| 0 \|/);
  assert.match(text, /2026-01-31, Kubernetes\n1\.37\.0, 2 nodes/);
  assert.match(text, /0 in 5 faults/);
  assert.doesNotMatch(text, /## Broken/);
});

test('what was not kept is counted and told', () => {
  const text = page(results(['web is lost:\nheld']));
  assert.match(text, /\| 16\.0 s \| 1 \|/);
  assert.match(text, /1 in 5 faults/);
  assert.match(text, /## Broken\n\n- web is lost: held\n$/);
});

test('the table for a terminal has the same rows', () => {
  const lines = textTable(results()).split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[2] ?? '', /^etcd stopped \(60 s\) +2 +8 +its end +4\.5 s +5\.0 s +0$/);
});

test('each of the two programs that write the page leaves the other part alone', () => {
  const both = replaced(replaced('', 'faults', '# Faults\n'), 'memory', 'flat\n');
  assert.equal(both, '# Faults\n\n## Memory\n\nflat\n');
  assert.equal(replaced(both, 'faults', '# Other\n'), '# Other\n\n## Memory\n\nflat\n');
  assert.equal(replaced(both, 'memory', 'steep'), '# Faults\n\n## Memory\n\nsteep\n');
});
