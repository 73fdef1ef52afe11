import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBoundedReader } from '../../src/api/template/bounded-reader.ts';
import { readScheduling } from '../../src/api/template/scheduling.ts';
import { nodeAffinity } from '../../src/preloads/nodes/node-affinity.ts';

/** As it is read from a pod template. */
function matchesNodeAffinity(
  required: unknown,
  one: { name: string; labels: Record<string, string> },
): boolean {
  const nodeAffinityOfPod = { requiredDuringSchedulingIgnoredDuringExecution: required };
  const { affinity } = readScheduling(
    { affinity: { nodeAffinity: nodeAffinityOfPod } },
    createBoundedReader(),
  );
  return nodeAffinity(affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution)(one);
}

const node = (labels: Record<string, string> = {}, name = 'node-a') => ({ name, labels });
const expression = (key: string, operator: string, ...values: unknown[]) => ({ key, operator, values });
const expressions = (...matchExpressions: unknown[]) => ({ nodeSelectorTerms: [{ matchExpressions }] });
const fields = (...matchFields: unknown[]) => ({ nodeSelectorTerms: [{ matchFields }] });

const labelValue = fc.constantFrom('', 'a', 'b', 'zone-1', '7');
const labels = fc.dictionary(fc.constantFrom('k', 'l', 'example.com/m'), labelValue);
const key = fc.constantFrom('k', 'l', 'example.com/m');
const values = fc.array(labelValue, { minLength: 1, maxLength: 4 });

test('no required affinity asks for nothing', () => {
  assert.equal(matchesNodeAffinity(undefined, node()), true);
  assert.equal(matchesNodeAffinity(null, node()), true);
});

test('no term, an empty term and a term of empty lists match nothing', () => {
  for (const nodeSelectorTerms of [
    undefined,
    [],
    [{}],
    [null],
    [{ matchExpressions: [], matchFields: [] }],
  ]) {
    assert.equal(matchesNodeAffinity({ nodeSelectorTerms }, node()), false);
  }
});

test('NotIn is the complement of In for a node that has the label, and true for one that has not', () => {
  fc.assert(
    fc.property(labels, key, values, (have, name, wanted) => {
      const isIn = matchesNodeAffinity(expressions(expression(name, 'In', ...wanted)), node(have));
      const isNotIn = matchesNodeAffinity(expressions(expression(name, 'NotIn', ...wanted)), node(have));
      assert.equal(isNotIn, !isIn);
      assert.equal(isIn, Object.hasOwn(have, name) && wanted.includes(have[name] ?? ''));
    }),
  );
});

test('DoesNotExist is the complement of Exists', () => {
  fc.assert(
    fc.property(labels, key, (have, name) => {
      assert.equal(matchesNodeAffinity(expressions(expression(name, 'Exists')), node(have)), name in have);
      assert.equal(
        matchesNodeAffinity(expressions(expression(name, 'DoesNotExist')), node(have)),
        !(name in have),
      );
    }),
  );
});

test('Gt and Lt compare as integers', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), (label, bound) => {
      const have = node({ cpus: String(label) });
      assert.equal(
        matchesNodeAffinity(expressions(expression('cpus', 'Gt', String(bound))), have),
        label > bound,
      );
      assert.equal(
        matchesNodeAffinity(expressions(expression('cpus', 'Lt', String(bound))), have),
        label < bound,
      );
    }),
  );
});

test('Gt and Lt see a difference of one near the largest integer', () => {
  const have = node({ n: '9223372036854775807' });
  assert.equal(matchesNodeAffinity(expressions(expression('n', 'Gt', '9223372036854775806')), have), true);
  assert.equal(matchesNodeAffinity(expressions(expression('n', 'Gt', '9223372036854775807')), have), false);
});

for (const [what, label, bound] of [
  ['a label that is no integer', '4x', '3'],
  ['an empty label', '', '3'],
  ['a fraction', '4.5', '3'],
  ['a label beyond 64 bits', '9223372036854775808', '3'],
  ['a bound that is no integer', '4', 'three'],
  ['a bound beyond 64 bits', '4', '-9223372036854775809'],
  ['a negative bound, as no label could be that', '4', '-1'],
] as const) {
  test(`neither Gt nor Lt match ${what}`, () => {
    for (const operator of ['Gt', 'Lt']) {
      assert.equal(
        matchesNodeAffinity(expressions(expression('n', operator, bound)), node({ n: label })),
        false,
      );
    }
  });
}

