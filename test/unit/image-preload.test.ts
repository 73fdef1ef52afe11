import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { parseCountOrPercent } from '../../src/api/count-or-percent.ts';
import {
  DIGESTS_LIMIT,
  FAILURES_LIMIT,
  IMAGE_NAMES_LIMIT,
  type ImagePreload,
  NAMED_NODES,
  parseImagePreload,
} from '../../src/api/image-preload.ts';
import { API_VERSION, GROUP, IMAGE_PRELOAD_KIND } from '../../src/api/names.ts';
import { NEEDS_LIMITS } from '../../src/api/preload-needs.ts';
import { NAME_CHARACTERS, OBJECT_NAME } from '../../src/api/template/object-name.ts';
import { SCHEDULING_LIMITS } from '../../src/api/template/scheduling.ts';
import { asArray, asObject, asString, at, isObject, type JsonObject } from '../../src/json.ts';

const crd: unknown = parse(await readFile(new URL('../../deploy/crd.yaml', import.meta.url), 'utf8'));
const version = asArray(at(crd, 'spec', 'versions'))[0];
const schema = asObject(at(version, 'schema', 'openAPIV3Schema'));
const property = (...path: string[]): JsonObject =>
  path.reduce(
    (parent, name) => asObject(at(parent, 'properties', name) ?? at(parent, 'items', 'properties', name)),
    schema,
  );

const specOf = (spec: unknown) => parseImagePreload({ spec }).spec;
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

const whole = {
  images: [
    { image: 'example.com/web:2', imagePullPolicy: 'IfNotPresent' },
    { image: 'example.com/init:latest', imagePullPolicy: 'Always' },
  ],
  scheduling: {
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ operator: 'Exists' }],
    runtimeClassName: 'gvisor',
  },
  imagePullSecrets: [{ name: 'registry' }],
  serviceAccountName: 'web',
  templateHash: '0123456789ab',
  parallelism: '25%',
  nodeTimeoutSeconds: 60,
  minNodes: 2,
  deadlineSeconds: 120,
  ttlSecondsAfterFinished: 0,
};
const status = {
  phase: 'Preloading',
  ready: '1/2',
  imageNames: 'example.com/web:2,example.com/init:latest',
  desiredNodes: 2,
  readyNodes: 1,
  pullingNodes: 1,
  failedNodes: 0,
  excluded: [{ reason: 'Cordoned', count: 1 }],
  images: [
    {
      image: 'example.com/web:2',
      digests: [`sha256:${'0'.repeat(64)}`],
      digestNodes: [{ digest: `sha256:${'0'.repeat(64)}`, count: 4, nodes: ['node-a', 'node-b'] }],
      alreadyPresent: 0,
      pulled: 1,
      failed: 0,
      slowest: { node: 'node-a', seconds: 30.6 },
    },
  ],
  failures: [{ node: 'node-b', image: 'example.com/web:2', reason: 'Dns', message: 'no such host' }],
  conditions: [
    {
      type: 'Ready',
      status: 'False',
      observedGeneration: 1,
      lastTransitionTime: '2026-01-01T00:00:00Z',
      reason: 'Preloading',
      message: '',
    },
  ],
  startedAt: '2026-01-01T00:00:00Z',
};

test('a whole ImagePreload reads as it is written', () => {
  const raw = {
    metadata: {
      namespace: 'shop',
      name: 'web-0123456789ab',
      uid: 'p-uid',
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'd-uid', controller: true },
      ],
    },
    spec: whole,
    status,
  };
  assert.deepEqual(plain(parseImagePreload(raw)), {
    namespace: 'shop',
    name: 'web-0123456789ab',
    uid: 'p-uid',
    generation: 1,
    createdAt: Date.parse('2026-01-01T00:00:00Z'),
    deleting: false,
    owner: { kind: 'Deployment', name: 'web', uid: 'd-uid' },
    spec: whole,
    status,
  });
});

test('one made by hand with nothing but an image has the defaults and no owner', () => {
  const preload = parseImagePreload({ spec: { images: [{ image: 'example.com/web:2' }] } });
  assert.equal(preload.owner, undefined);
  assert.equal(preload.status, undefined);
  assert.deepEqual(preload.spec, {
    images: [{ image: 'example.com/web:2', imagePullPolicy: 'IfNotPresent' }],
    scheduling: {},
    imagePullSecrets: [],
    serviceAccountName: '',
    nodeTimeoutSeconds: 900,
    minNodes: '100%',
    deadlineSeconds: 3600,
    ttlSecondsAfterFinished: 86_400,
  });
});

test('entries of the lists that cannot be used are left out', () => {
  const { images, imagePullSecrets } = specOf({
    images: [{ image: '' }, 'web', null, { image: 'web:1', imagePullPolicy: 'Never' }],
    imagePullSecrets: [{}, { name: '' }, 'x', { name: 'registry' }],
  });
  assert.deepEqual(images, [{ image: 'web:1', imagePullPolicy: 'IfNotPresent' }]);
  assert.deepEqual(imagePullSecrets, [{ name: 'registry' }]);
});

