import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Scheduling } from '../../src/api/template/scheduling.ts';
import { eligibleNodes } from '../../src/preloads/nodes/eligible-nodes.ts';
import { parseNode } from '../../src/preloads/nodes/node.ts';

interface RawNode {
  name?: string;
  labels?: Record<string, string>;
  ready?: string;
  unschedulable?: boolean;
  taints?: { key: string; value?: string; effect: string }[];
  deletionTimestamp?: string;
  capacity?: Record<string, string | number>;
}

/** As the API server sends it, a ready Linux node unless told otherwise. */
function rawNode(raw: RawNode) {
  const { name = 'node-a', labels = {}, ready = 'True', deletionTimestamp, capacity, ...spec } = raw;
  return {
    metadata: {
      name,
      uid: `uid-${name}`,
      labels: { 'kubernetes.io/os': 'linux', ...labels },
      deletionTimestamp,
    },
    spec,
    status: {
      capacity,
      conditions: [
        { type: 'MemoryPressure', status: 'False' },
        { type: 'Ready', status: ready },
      ],
    },
  };
}

const node = (raw: RawNode = {}) => parseNode(rawNode(raw));
const reasons = (raw: RawNode, scheduling: Scheduling = {}) =>
  eligibleNodes([node(raw)], scheduling).excluded.map(({ reason }) => reason);

const inZone = (zone: string): Scheduling => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator: 'In', values: [zone] }] }],
      },
    },
  },
});
const notReadyTaint = { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' };
const cordonTaint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

test('a ready Linux node is eligible', () => {
  assert.deepEqual(eligibleNodes([node()], {}), { eligible: [node()], excluded: [] });
});

test('a node that is cordoned is left out', () => {
  assert.deepEqual(reasons({ unschedulable: true, taints: [cordonTaint] }), ['Cordoned']);
});

test('a node that is not ready is left out as that, and not for the taints that come with it', () => {
  assert.deepEqual(reasons({ ready: 'False', taints: [notReadyTaint] }), ['NotReady']);
  assert.deepEqual(reasons({ ready: 'Unknown', taints: [notReadyTaint] }), ['NotReady']);
});

test('a node that has never reported is not ready', () => {
  const silent = parseNode({ metadata: { name: 'new', labels: { 'kubernetes.io/os': 'linux' } } });
  assert.deepEqual(eligibleNodes([silent], {}).excluded, [
    { reason: 'NotReady', count: 1, node: silent.name },
  ]);
});

test('a node that is being deleted is left out', () => {
  assert.deepEqual(reasons({ deletionTimestamp: '2026-01-01T00:00:00Z', unschedulable: true }), ['Deleting']);
});

test('a node with another operating system is left out', () => {
  assert.deepEqual(reasons({ labels: { 'kubernetes.io/os': 'windows' } }), ['OperatingSystem']);
});

test('the operating system is known without the label too', () => {
  const parsed = parseNode({ status: { nodeInfo: { operatingSystem: 'windows' } } });
  assert.equal(parsed.os, 'windows');
});

test('a node without the labels of the nodeSelector is left out', () => {
  const scheduling = { nodeSelector: { disk: 'ssd', zone: 'a' } };
  assert.deepEqual(reasons({ labels: { disk: 'ssd' } }, scheduling), ['NodeSelector']);
  assert.deepEqual(reasons({ labels: { disk: 'ssd', zone: 'b' } }, scheduling), ['NodeSelector']);
  assert.deepEqual(reasons({ labels: { disk: 'ssd', zone: 'a' } }, scheduling), []);
});

test('a node outside the required node affinity is left out', () => {
  assert.deepEqual(reasons({ labels: { zone: 'b' } }, inZone('a')), ['NodeAffinity']);
  assert.deepEqual(reasons({ labels: { zone: 'a' } }, inZone('a')), []);
});

test('a node with a taint that is not tolerated is left out', () => {
  const taints = [{ key: 'dedicated', value: 'db', effect: 'NoSchedule' }];
  assert.deepEqual(reasons({ taints }), ['Taint']);
  assert.deepEqual(reasons({ taints }, { tolerations: [{ key: 'dedicated', operator: 'Exists' }] }), []);
});

const capacity = { cpu: '4', memory: '16Gi', pods: '110', 'example.com/gpu': '0' };

test('a node whose capacity can never hold the pods is left out', () => {
  const lacking = (requests: Record<string, string>) => reasons({ capacity }, { requests });
  for (const requests of [
    { cpu: '4001m' },
    { memory: '16385Mi' },
    { cpu: '1', 'example.com/gpu': '1' },
    { 'example.com/fpga': '1' },
    { 'hugepages-2Mi': '64Mi' },
  ] as unknown as Record<string, string>[])
    assert.deepEqual(lacking(requests), ['Resources'], JSON.stringify(requests));
  assert.deepEqual(lacking({ cpu: '4', memory: '16Gi', 'ephemeral-storage': '1Gi' }), []);
  assert.deepEqual(lacking({ cpu: '4000m', 'example.com/gpu': '0' }), []);
  assert.deepEqual(lacking({ cpu: 'much' }), []);
});

test('a node that has not reported its capacity is not left out for it', () => {
  assert.deepEqual(reasons({}, { requests: { cpu: '4', 'example.com/gpu': '1' } }), []);
  const many = Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`example.com/r${n}`, '1']));
  assert.deepEqual(reasons({ capacity: many }, { requests: { 'example.com/gpu': '1' } }), []);
});