test('Gt and Lt do not match a node without the label', () => {
  assert.equal(matchesNodeAffinity(expressions(expression('n', 'Lt', '3')), node()), false);
  assert.equal(matchesNodeAffinity(expressions(expression('n', 'Gt', '3')), node()), false);
});

for (const [what, invalid] of [
  ['an unknown operator', expression('k', 'Matches', 'a')],
  ['In without values', expression('k', 'In')],
  ['NotIn without values', expression('k', 'NotIn')],
  ['Exists with a value', expression('k', 'Exists', 'a')],
  ['DoesNotExist with a value', expression('l', 'DoesNotExist', 'a')],
  ['Gt with two values', expression('n', 'Gt', '1', '2')],
  ['NotIn with a value that no label can have', expression('k', 'NotIn', 'a b')],
  ['NotIn with a value of 64 characters', expression('k', 'NotIn', 'x'.repeat(64))],
  ['a key that no label can have', expression('-k', 'DoesNotExist')],
  ['a key with two slashes', expression('a/b/c', 'DoesNotExist')],
  ['an empty key', expression('', 'DoesNotExist')],
] as const) {
  test(`${what} makes its term match nothing, and leaves the other terms alone`, () => {
    const have = node({ k: 'c', n: '5' });
    const good = expression('k', 'In', 'c');
    assert.equal(matchesNodeAffinity(expressions(invalid), have), false);
    assert.equal(matchesNodeAffinity(expressions(good, invalid), have), false);
    const terms = [{ matchExpressions: [invalid] }, { matchExpressions: [good] }];
    assert.equal(matchesNodeAffinity({ nodeSelectorTerms: terms }, have), true);
  });
}

test('the requirements of a term are ANDed, the terms are ORed', () => {
  const requirement = fc.record({ key, operator: fc.constantFrom('In', 'NotIn'), values });
  const term = fc.array(requirement, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(labels, fc.array(term, { minLength: 1, maxLength: 3 }), (have, terms) => {
      const required = { nodeSelectorTerms: terms.map((matchExpressions) => ({ matchExpressions })) };
      const each = terms.map((list) => list.map((one) => matchesNodeAffinity(expressions(one), node(have))));
      assert.equal(
        matchesNodeAffinity(required, node(have)),
        each.some((list) => list.every(Boolean)),
      );
    }),
  );
});

test('matchFields selects by metadata.name', () => {
  const inA = fields({ key: 'metadata.name', operator: 'In', values: ['node-a'] });
  const notInA = fields({ key: 'metadata.name', operator: 'NotIn', values: ['node-a'] });
  assert.equal(matchesNodeAffinity(inA, node({}, 'node-a')), true);
  assert.equal(matchesNodeAffinity(inA, node({}, 'node-b')), false);
  assert.equal(matchesNodeAffinity(notInA, node({}, 'node-a')), false);
  assert.equal(matchesNodeAffinity(notInA, node({}, 'node-b')), true);
});

test('matchFields takes exactly one value, and only In and NotIn', () => {
  for (const [operator, list] of [
    ['In', ['node-a', 'node-b']],
    ['NotIn', []],
    ['Exists', []],
    ['Gt', ['1']],
  ] as const) {
    const required = fields({ key: 'metadata.name', operator, values: list });
    assert.equal(matchesNodeAffinity(required, node({}, 'node-a')), false);
  }
});

test('matchFields and matchExpressions of a term are ANDed', () => {
  const term = {
    matchExpressions: [expression('k', 'Exists')],
    matchFields: [{ key: 'metadata.name', operator: 'In', values: ['node-a'] }],
  };
  assert.equal(matchesNodeAffinity({ nodeSelectorTerms: [term] }, node({ k: '' }, 'node-a')), true);
  assert.equal(matchesNodeAffinity({ nodeSelectorTerms: [term] }, node({ k: '' }, 'node-b')), false);
  assert.equal(matchesNodeAffinity({ nodeSelectorTerms: [term] }, node({}, 'node-a')), false);
});

test('a label that every object inherits is not there', () => {
  assert.equal(matchesNodeAffinity(expressions(expression('constructor', 'Exists')), node()), false);
});
