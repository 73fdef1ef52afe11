import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalizeImage, parseImageReference } from '../../src/api/template/image-reference.ts';

const SHA = `sha256:${'0123456789abcdef'.repeat(4)}`;

const FULL_NAMES: [string, string][] = [
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.37', 'docker.io/library/busybox:1.37'],
  ['grafana/grafana', 'docker.io/grafana/grafana:latest'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/library/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/busybox:1', 'docker.io/library/busybox:1'],
  ['localhost/app', 'localhost/app:latest'],
  ['localhost:5000/app', 'localhost:5000/app:latest'],
  ['registry:5000/app', 'registry:5000/app:latest'],
  ['registry:5000/team/app:v1', 'registry:5000/team/app:v1'],
  ['10.0.0.1:5000/app', '10.0.0.1:5000/app:latest'],
  ['[::1]:5000/app:2', '[::1]:5000/app:2'],
  ['[fd00::a]/app', '[fd00::a]/app:latest'],
  ['registry.test/a/b/c_d/e__f/g-h.i', 'registry.test/a/b/c_d/e__f/g-h.i:latest'],
  ['Registry/app', 'Registry/app:latest'],
  ['team/registry:5000', 'docker.io/team/registry:5000'],
  [`busybox@${SHA}`, `docker.io/library/busybox@${SHA}`],
  [`registry:5000/app:v1@${SHA}`, `registry:5000/app:v1@${SHA}`],
  [`app@sha512:${'a'.repeat(128)}`, `docker.io/library/app@sha512:${'a'.repeat(128)}`],
];

for (const [text, full] of FULL_NAMES) {
  test(`${text.slice(0, 60)} is ${full.slice(0, 60)}`, () => {
    assert.equal(normalizeImage(text), full);
    assert.equal(normalizeImage(full), full);
  });
}

test('a port is no tag, and a tag no port', () => {
  assert.deepEqual(parseImageReference('registry:5000/app'), { domain: 'registry:5000', path: 'app' });
  assert.deepEqual(parseImageReference('app:5000'), {
    domain: 'docker.io',
    path: 'library/app',
    tag: '5000',
  });
});

test('a digest keeps its tag, and is told from another digest', () => {
  assert.deepEqual(parseImageReference(`r.test/app:v1@${SHA}`), {
    domain: 'r.test',
    path: 'app',
    tag: 'v1',
    digest: SHA,
  });
  assert.notEqual(normalizeImage(`r.test/app@${SHA}`), normalizeImage(`r.test/app@${SHA.replace('0', '1')}`));
});

const INVALID = [
  '',
  ' busybox',
  'busybox ',
  'Busybox',
  'team/App',
  'busybox:',
  'busybox:-tag',
  'busybox:tag with space',
  `busybox:${'t'.repeat(129)}`,
  'busybox@',
  'busybox@sha256:abc',
  'busybox@sha256',
  `busybox@${SHA}@${SHA}`,
  'registry.test/',
  '/app',
  'registry.test//app',
  'registry.test/app/',
  'app..b',
  'app___b',
  '_app',
  'registry.test:port/app',
  'https://registry.test/app',
  '[::1/app',
  '::1/app',
  'app\nbusybox',
  'b\u00fcsybox',
  'a'.repeat(256),
];

for (const text of INVALID) {
  test(`${JSON.stringify(text).slice(0, 60)} is no reference, and stays as it is`, () => {
    assert.equal(parseImageReference(text), undefined);
    assert.equal(normalizeImage(text), text);
  });
}

test('a tag may have 128 characters, a name 255 with its domain', () => {
  assert.ok(parseImageReference(`app:${'t'.repeat(128)}`));
  assert.ok(parseImageReference(`r.test/${'a'.repeat(248)}`));
  assert.equal(parseImageReference(`r.test/${'a'.repeat(249)}`), undefined);
});

test('the full name of a full name is itself, whatever the text', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({
      unit: fc.constantFrom('a', 'A', '0', '.', '/', ':', '@', '-', '_', '[', ']', '5000', SHA, 'docker.io'),
    }),
  );
  fc.assert(
    fc.property(text, (image) => assert.equal(normalizeImage(normalizeImage(image)), normalizeImage(image))),
    { numRuns: 5000 },
  );
});

test('a hostile text is answered at once', () => {
  const began = performance.now();
  for (const text of [
    'a-'.repeat(100_000),
    `${'a/'.repeat(100_000)}!`,
    `${'a'.repeat(200_000)}!`,
    'a.'.repeat(100_000),
  ])
    parseImageReference(text);
  assert.ok(performance.now() - began < 1000);
});
