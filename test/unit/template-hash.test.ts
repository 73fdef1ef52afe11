import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { templateHash } from '../../src/api/template/template-hash.ts';

const TEMPLATE = {
  metadata: { labels: { app: 'web', tier: 'front' } },
  spec: { containers: [{ name: 'app', image: 'registry.test/app:1', args: ['a', 'b'] }] },
};

test('it is 12 hexadecimal digits', () => {
  assert.match(templateHash(TEMPLATE), /^[0-9a-f]{12}$/);
  assert.match(templateHash(undefined), /^[0-9a-f]{12}$/);
});

test('the order of keys does not count, at any depth', () => {
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .toReversed()
        .map(([key, entry]) => [key, reversed(entry)]),
    );
  };
  fc.assert(
    fc.property(fc.jsonValue(), (value) => assert.equal(templateHash(reversed(value)), templateHash(value))),
  );
});

test('nulls, empty maps and empty lists do not count', () => {
  const { metadata, spec } = TEMPLATE;
  const written = {
    metadata: { ...metadata, creationTimestamp: null, annotations: {} },
    spec: { ...spec, volumes: [], securityContext: {}, affinity: { nodeAffinity: {} } },
  };
  assert.equal(templateHash(written), templateHash(TEMPLATE));
});

test('the order of a list, a value and its type count', () => {
  const container = TEMPLATE.spec.containers[0];
  const others = [
    { ...container, args: ['b', 'a'] },
    { ...container, args: ['ab'] },
    { ...container, args: ['a,b'] },
    { ...container, args: ['a', 'b', ''] },
    { ...container, image: 'registry.test/app:2' },
    { ...container, stdin: true },
    { ...container, stdin: 'true' },
    { ...container, stdin: 1 },
    { ...container, stdin: 0 },
    { ...container, stdin: false },
  ];
  const hashes = others.map((entry) => templateHash({ ...TEMPLATE, spec: { containers: [entry] } }));
  assert.equal(new Set([templateHash(TEMPLATE), ...hashes]).size, others.length + 1);
});

test('an entry of a list counts even if it is empty', () => {
  assert.notEqual(templateHash({ a: [{}] }), templateHash({ a: [{}, {}] }));
  assert.notEqual(templateHash({ a: [{}, 1] }), templateHash({ a: [1, {}] }));
});

const labels = (count: number) => Array.from({ length: count }, (_, n) => [`label-${n}`, 'x'] as const);
const labelled = (entries: readonly (readonly [string, string])[]) => ({
  ...TEMPLATE,
  metadata: { labels: Object.fromEntries(entries) },
});

test('a template with more values than are put in order is hashed as it is written', () => {
  const [many, most] = [labels(100_000), labels(19_000)];
  assert.equal(templateHash(labelled(most.toReversed())), templateHash(labelled(most)));
  assert.notEqual(templateHash(labelled(many.toReversed())), templateHash(labelled(many)));
  assert.equal(templateHash(labelled(many)), templateHash(labelled(many)));
  assert.notEqual(templateHash(labelled([...many, ['one', 'more']])), templateHash(labelled(many)));
});

test('it is the same on every machine and in every version', () => {
  assert.equal(templateHash(TEMPLATE), '60738744bd2c');
});
