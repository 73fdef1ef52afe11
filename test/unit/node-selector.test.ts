import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  contradictsTemplate,
  type LabelRequirement,
  narrowed,
  parseNodeSelector,
  SELECTOR_REQUIREMENTS,
} from '../../src/api/node-selector.ts';
import { createBoundedReader } from '../../src/api/template/bounded-reader.ts';
import { readScheduling } from '../../src/api/template/scheduling.ts';
import { eligibleNodes } from '../../src/preloads/nodes/eligible-nodes.ts';
import { node } from '../support/unit/preload-builder.ts';

const requirement = (
  key: string,
  operator: LabelRequirement['operator'],
  ...values: string[]
): LabelRequirement => ({ key, operator, values });

for (const [text, ...want] of [
  ['pool=web', requirement('pool', 'In', 'web')],
  ['pool==web', requirement('pool', 'In', 'web')],
  ['pool = web', requirement('pool', 'In', 'web')],
  ['pool=', requirement('pool', 'In', '')],
  ['pool!=web', requirement('pool', 'NotIn', 'web')],
  ['pool in (a,b)', requirement('pool', 'In', 'a', 'b')],
  ['pool in(a)', requirement('pool', 'In', 'a')],
  ['pool notin ( a , b )', requirement('pool', 'NotIn', 'a', 'b')],
  ['gpu', requirement('gpu', 'Exists')],
  ['in', requirement('in', 'Exists')],
  ['!gpu', requirement('gpu', 'DoesNotExist')],
  ['disk=ssd,disk=ssd', requirement('disk', 'In', 'ssd'), requirement('disk', 'In', 'ssd')],
  [
    'topology.kubernetes.io/zone in (a, b), !gpu,pool=web',
    requirement('topology.kubernetes.io/zone', 'In', 'a', 'b'),
    requirement('gpu', 'DoesNotExist'),
    requirement('pool', 'In', 'web'),
  ],
] as const) {
  test(`${text} is a selector`, () => assert.deepEqual(parseNodeSelector(text), want));
}

for (const text of [
  '',
  ',',
  'pool=web,',
  ',pool=web',
  '=web',
  'pool=a b',
  'pool in',
  'pool in a',
  'pool in ()',
  'pool in (a',
  'pool in (a,)',
  'pool in (a) b',
  'pool>3',
  '! ',
  '!!gpu',
  '!gpu=a',
  'pool=a,pool=b',
  'a/b/c=d',
  'a=b-',
  'a=b\nc=d',
  `${'a'.repeat(64)}`,
  Array.from({ length: SELECTOR_REQUIREMENTS + 1 }, (_, n) => `l${n}`).join(','),
  `pool in (${Array.from({ length: 501 }, (_, n) => n).join(',')})`,
]) {
  test(`${JSON.stringify(text.slice(0, 40))} is no selector`, () =>
    assert.equal(parseNodeSelector(text), undefined));
}

test('a selector contradicts a nodeSelector that no node could meet with it', () => {
  const contradicts = (text: string) =>
    contradictsTemplate(parseNodeSelector(text) ?? [], { spec: { nodeSelector: { disk: 'ssd' } } });
  for (const text of ['disk=hdd', 'disk!=ssd', '!disk', 'disk in (hdd,nvme)', 'pool=a,disk notin (ssd)'])
    assert.ok(contradicts(text), text);
  for (const text of ['disk=ssd', 'disk', 'disk in (hdd,ssd)', 'disk!=hdd', 'pool=a', '!gpu'])
    assert.ok(!contradicts(text), text);
});

/** Names of the nodes where pods of this spec may land. */
function selected(podSpec: Record<string, unknown>, text: string): string[] {
  const nodes = [
    node('plain'),
    node('web', { labels: { pool: 'web' } }),
    node('db', { labels: { pool: 'db' } }),
    node('gpu', { labels: { pool: 'web', gpu: 'yes' } }),
  ];
  const reader = createBoundedReader();
  const scheduling = readScheduling(narrowed(podSpec, parseNodeSelector(text) ?? []), reader);
  assert.equal(reader.refused(), undefined);
  return eligibleNodes(nodes, scheduling).eligible.map(({ name }) => name);
}

const affinity = (...terms: unknown[]) => ({
  affinity: {
    nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } },
  },
});
const inPool = (pool: string) => ({ matchExpressions: [{ key: 'pool', operator: 'In', values: [pool] }] });

test('a selector narrows what the pod template selects', () => {
  assert.deepEqual(selected({}, 'pool=web'), ['gpu', 'web']);
  assert.deepEqual(selected({}, 'pool notin (db)'), ['gpu', 'plain', 'web']);
  assert.deepEqual(selected({}, '!gpu,pool'), ['db', 'web']);
  assert.deepEqual(selected({ nodeSelector: { pool: 'web' } }, '!gpu'), ['web']);
  assert.deepEqual(selected(affinity(inPool('web'), inPool('db')), '!gpu'), ['db', 'web']);
  assert.deepEqual(selected(affinity(inPool('web')), 'pool in (db,web),gpu'), ['gpu']);
});

test('a selector never makes a term that matches nothing match', () => {
  assert.deepEqual(selected(affinity({}), '!gpu'), []);
  assert.deepEqual(selected(affinity(), '!gpu'), []);
});

test('any text is read in time that grows with its length alone', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200, unit: 'binary' }), (text) => {
      const parsed = parseNodeSelector(text);
      assert.ok(parsed === undefined || parsed.length > 0);
    }),
  );
});