test('a Deployment that owns it counts; whatever else does, it was made by hand', () => {
  const ownedBy = (...ownerReferences: object[]) =>
    parseImagePreload({ metadata: { ownerReferences } }).owner?.name;
  const application = { kind: 'Application', name: 'shop', uid: 'uid-a', controller: true };
  assert.equal(ownedBy(application, { kind: 'Deployment', name: 'web', uid: 'uid-w' }), 'web');
  assert.equal(ownedBy(application), undefined);
});

test('any JSON reads as an ImagePreload whose numbers are in range', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.dictionary(fc.constantFrom(...Object.keys(whole)), fc.jsonValue()),
      (raw, spec) => {
        const preloads: ImagePreload[] = [parseImagePreload(raw), parseImagePreload({ spec, status: raw })];
        for (const preload of preloads) {
          assert.ok(preload.spec.nodeTimeoutSeconds >= 1 && preload.spec.deadlineSeconds >= 1);
          assert.ok(parseCountOrPercent(preload.spec.minNodes) !== undefined);
          assert.ok(preload.spec.images.length <= 100);
        }
      },
    ),
  );
});

test('the CRD names what the code names', () => {
  assert.equal(`${at(crd, 'spec', 'group')}/${at(version, 'name')}`, API_VERSION);
  assert.equal(at(crd, 'spec', 'names', 'kind'), IMAGE_PRELOAD_KIND);
  assert.equal(at(crd, 'metadata', 'name'), `${at(crd, 'spec', 'names', 'plural')}.${GROUP}`);
});

test('the CRD has exactly the fields that are read', () => {
  const fieldsOf = (part: string) => new Set(Object.keys(asObject(property(part)['properties'])));
  // `replicas` is for the scale subresource alone.
  assert.deepEqual(fieldsOf('spec'), new Set([...Object.keys(whole), 'replicas']));
  assert.deepEqual(fieldsOf('status'), new Set([...Object.keys(status), 'finishedAt']));
});

test('the defaults and the ranges of the CRD are those of the code', () => {
  const defaults = specOf({});
  for (const field of ['nodeTimeoutSeconds', 'deadlineSeconds', 'ttlSecondsAfterFinished'] as const) {
    const { default: fallback, minimum, maximum } = property('spec', field);
    assert.ok(typeof minimum === 'number' && typeof maximum === 'number');
    assert.equal(defaults[field], fallback);
    assert.equal(specOf({ [field]: minimum })[field], minimum);
    assert.equal(specOf({ [field]: maximum })[field], maximum);
    assert.equal(specOf({ [field]: minimum - 1 })[field], fallback);
    assert.equal(specOf({ [field]: maximum + 1 })[field], fallback);
    assert.equal(specOf({ [field]: minimum + 0.5 })[field], fallback);
  }
  assert.equal(defaults.minNodes, property('spec', 'minNodes')['default']);
  assert.equal(property('spec', 'images', 'imagePullPolicy')['default'], 'IfNotPresent');
});

test('the pattern of the CRD takes the counts and percentages that the code takes', () => {
  const text = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[0-9]{0,11}%?$/),
    fc.integer({ max: 120 }).map((n) => `${n}%`),
  );
  for (const field of ['parallelism', 'minNodes']) {
    const { pattern, minimum } = property('spec', field);
    assert.equal(minimum, 1);
    fc.assert(
      fc.property(text, (value) => {
        assert.equal(new RegExp(String(pattern)).test(value), parseCountOrPercent(value) !== undefined);
      }),
    );
  }
});

test('the CRD has room for what the code writes, and no more', () => {
  assert.equal(property('status', 'failures')['maxItems'], FAILURES_LIMIT);
  assert.equal(property('status', 'images', 'digests')['maxItems'], DIGESTS_LIMIT);
  assert.equal(property('status', 'images', 'digestNodes')['maxItems'], DIGESTS_LIMIT);
  assert.equal(property('status', 'images', 'digestNodes', 'nodes')['maxItems'], NAMED_NODES);
  assert.equal(property('status', 'imageNames')['maxLength'], IMAGE_NAMES_LIMIT);
});

