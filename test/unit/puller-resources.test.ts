import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  areConsistent,
  fitResources,
  PULLER_REQUESTS,
  PULLER_RESOURCES,
  parseLimitRanges,
  parseQuantities,
} from '../../src/preloads/pods/puller-resources.ts';

const range = (type: string, rules: object) => [{ spec: { limits: [{ type, ...rules }] } }];
const fit = (...items: object[][]) => fitResources(PULLER_RESOURCES, parseLimitRanges(items.flat()));

for (const type of ['Container', 'Pod']) {
  test(`limits of a ${type}: a minimum raises, a maximum lowers, and a ratio raises the request`, () => {
    const min = fit(range(type, { min: { memory: '128Mi', cpu: '5m' } }));
    assert.deepEqual([min.requests.memory, min.limits.memory], ['128Mi', '128Mi']);
    assert.deepEqual([min.requests.cpu, min.limits.cpu], ['10m', '100m']);
    const max = fit(range(type, { max: { memory: '32Mi', cpu: '50m' } }));
    assert.deepEqual(max, {
      requests: { cpu: '10m', memory: '16Mi' },
      limits: { cpu: '50m', memory: '32Mi' },
    });
    const ratio = fit(range(type, { maxLimitRequestRatio: { cpu: '4', memory: '1' } }));
    assert.deepEqual(ratio.requests, { cpu: '25m', memory: String(64 * 2 ** 20) });
  });
}

test('all of them count, and what is of something else or unreadable does not', () => {
  const all = fit(range('Container', { min: { cpu: '20m' } }), range('Pod', { min: { cpu: '30m' } }));
  assert.equal(all.requests.cpu, '30m');
  assert.deepEqual(fit(range('PersistentVolumeClaim', { min: { memory: '1Gi' } })), PULLER_RESOURCES);
  assert.deepEqual(fit(range('Container', { min: { memory: 'lots' }, max: 7 })), PULLER_RESOURCES);
  assert.deepEqual(fit([{}]), PULLER_RESOURCES);
});

test('whatever the LimitRanges, a limit is not below its request', () => {
  assert.ok(areConsistent(PULLER_RESOURCES));
  for (const rules of [
    { min: { memory: '1Gi' } },
    { max: { memory: '1Mi', cpu: '1m' } },
    { maxLimitRequestRatio: { cpu: '1', memory: '1.5' } },
  ])
    assert.ok(areConsistent(fit(range('Container', rules))), JSON.stringify(rules));
});

test('quantities are read as kubectl takes them', () => {
  assert.deepEqual(parseQuantities('cpu=50m', PULLER_REQUESTS), { cpu: '50m', memory: '16Mi' });
  assert.deepEqual(parseQuantities('cpu=1, memory=1Gi', PULLER_REQUESTS), { cpu: '1', memory: '1Gi' });
  for (const text of ['', 'cpu', 'cpu=', 'cpu=0', 'gpu=1', 'cpu=1;memory=1', 'memory=-1'])
    assert.equal(parseQuantities(text, PULLER_REQUESTS), undefined, text);
});