test('a node that lacks a resource is left out for a taint that would keep the pods away with the resource', () => {
  const scheduling = { requests: { 'example.com/gpu': '1' } };
  const taints = [{ key: 'dedicated', effect: 'NoSchedule' }];
  assert.deepEqual(reasons({ capacity, taints }, scheduling), ['Taint']);
  assert.deepEqual(reasons({ capacity, ready: 'False', taints: [notReadyTaint] }, scheduling), ['Resources']);
});

test('pods that name their node land on that one alone, cordoned or not', () => {
  const scheduling = { nodeName: 'node-a' };
  assert.deepEqual(reasons({ name: 'node-b' }, scheduling), ['NodeName']);
  assert.deepEqual(reasons({ unschedulable: true, taints: [cordonTaint] }, scheduling), []);
  assert.deepEqual(reasons({ taints: [{ key: 'dedicated', effect: 'NoSchedule' }] }, scheduling), []);
  assert.deepEqual(reasons({ taints: [{ key: 'dedicated', effect: 'NoExecute' }] }, scheduling), ['Taint']);
  assert.deepEqual(reasons({ ready: 'False' }, scheduling), ['NotReady']);
  assert.deepEqual(reasons({ labels: { zone: 'b' } }, { ...scheduling, ...inZone('a') }), ['NodeAffinity']);
});

test('a startup taint leaves no node out, whatever its effect', () => {
  for (const effect of ['NoSchedule', 'NoExecute']) {
    const taints = [
      { key: 'pullgate.io/images-not-ready', effect },
      { key: 'startup-taint.cluster-autoscaler.kubernetes.io/disk', value: 'true', effect },
    ];
    assert.deepEqual(reasons({ taints }), []);
    assert.deepEqual(reasons({ taints: [...taints, { key: 'gpu', effect }] }), ['Taint']);
  }
});

test('a virtual node is left out as that, tolerated or not', () => {
  const all = { tolerations: [{ operator: 'Exists' }] };
  for (const raw of [
    { labels: { type: 'virtual-kubelet' } },
    { labels: { 'eks.amazonaws.com/compute-type': 'fargate' } },
    { labels: { 'node.kubernetes.io/instance-type': 'eklet' } },
    { labels: { 'liqo.io/type': 'virtual-node' } },
    { taints: [{ key: 'virtual-kubelet.io/provider', value: 'azure', effect: 'NoSchedule' }] },
  ]) {
    assert.deepEqual(reasons(raw), ['VirtualNode']);
    assert.deepEqual(reasons(raw, all), ['VirtualNode']);
  }
  assert.deepEqual(reasons({ labels: { 'eks.amazonaws.com/compute-type': 'ec2' } }), []);
});

test('a node of another operating system or a virtual one that the pods do not select is not selected', () => {
  const scheduling = { nodeSelector: { disk: 'ssd' } };
  assert.deepEqual(reasons({ labels: { 'kubernetes.io/os': 'windows' } }, scheduling), ['NodeSelector']);
  assert.deepEqual(reasons({ labels: { type: 'virtual-kubelet' } }, scheduling), ['NodeSelector']);
});

test('a node where the pods could never land is that, whatever else is wrong with it', () => {
  const broken: RawNode = { ready: 'False', unschedulable: true, deletionTimestamp: '2026-01-01T00:00:00Z' };
  assert.deepEqual(reasons(broken, { nodeSelector: { disk: 'ssd' } }), ['NodeSelector']);
  assert.deepEqual(reasons(broken, inZone('a')), ['NodeAffinity']);
  assert.deepEqual(reasons({ ...broken, labels: { 'kubernetes.io/os': 'windows' } }), ['OperatingSystem']);
});

const anyNode = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    labels: fc.dictionary(fc.constantFrom('zone', 'disk'), fc.constantFrom('a', 'b')),
    ready: fc.constantFrom('True', 'False', 'Unknown'),
    unschedulable: fc.boolean(),
    taints: fc.array(fc.constantFrom(notReadyTaint, cordonTaint), { maxLength: 2 }),
  })
  .map(node);
const anyScheduling = fc.constantFrom<Scheduling>({}, { nodeSelector: { disk: 'a' } }, inZone('a'), {
  tolerations: [{ operator: 'Exists' }],
});

test('every node is either eligible or counted once', () => {
  fc.assert(
    fc.property(fc.array(anyNode), anyScheduling, (nodes, scheduling) => {
      const { eligible, excluded } = eligibleNodes(nodes, scheduling);
      assert.equal(eligible.length + excluded.reduce((sum, { count }) => sum + count, 0), nodes.length);
      assert.ok(excluded.every(({ count }) => count > 0));
    }),
  );
});

test('the answer does not depend on the order of the nodes', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyNode, { selector: ({ name }) => name }),
      anyScheduling,
      (nodes, scheduling) => {
        const answer = eligibleNodes(nodes, scheduling);
        assert.deepEqual(eligibleNodes(nodes.toReversed(), scheduling), answer);
        const names = answer.eligible.map(({ name }) => name);
        assert.ok(names.every((name, index) => index === 0 || (names[index - 1] ?? name) < name));
      },
    ),
  );
});

test('the images of a node are all the names it reports', () => {
  const images = [
    { names: ['example.com/app@sha256:0123', 'example.com/app:1'], sizeBytes: 7 },
    { names: null },
    { names: ['example.com/db:2', 3] },
  ];
  assert.deepEqual(
    parseNode({ status: { images } }).images,
    new Set(['example.com/app@sha256:0123', 'example.com/app:1', 'example.com/db:2']),
  );
});

test('any JSON reads as a node', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (raw) => {
      assert.equal(typeof parseNode(raw).ready, 'boolean');
    }),
  );
});
