import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { podRequests } from '../../src/api/template/pod-requests.ts';
import { formatQuantity, parseQuantity } from '../../src/api/template/quantity.ts';

const asks = (requests: object, more: object = {}) => ({ resources: { requests }, ...more });

describe('a pod requests', () => {
  for (const [what, spec, expected] of [
    ['nothing', { containers: [{ name: 'app' }] }, {}],
    [
      'the sum of its containers',
      { containers: [asks({ cpu: '250m', memory: '1Gi' }), asks({ cpu: '1', memory: '512Mi' })] },
      { cpu: '1250m', memory: String(1.5 * 2 ** 30) },
    ],
    [
      'what is limited where nothing is requested, such as a GPU',
      {
        containers: [{ resources: { limits: { 'nvidia.com/gpu': '2', cpu: '4' }, requests: { cpu: '1' } } }],
      },
      { 'nvidia.com/gpu': '2', cpu: '1' },
    ],
    [
      'what its largest init container requests, if that is more',
      { initContainers: [asks({ cpu: '3' }), asks({ cpu: '2' })], containers: [asks({ cpu: '1' })] },
      { cpu: '3' },
    ],
    [
      'its native sidecars beside its containers, and beside the init containers after them',
      {
        initContainers: [
          asks({ cpu: '3' }),
          asks({ cpu: '1' }, { restartPolicy: 'Always' }),
          asks({ cpu: '3', memory: '10' }),
        ],
        containers: [asks({ cpu: '1', memory: '20' })],
      },
      { cpu: '4', memory: '20' },
    ],
    [
      'what is requested for the pod as a whole, and not the sum',
      { resources: { requests: { cpu: '5' } }, containers: [asks({ cpu: '1', memory: '1' })] },
      { cpu: '5', memory: '1' },
    ],
    [
      'the overhead of its runtime class on top of it all',
      { overhead: { cpu: '250m', memory: '120Mi' }, containers: [asks({ cpu: '1' })] },
      { cpu: '1250m', memory: String(120 * 2 ** 20) },
    ],
    ['nothing of what is no quantity', { containers: [asks({ cpu: 'much', memory: {}, disk: '0' })] }, {}],
  ] as const) {
    test(what, () => assert.deepEqual(podRequests(spec), expected));
  }
});

test('a quantity is read with each suffix of Kubernetes', () => {
  for (const [text, value] of [
    ['500m', 0.5],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['.5', 0.5],
    ['5.', 5],
    ['250000u', 0.25],
    ['1e3', 1000],
    ['1E', 1e18],
    ['2Ei', 2 ** 61],
    ['-1k', -1000],
  ] as const)
    assert.equal(parseQuantity(text), value, text);
  for (const text of ['', 'm', '1 Gi', '1KB', '1e', '0x1', 'Infinity', `1${'0'.repeat(70)}`])
    assert.equal(parseQuantity(text), undefined, text);
});

test('a quantity is written so that it reads back as at least the same', () => {
  for (const value of [0.0001, 0.1 + 0.2, 1, 1.25, 2 ** 40, 5e21]) {
    const text = formatQuantity(value);
    assert.ok((parseQuantity(text) ?? 0) >= value * (1 - 1e-9), text);
  }
  assert.equal(formatQuantity(0.1 + 0.2), '300m');
});
