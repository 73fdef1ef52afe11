import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GOOD, gatedCritical, missing } from '../demo/example-results.ts';
import type { Results } from '../demo/results.ts';
import { brokenPromises } from '../demo/verdict.ts';

function breaks(results: Results, ...expected: string[]): void {
  assert.deepEqual(brokenPromises(results), expected);
}

function ungatedDownFor(withoutReadyPod: number): Results {
  const { ungated } = GOOD;
  return { ...GOOD, ungated: { ...ungated, critical: { ...ungated.critical, withoutReadyPod } } };
}

test('a demo that goes well breaks no promise', () => {
  breaks(GOOD);
});

test('an ungated single replica that was down for less than its pull is no comparison', () => {
  breaks(
    ungatedDownFor(30.5),
    '(a) the ungated single replica had no ready pod for 30.5 s, less than its pull took (30.6 s)',
  );
  breaks(ungatedDownFor(30.6));
});

test('an ungated single replica that found its image on the node is no comparison', () => {
  const pulls = GOOD.ungated.pulls.filter(({ pod }) => pod !== 'pod-1');
  breaks(
    { ...GOOD, ungated: { ...GOOD.ungated, pulls } },
    '(a) the ungated single replica started without a pull of its own',
  );
});

test('every gated pod starts within 5 s of its creation', () => {
  const late = [
    { pod: 'in-time', seconds: 5 },
    { pod: 'late', seconds: 5.1 },
  ];
  breaks(
    gatedCritical({ starts: late }),
    '(b) the gated pod late started 5.1 s after its creation, more than 5 s',
  );
  breaks(
    gatedCritical({ starts: [{ pod: 'lost', seconds: Number.POSITIVE_INFINITY }] }),
    '(b) the gated pod lost started never after its creation, more than 5 s',
  );
});

test('a Deployment of which no new pod was seen has not been upgraded', () => {
  breaks(gatedCritical({ starts: [] }), '(b) no new pod of critical was seen');
});

test("a hold is at most 2 s longer than the slowest kubelet's own pull", () => {
  breaks(gatedCritical({ held: 32.7 }));
  breaks(
    gatedCritical({ held: 32.8 }),
    "(b) critical was held for 32.8 s, more than 2 s longer than the slowest kubelet's own pull (30.7 s)",
  );
});

test('an update that was not held is a broken promise', () => {
  const { held: _held, ...critical } = GOOD.gated.critical;
  breaks({ ...GOOD, gated: { ...GOOD.gated, critical } }, '(b) the update of critical was not held');
});

test('every node has pulled, by the word of its own kubelet', () => {
  const pulls = GOOD.gated.pulls.slice(0, 1);
  breaks({ ...GOOD, gated: { ...GOOD.gated, pulls } }, "(b) no kubelet's word of a pull on node-2");
});

test('the ungated single replica stays down on a tag that does not exist', () => {
  breaks(missing('ungated', { readyPods: 1 }), '(c) the ungated single replica did not stay down');
});

test('the gated single replica never has a moment without a ready pod', () => {
  breaks(
    missing('gated', { withoutReadyPod: 0.04 }),
    '(c) the gated single replica had no ready pod for 0.0 s',
  );
});

test("the registry's words are in an event", () => {
  const { registryMessage: _words, ...gated } = GOOD.missing.gated;
  breaks(
    { ...GOOD, missing: { ...GOOD.missing, gated } },
    "(c) no event of the Deployment holds the registry's words",
  );
});

test('kubectl rollout status fails, and within 15 s', () => {
  const { rolloutStatus } = GOOD.missing.gated;
  breaks(
    missing('gated', { rolloutStatus: { ...rolloutStatus, exitCode: 0 } }),
    '(c) kubectl rollout status did not fail',
  );
  breaks(missing('gated', { rolloutStatus: { ...rolloutStatus, seconds: 15 } }));
  breaks(
    missing('gated', { rolloutStatus: { ...rolloutStatus, seconds: 15.1 } }),
    '(c) kubectl rollout status failed only 15.1 s after the update, more than 15 s',
  );
});
