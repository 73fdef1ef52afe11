import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Toleration } from '../../src/api/template/scheduling.ts';
import {
  parseTaints,
  startupTaints,
  type Taint,
  tolerates,
  tolerationsFor,
} from '../../src/preloads/nodes/taints.ts';

const taint = fc.record({
  key: fc.constantFrom('dedicated', 'gpu'),
  value: fc.constantFrom('', 'a', 'b'),
  effect: fc.constantFrom('NoSchedule', 'NoExecute', 'PreferNoSchedule'),
});
const toleration = fc.record(
  {
    key: fc.constantFrom('', 'dedicated', 'gpu'),
    operator: fc.constantFrom('', 'Equal', 'Exists'),
    value: fc.constantFrom('', 'a', 'b'),
    effect: fc.constantFrom('', 'NoSchedule', 'NoExecute'),
  },
  { requiredKeys: [] },
);

const dedicated: Taint = { key: 'dedicated', value: 'a', effect: 'NoSchedule' };

for (const [what, given, expected] of [
  ['no toleration', [], false],
  [
    'the same key, value and effect',
    [{ key: 'dedicated', operator: 'Equal', value: 'a', effect: 'NoSchedule' }],
    true,
  ],
  ['no operator, which is Equal', [{ key: 'dedicated', value: 'a' }], true],
  ['another value', [{ key: 'dedicated', value: 'b' }], false],
  ['no value', [{ key: 'dedicated' }], false],
  ['Exists, whatever the value', [{ key: 'dedicated', operator: 'Exists', value: 'b' }], true],
  ['Exists for another key', [{ key: 'gpu', operator: 'Exists' }], false],
  ['Exists without a key, which is every taint', [{ operator: 'Exists' }], true],
  ['Exists without a key for another effect', [{ operator: 'Exists', effect: 'NoExecute' }], false],
  ['an empty effect, which is every effect', [{ key: 'dedicated', value: 'a', effect: '' }], true],
  ['an unknown operator', [{ key: 'dedicated', operator: 'Near', value: 'a' }], false],
] as const satisfies readonly (readonly [string, readonly Toleration[], boolean])[]) {
  test(`a NoSchedule taint with ${what} is ${expected ? '' : 'not '}tolerated`, () => {
    assert.equal(tolerates(given, [dedicated]), expected);
  });
}

test('an empty taint value equals a toleration without one', () => {
  assert.equal(tolerates([{ key: 'gpu' }], [{ key: 'gpu', value: '', effect: 'NoExecute' }]), true);
});

test('PreferNoSchedule keeps nobody away, NoSchedule and NoExecute do', () => {
  assert.equal(tolerates([], [{ ...dedicated, effect: 'PreferNoSchedule' }]), true);
  assert.equal(tolerates([], [{ ...dedicated, effect: 'NoSchedule' }]), false);
  assert.equal(tolerates([], [{ ...dedicated, effect: 'NoExecute' }]), false);
});

test('a toleration for a limited time is a toleration', () => {
  const limited = { key: 'dedicated', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 60 };
  assert.equal(tolerates([limited], [{ ...dedicated, effect: 'NoExecute' }]), true);
});

for (const [value, operator, bound, expected] of [
  ['950', 'Gt', '900', true],
  ['900', 'Gt', '900', false],
  ['900', 'Lt', '900', false],
  ['-5', 'Lt', '0', true],
  ['9223372036854775807', 'Gt', '9223372036854775806', true],
  ['9223372036854775808', 'Gt', '0', false],
  ['0950', 'Gt', '900', false],
  ['fast', 'Lt', '900', false],
  ['', 'Lt', '900', false],
  ['950', 'Gt', '', false],
] as const) {
  test(`a taint of ${value || 'nothing'} is ${expected ? '' : 'not '}tolerated by ${operator} ${bound}`, () => {
    const toleration = { key: 'sla', operator, value: bound, effect: 'NoSchedule' };
    assert.equal(tolerates([toleration], [{ key: 'sla', value, effect: 'NoSchedule' }]), expected);
    assert.equal(
      tolerates([{ ...toleration, key: 'other' }], [{ key: 'sla', value, effect: 'NoSchedule' }]),
      false,
    );
  });
}

test('startup taints are those of Pullgate, of the cluster autoscaler and of the flag', () => {
  const isStartup = startupTaints(['cilium.test/agent-not-ready']);
  const is = (key: string) => isStartup({ ...dedicated, key });
  assert.ok(is('pullgate.io/images-not-ready'));
  assert.ok(is('startup-taint.cluster-autoscaler.kubernetes.io/disk'));
  assert.ok(is('ignore-taint.cluster-autoscaler.kubernetes.io/disk'));
  assert.ok(is('cilium.test/agent-not-ready'));
  assert.ok(!is('status-taint.cluster-autoscaler.kubernetes.io/disk'));
  assert.ok(!is('dedicated'));
});

test('what is made to tolerate taints tolerates them', () => {
  fc.assert(fc.property(fc.array(taint), (taints) => assert.ok(tolerates(tolerationsFor(taints), taints))));
});

test('every taint must be tolerated, each by any toleration', () => {
  fc.assert(
    fc.property(fc.array(toleration), fc.array(taint), (tolerations, taints) => {
      const each = taints.map((one) => tolerations.some((candidate) => tolerates([candidate], [one])));
      const none = taints.map((one) => tolerates([], [one]));
      assert.equal(
        tolerates(tolerations, taints),
        taints.every((_, index) => each[index] === true || none[index] === true),
      );
    }),
  );
});

test('one more toleration never excludes a node, one more taint never admits one', () => {
  fc.assert(
    fc.property(
      fc.array(toleration),
      fc.array(taint),
      toleration,
      taint,
      (tolerations, taints, more, worse) => {
        if (tolerates(tolerations, taints)) assert.equal(tolerates([...tolerations, more], taints), true);
        else assert.equal(tolerates(tolerations, [...taints, worse]), false);
      },
    ),
  );
});

test('malformed taints do no harm', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (taints) => {
      assert.equal(typeof tolerates([{ operator: 'Exists' }], parseTaints(taints)), 'boolean');
    }),
  );
});
