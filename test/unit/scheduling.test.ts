import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBoundedReader } from '../../src/api/template/bounded-reader.ts';
import { readScheduling, SCHEDULING_LIMITS } from '../../src/api/template/scheduling.ts';

function read(podSpec: unknown) {
  const reader = createBoundedReader();
  return { scheduling: readScheduling(podSpec, reader), refused: reader.refused() };
}
const schedulingOf = (podSpec: unknown) => read(podSpec).scheduling;
const required = (nodeSelector: unknown) => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: nodeSelector } },
});
const terms = (...nodeSelectorTerms: unknown[]) => required({ nodeSelectorTerms });
const many = <T>(count: number, entry: T): T[] => Array.from({ length: count }, () => entry);

test('scheduling is what of a pod spec says where its pods may land, and nothing else', () => {
  const required = { nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator: 'Exists' }] }] };
  const podSpec = {
    containers: [{ name: 'app', image: 'example.com/app:1' }],
    nodeSelector: { disk: 'ssd' },
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: required,
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, preference: {} }],
      },
      podAntiAffinity: {},
    },
    tolerations: [{ key: 'dedicated', operator: 'Exists' }],
    runtimeClassName: 'gvisor',
  };
  assert.deepEqual(JSON.parse(JSON.stringify(schedulingOf(podSpec))), {
    nodeSelector: { disk: 'ssd' },
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } },
    tolerations: [{ key: 'dedicated', operator: 'Exists' }],
    runtimeClassName: 'gvisor',
  });
});

test('scheduling that is read, written and read again stays the same', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (podSpec) => {
      const once = schedulingOf(podSpec);
      assert.deepEqual(schedulingOf({ ...once }), once);
    }),
  );
});

test('a node by name and requests are read as they are, and people may write a quantity as a number', () => {
  assert.deepEqual(read({ nodeName: 'n1', requests: { cpu: '500m', 'nvidia.com/gpu': 2 } }), {
    scheduling: { nodeName: 'n1', requests: { cpu: '500m', 'nvidia.com/gpu': '2' } },
    refused: undefined,
  });
  assert.match(read({ requests: { cpu: {} } }).refused ?? '', /a value of requests is not a string/);
  const tooMany = Object.fromEntries(many(101, '1').map((value, index) => [`example.com/r${index}`, value]));
  assert.match(read({ requests: tooMany }).refused ?? '', /requests has 101 entries, more than 100/);
});

test('a pod spec without any of it can land everywhere', () => {
  assert.deepEqual(schedulingOf({ containers: [], affinity: { podAffinity: {} }, tolerations: null }), {});
});

test('tolerations are read as they will be written back', () => {
  const tolerations = [
    { key: 'a', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
    { key: 'b', operator: 'Equal', value: 'c' },
    { operator: 'Exists' },
  ];
  assert.deepEqual(read({ tolerations }), { scheduling: { tolerations }, refused: undefined });
});

const zone = { key: 'zone', operator: 'In', values: ['a'] };
const limits = SCHEDULING_LIMITS;

for (const [what, podSpec, words] of [
  [
    'tolerations',
    { tolerations: many(101, { operator: 'Exists' }) },
    'tolerations has 101 entries, more than 100',
  ],
  [
    'labels in a node selector',
    { nodeSelector: Object.fromEntries(many(101, 0).map((_, n) => [`k${n}`, 'v'])) },
    'nodeSelector has 101 entries, more than 100',
  ],
  [
    'terms',
    terms(...many(limits.terms + 1, { matchExpressions: [zone] })),
    'nodeSelectorTerms has 101 entries, more than 100',
  ],
  [
    'requirements in a term',
    terms({ matchExpressions: many(limits.requirements + 1, zone) }),
    'matchExpressions has 101 entries, more than 100',
  ],
  [
    'fields in a term',
    terms({ matchFields: many(limits.requirements + 1, zone) }),
    'matchFields has 101 entries, more than 100',
  ],
  [
    'values of a requirement',
    terms({ matchExpressions: [{ ...zone, values: many(limits.values + 1, 'a') }] }),
    'the values of a requirement of nodeAffinity has 501 entries, more than 500',
  ],
] as const) {
  test(`too many ${what} are refused as a whole, in words`, () => {
    assert.equal(read(podSpec).refused, words);
  });
}

const long = 'x'.repeat(1000);
for (const [what, podSpec] of [
  ['the key of a node selector', { nodeSelector: { [long]: 'a' } }],
  ['the value of a node selector', { nodeSelector: { a: long } }],
  ['the name of a runtime class', { runtimeClassName: long }],
  ...['key', 'operator', 'value', 'effect'].map(
    (field) => [`the ${field} of a toleration`, { tolerations: [{ [field]: long }] }] as const,
  ),
  ...['key', 'operator'].map(
    (field) =>
      [`the ${field} of a requirement`, terms({ matchExpressions: [{ ...zone, [field]: long }] })] as const,
  ),
  ['a value of a requirement', terms({ matchFields: [{ ...zone, values: [long] }] })],
] as const) {
  test(`${what} that is too long is refused`, () => {
    assert.match(read(podSpec).refused ?? '', /has 1000 characters, more than \d+$/);
  });
}

/** Left out, each of these would make more nodes eligible. */
for (const [what, podSpec] of [
  ['a node selector that is no map', { nodeSelector: ['a'] }],
  ['a label that is no text', { nodeSelector: { a: 1 } }],
  ['a label that no object can have', { nodeSelector: JSON.parse('{"__proto__":"a"}') }],
  ['an affinity that is a list', { affinity: [] }],
  ['a node affinity that is a text', { affinity: { nodeAffinity: 'a' } }],
  ['a required node affinity that is a list', required([])],
  ['terms that are no list', required({ nodeSelectorTerms: { a: 1 } })],
  ['a term that is no object', terms('a')],
  ['expressions that are no list', terms({ matchExpressions: 'a' })],
  ['a requirement that is no object', terms({ matchExpressions: ['a', zone] })],
  [
    'a value that is no text',
    terms({ matchExpressions: [{ ...zone, operator: 'NotIn', values: ['a', 7] }] }),
  ],
  ['a toleration whose key is no text', { tolerations: [{ key: 7, operator: 'Exists' }] }],
] as const) {
  test(`${what} is refused, not passed over`, () => {
    assert.match(read(podSpec).refused ?? '', /is not an? |has the key __proto__/);
  });
}

test('what nests thousands of levels deep is not kept', () => {
  const deep = JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`);
  const { scheduling, refused } = read(required({ x: deep }));
  assert.equal(refused, undefined);
  assert.deepEqual(scheduling, required({ nodeSelectorTerms: [] }));
});
