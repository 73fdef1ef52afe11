import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GOOD, gatedCritical } from '../demo/example-results.ts';
import { markdownTable, textTable } from '../demo/table.ts';

test('the table is led by the seconds without a ready pod, ungated against gated', () => {
  const [head, title, first, second] = textTable(GOOD).split('\n');
  assert.match(head ?? '', /^ +UNGATED +GATED$/);
  assert.match(title ?? '', /^Seconds without a ready pod/);
  assert.match(first ?? '', /new image, 300 MB +35\.7 s +3\.1 s$/);
  assert.match(second ?? '', /does not exist +20\.4 s, down until set back +0\.0 s$/);
});

test('the columns of the table stand one below the other', () => {
  const lines = textTable(gatedCritical({ withoutReadyPod: 1234.5 })).split('\n');
  const column = (lines[0] ?? '').indexOf('GATED', (lines[0] ?? '').indexOf('UNGATED') + 'UNGATED'.length);
  const cells = lines.filter((line) => line.startsWith('  ')).map((line) => line.slice(column - 1));
  assert.ok(cells.length > 10);
  for (const cell of cells) assert.match(cell, /^( \S.*)?$/);
});

test('preload, own pull, rollout and the start of every pod are in the table', () => {
  const row = (title: string) =>
    textTable(GOOD)
      .split('\n')
      .find((line) => line.includes(title));
  assert.match(row('preload: single replica') ?? '', /held +31\.9 s$/);
  assert.match(
    row("kubelet's own pull") ?? '',
    /node-1 30\.6 s, node-2 30\.0 s +node-1 30\.7 s, node-2 30\.2 s$/,
  );
  assert.match(row('rollout: three') ?? '', /35\.7 s +3\.0 s$/);
  assert.match(row('pod start: three') ?? '', /31\.0 s, 1\.0 s, 1\.0 s +0\.9 s, 1\.3 s, 1\.0 s$/);
  assert.match(row('kubectl rollout status') ?? '', /failed after 20\.1 s +failed after 2\.3 s$/);
  assert.match(row("registry's words") ?? '', /no +yes$/);
});

test('of several pods that waited for one pull on a node, the longest wait is the pull', () => {
  const shorter = { pod: 'second', node: 'node-1', seconds: 12, secondsWithWaiting: 12 };
  const ungated = { ...GOOD.ungated, pulls: [shorter, ...GOOD.ungated.pulls] };
  assert.match(textTable({ ...GOOD, ungated }), /per node +node-1 30\.6 s, node-2 30\.0 s/);
});

test('a pod that was never seen running is said to be so', () => {
  const lost = gatedCritical({ starts: [{ pod: 'lost', seconds: Number.POSITIVE_INFINITY }] });
  assert.match(textTable(lost), /pod start: single replica +31\.3 s +never/);
});

test('every row of the Markdown table has three cells', () => {
  const lines = markdownTable(GOOD).split('\n');
  assert.equal(lines[0], '| | ungated | gated |');
  for (const line of lines) assert.equal(line.split('|').length, 5, line);
  assert.ok(lines.includes('| new image, 300 MB | 35.7 s | 3.1 s |'));
});