test('the CRD takes as much of each list, and texts as long, as the gate carries', () => {
  const limits = SCHEDULING_LIMITS;
  const affinity = ['spec', 'scheduling', 'affinity', 'nodeAffinity'];
  const terms = [...affinity, 'requiredDuringSchedulingIgnoredDuringExecution', 'nodeSelectorTerms'];
  assert.equal(property('spec', 'images')['maxItems'], NEEDS_LIMITS.images);
  assert.equal(property('spec', 'images', 'image')['maxLength'], NEEDS_LIMITS.image);
  assert.equal(property('spec', 'imagePullSecrets')['maxItems'], NEEDS_LIMITS.imagePullSecrets);
  for (const path of [
    ['imagePullSecrets', 'name'],
    ['serviceAccountName'],
    ['scheduling', 'runtimeClassName'],
    ['scheduling', 'nodeName'],
  ])
    assert.deepEqual(
      [property('spec', ...path)['maxLength'], property('spec', ...path)['pattern']],
      [NAME_CHARACTERS, OBJECT_NAME],
      path.join('.'),
    );
  const nodeSelector = property('spec', 'scheduling', 'nodeSelector');
  assert.equal(nodeSelector['maxProperties'], limits.nodeSelector.entries);
  assert.equal(at(nodeSelector, 'additionalProperties', 'maxLength'), limits.nodeSelector.value);
  assert.equal(property('spec', 'scheduling', 'tolerations')['maxItems'], limits.tolerations);
  assert.equal(property(...terms)['maxItems'], limits.terms);
  for (const field of ['matchExpressions', 'matchFields']) {
    assert.equal(property(...terms, field)['maxItems'], limits.requirements);
    assert.equal(property(...terms, field, 'values')['maxItems'], limits.values);
    assert.equal(at(property(...terms, field, 'values'), 'items', 'maxLength'), limits.value);
  }
});

test('every list and every text of the spec has a limit in the CRD, and nothing in it is free of a type', () => {
  for (const [path, node] of schemas(property('spec'), 'spec')) {
    assert.equal(node['x-kubernetes-preserve-unknown-fields'], undefined, path);
    if (node['type'] === 'array') assert.ok(node['maxItems'] !== undefined, path);
    if (node['type'] === 'string') assert.ok((node['maxLength'] ?? node['enum']) !== undefined, path);
    const map = asObject(node['additionalProperties']);
    if (map['type'] === 'string') assert.ok(node['maxProperties'] !== undefined && map['maxLength'], path);
  }
});

test('a name that leads elsewhere in the path of a call is refused, and one that no Secret can have is left out', () => {
  for (const name of ['..', 'a/b', '../../secrets/x', 'A', '-a', 'a..b', 'a%2f']) {
    for (const spec of [
      { serviceAccountName: name },
      { scheduling: { runtimeClassName: name } },
      { scheduling: { nodeName: name } },
    ])
      assert.match(parseImagePreload({ spec }).refused ?? '', /Name is not the name of an object/, name);
    assert.deepEqual(specOf({ imagePullSecrets: [{ name }, { name: 'registry.test' }] }).imagePullSecrets, [
      { name: 'registry.test' },
    ]);
  }
});

test('what asks for more than the gate carries asks for nothing, and says why', () => {
  const many = Array.from({ length: 101 }, (_, n) => ({ image: `example.com/web:${n}` }));
  const scheduling = { nodeSelector: { disk: 'ssd' } };
  for (const [spec, words] of [
    [{ images: many }, 'images has 101 entries, more than 100'],
    [{ images: [{ image: 'x'.repeat(1025) }] }, 'the name of an image has 1025 characters, more than 1024'],
    [
      { images: many.slice(1).map(({ image }) => ({ image: image.padEnd(1024, 'x') })) },
      'its images, node affinity and other scheduling take more than 64 KiB',
    ],
  ] as const) {
    const preload = parseImagePreload({ spec: { ...spec, scheduling } });
    assert.equal(preload.refused, words);
    assert.deepEqual([preload.spec.images, preload.spec.scheduling], [[], {}]);
  }
});

test('an owner with a name that no Deployment can have is still an owner, and no Deployment', () => {
  const name = 'x'.repeat(100_000);
  const owner = parseImagePreload({
    metadata: { ownerReferences: [{ kind: 'Deployment', name, uid: name }] },
  }).owner;
  assert.ok(owner !== undefined && owner.name.length <= 253 && owner.uid.length <= 63);
  assert.ok(!/^[a-z0-9.-]+$/.test(owner.name));
});

/** Every schema below `node`, with where it is. */
function* schemas(node: JsonObject, path: string): Generator<readonly [string, JsonObject]> {
  yield [path, node];
  for (const [name, child] of Object.entries(asObject(node['properties']))) {
    yield* schemas(asObject(child), `${path}.${name}`);
  }
  if (isObject(node['items'])) yield* schemas(node['items'], `${path}[]`);
}

test('every field of the CRD has a description', () => {
  const without = [...schemas(schema, '')].filter(([, node]) => !asString(node['description']));
  // API servers refuse one there.
  assert.deepEqual(
    without.map(([path]) => path),
    ['.metadata'],
  );
});

test('the CRD has a type for every field', () => {
  for (const [path, node] of schemas(schema, '')) {
    assert.ok(node['type'] !== undefined || node['x-kubernetes-int-or-string'] === true, path);
  }
});

test('kubectl get shows PHASE READY FAILED IMAGES AGE REASON, and with -o wide MESSAGE', () => {
  const columns = asArray(at(version, 'additionalPrinterColumns')).map((column) => [
    asString(at(column, 'name'))?.toUpperCase(),
    at(column, 'priority') === 1,
  ]);
  const narrow = ['PHASE', 'READY', 'FAILED', 'IMAGES', 'AGE', 'REASON'].map((name) => [name, false]);
  assert.deepEqual(columns, [...narrow, ['MESSAGE', true]]);
});
