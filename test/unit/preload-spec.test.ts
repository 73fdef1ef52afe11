import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/hold/deployment.ts';
import type { Hold } from '../../src/hold/hold.ts';
import { runningTemplate } from '../../src/hold/needs-pull.ts';
import { parseImagePreload } from '../../src/preload/image-preload.ts';
import { preloadManifest, preloadSpec, preloadsTheSame } from '../../src/preload/preload-spec.ts';
import { templateHash } from '../../src/template/template-hash.ts';
import { type DeploymentBuilder, deployment, UID } from './deployment-builder.ts';

const settings = {
  parallelism: undefined,
  minNodes: '100%',
  nodeTimeoutSeconds: 900,
  deadlineSeconds: 3600,
  ttlSecondsAfterFinished: 3600,
} as const;

const running = deployment().image('registry.test/side:1', 'side');
const hold: Hold = {
  v: 1,
  uid: UID,
  preload: 'web-1',
  template: 'of another update',
  from: runningTemplate(parseDeployment(running.object).template),
  since: '2026-01-01T00:00:00Z',
  userPaused: false,
};
const specOf = (builder: DeploymentBuilder) => preloadSpec(parseDeployment(builder.object), hold, settings);
const imagesOf = (builder: DeploymentBuilder) => specOf(builder).images.map(({ image }) => image);

test('only what is needed beyond what runs is preloaded', () => {
  assert.deepEqual(imagesOf(running.image('registry.test/app:2')), ['registry.test/app:2']);
});

test('init containers and image volumes are, too', () => {
  const updated = running.initContainer('init', 'init:1').imageVolume('models', 'models:1');
  assert.deepEqual(imagesOf(updated), ['init:1', 'models:1']);
});

test('an image that another container had is there already', () => {
  assert.deepEqual(imagesOf(running.image('registry.test/side:1')), []);
});

test('with policy Always, what runs is asked for again, with that policy', () => {
  const { images } = specOf(running.policy('Always').restartedAt('2026-01-01T00:00:00Z'));
  assert.deepEqual(
    images.map(({ image, imagePullPolicy }) => `${imagePullPolicy} ${image}`),
    ['Always registry.test/app:1', 'Always registry.test/side:1'],
  );
});

test('with policy Never nothing is', () => {
  assert.deepEqual(imagesOf(running.image('registry.test/app:2').policy('Never')), []);
});

test('the stored template says what it is made for, not the hold', () => {
  const updated = running.image('registry.test/app:2');
  assert.equal(specOf(updated).templateHash, templateHash(parseDeployment(updated.object).template));
});

test('what is made reads back as the same preload, owned by its Deployment', () => {
  const updated = parseDeployment(running.image('registry.test/app:2').object);
  const spec = preloadSpec(updated, hold, { ...settings, parallelism: '25%' });
  const read = parseImagePreload(preloadManifest(updated, 'web-1', spec));
  assert.deepEqual(read.spec, spec);
  assert.deepEqual(read.owner, { kind: 'Deployment', name: 'web', uid: UID });
  assert.ok(preloadsTheSame(read.spec, spec));
});

test('one with other images, nodes, secrets, account or template is not the same; how fast does not matter', () => {
  const spec = specOf(running.image('registry.test/app:2'));
  for (const change of [
    { images: [] },
    { images: spec.images.map((image) => ({ ...image, imagePullPolicy: 'Always' as const })) },
    { scheduling: { nodeSelector: { pool: 'small' } } },
    { imagePullSecrets: [{ name: 'mine' }] },
    { serviceAccountName: 'another' },
    { templateHash: 'another' },
  ]) {
    assert.ok(!preloadsTheSame({ ...spec, ...change }, spec), JSON.stringify(change));
  }
  assert.ok(preloadsTheSame({ ...spec, parallelism: 1, deadlineSeconds: 1 }, spec));
});
