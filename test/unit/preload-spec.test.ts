import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Deployment, parseDeployment } from '../../src/api/deployment.ts';
import type { Hold } from '../../src/api/hold.ts';
import { type ImagePreloadSpec, parseImagePreload } from '../../src/api/image-preload.ts';
import { runningTemplate } from '../../src/api/images-to-pull.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import { asObject } from '../../src/json.ts';
import {
  isNeededPreload,
  isUsablePodSpec,
  preloadManifest,
  preloadSpec,
} from '../../src/preloads/preload-spec.ts';
import {
  type DeploymentBuilder,
  deployment,
  PRELOAD_SETTINGS as settings,
  UID,
} from '../support/unit/deployment-builder.ts';

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
/** Whether a preload of an earlier version counts, which did not say what it was made for. */
const asks = (spec: ImagePreloadSpec, needed: ImagePreloadSpec, wanted: Deployment) =>
  isNeededPreload({ spec }, needed, wanted, settings);
const specOf = (builder: DeploymentBuilder) =>
  preloadSpec(parseDeployment(builder.object), hold.from, settings);
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
  const spec = preloadSpec(updated, hold.from, { ...settings, parallelism: '25%' });
  const read = parseImagePreload(preloadManifest(updated, 'web-1', spec, settings));
  assert.deepEqual(read.spec, spec);
  assert.deepEqual(read.owner, { kind: 'Deployment', name: 'web', uid: UID });
  assert.ok(isNeededPreload(read, spec, updated, settings));
});

test('one with other images, nodes, secrets, account or template is not the same; how fast does not matter', () => {
  const updated = running.image('registry.test/app:2');
  const spec = specOf(updated);
  const same = (there: typeof spec) => asks(there, spec, parseDeployment(updated.object));
  for (const change of [
    { images: [] },
    { images: spec.images.map((image) => ({ ...image, imagePullPolicy: 'Always' as const })) },
    { scheduling: { nodeSelector: { pool: 'small' } } },
    { imagePullSecrets: [{ name: 'mine' }] },
    { serviceAccountName: 'another' },
    { templateHash: 'another' },
  ]) {
    assert.ok(!same({ ...spec, ...change }), JSON.stringify(change));
  }
  assert.ok(same({ ...spec, parallelism: 1, deadlineSeconds: 7200 }));
});

const ALL = {
  'pullgate.io/parallelism': '1',
  'pullgate.io/min-nodes': '50%',
  'pullgate.io/node-timeout-seconds': '60',
  'pullgate.io/deadline-seconds': '600',
};
const annotated = (annotations: Readonly<Record<string, string>>) =>
  Object.entries(annotations).reduce(
    (builder, [name, value]) => builder.annotate(name, value),
    running.image('registry.test/app:2'),
  );

test('what the Deployment sets goes before the flags; what it does not set, or not validly, is as they say', () => {
  const { parallelism, minNodes, nodeTimeoutSeconds, deadlineSeconds, ttlSecondsAfterFinished } = specOf(
    annotated(ALL),
  );
  assert.deepEqual(
    [parallelism, minNodes, nodeTimeoutSeconds, deadlineSeconds, ttlSecondsAfterFinished],
    [1, '50%', 60, 600, 3600],
  );
  const invalid = Object.fromEntries(Object.keys(ALL).map((name) => [name, 'much']));
  assert.deepEqual(specOf(annotated(invalid)), specOf(annotated({})));
});

test("a node selector narrows the pod template's, and one that contradicts it is left out", () => {
  const selectorOf = (value: string) => {
    const parsed = parseDeployment(annotated({ 'pullgate.io/node-selector': value }).object);
    const spec = { ...asObject(parsed.template['spec']), nodeSelector: { disk: 'ssd' } };
    const selecting = { ...parsed, template: { ...parsed.template, spec } };
    return preloadSpec(selecting, hold.from, settings).scheduling.nodeSelector;
  };
  assert.deepEqual(selectorOf('pool=web'), { disk: 'ssd', pool: 'web' });
  assert.deepEqual(selectorOf('disk=hdd,pool=web'), { disk: 'ssd' });
});

test('a value set on the Deployment that the existing preload does not have makes it another one', () => {
  const before = specOf(annotated({}));
  for (const [name, value] of Object.entries({ ...ALL, 'pullgate.io/node-selector': 'pool=web' })) {
    const after = annotated({ [name]: value });
    const now = parseDeployment(after.object);
    assert.ok(!asks(before, specOf(after), now), name);
    assert.ok(asks(specOf(after), specOf(after), now), name);
  }
});

test('neither a removed or invalid annotation nor another flag makes it another one, unless it would release earlier', () => {
  const strict = specOf(
    annotated({ 'pullgate.io/deadline-seconds': '7200', 'pullgate.io/node-timeout-seconds': '1800' }),
  );
  const none = annotated({});
  assert.ok(asks(strict, specOf(none), parseDeployment(none.object)));
  const invalid = annotated({ 'pullgate.io/deadline-seconds': 'soon' });
  assert.ok(asks(strict, specOf(invalid), parseDeployment(invalid.object)));
  for (const loose of ['min-nodes', 'node-timeout-seconds', 'deadline-seconds']) {
    const spec = specOf(annotated({ [`pullgate.io/${loose}`]: '1' }));
    assert.ok(!asks(spec, specOf(none), parseDeployment(none.object)), loose);
  }
  const updated = parseDeployment(annotated({ 'pullgate.io/min-nodes': '50%' }).object);
  const flags = { ...settings, parallelism: 5, nodeTimeoutSeconds: 5, deadlineSeconds: 5 } as const;
  const there = preloadSpec(updated, hold.from, settings);
  assert.ok(asks(there, preloadSpec(updated, hold.from, flags), updated));
});

test('whatever valid settings it is made with, it reads back as the same: it is not made anew for ever', () => {
  const count = fc.integer({ min: 1, max: 999_999_999 }).map(String);
  const percent = fc.integer({ min: 1, max: 100 }).map((share) => `${share}%`);
  const seconds = fc.integer({ min: 1, max: 86_400 }).chain((n) => fc.constantFrom(`${n}`, `00${n}`));
  const label = fc.tuple(
    fc.stringMatching(/^[a-z]([a-z.]{0,5}[a-z]\/[a-z])?$/),
    fc.stringMatching(/^[a-z]?$/),
  );
  const settingsOn = fc.record(
    {
      'pullgate.io/parallelism': fc.oneof(count, percent),
      'pullgate.io/min-nodes': fc.oneof(count, percent),
      'pullgate.io/node-timeout-seconds': seconds,
      'pullgate.io/deadline-seconds': seconds,
      'pullgate.io/node-selector': fc
        .uniqueArray(label, { minLength: 1, maxLength: 3, selector: ([key]) => key })
        .map((labels) => labels.map((pair) => pair.join('=')).join(',')),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(settingsOn, (annotations) => {
      const updated = parseDeployment(annotated(annotations).object);
      const spec = preloadSpec(updated, hold.from, settings);
      const read = parseImagePreload(
        JSON.parse(JSON.stringify(preloadManifest(updated, 'web-1', spec, settings))),
      );
      assert.ok(isNeededPreload(read, spec, updated, settings));
    }),
  );
});

const updatedWeb = parseDeployment(running.image('registry.test/app:2').object);
const ADMITTED = {
  ...asObject(updatedWeb.template['spec']),
  nodeSelector: { box: 'yes' },
  nodeName: 'n1',
  tolerations: [{ key: 'box', operator: 'Exists' }],
  imagePullSecrets: [{ name: 'injected' }],
  initContainers: [{ name: 'proxy', image: 'registry.test/proxy:1', imagePullPolicy: 'Always' }],
  containers: [
    { name: 'app', image: 'mirror.test/app:2', resources: { limits: { 'example.com/gpu': '1' } } },
    { name: 'side', image: 'registry.test/side:1', imagePullPolicy: 'IfNotPresent' },
  ],
};
const admittedSpec = (wanted = updatedWeb) => preloadSpec(wanted, hold.from, settings, ADMITTED);
const storedAs = (spec: ImagePreloadSpec, wanted = updatedWeb) =>
  parseImagePreload(preloadManifest(wanted, 'web-1', spec, settings));

test('of the pod as admitted the placement, the requests, the pull secrets and all images count', () => {
  const { images, scheduling, imagePullSecrets } = admittedSpec();
  assert.deepEqual(images, [
    { image: 'registry.test/proxy:1', imagePullPolicy: 'Always' },
    { image: 'mirror.test/app:2', imagePullPolicy: 'IfNotPresent' },
  ]);
  assert.deepEqual(scheduling, {
    nodeSelector: { box: 'yes' },
    nodeName: 'n1',
    tolerations: [{ key: 'box', operator: 'Exists' }],
    requests: { 'example.com/gpu': '1' },
  });
  assert.deepEqual(imagePullSecrets, [{ name: 'injected' }]);
});

test('a node selector narrows the nodes of the pod as admitted, and is left out if it contradicts them', () => {
  const selectorOf = (value: string) => {
    const wanted = running.image('registry.test/app:2').annotate('pullgate.io/node-selector', value);
    return admittedSpec(parseDeployment(wanted.object)).scheduling.nodeSelector;
  };
  assert.deepEqual(selectorOf('pool=web'), { box: 'yes', pool: 'web' });
  assert.deepEqual(selectorOf('box=no,pool=web'), { box: 'yes' });
});

test('if admission replaces the new image by one that runs, every image of the pod is listed', () => {
  const podSpec = { containers: [{ name: 'app', image: 'registry.test/app:1' }] };
  const { images } = preloadSpec(updatedWeb, hold.from, settings, podSpec);
  assert.deepEqual(images, [{ image: 'registry.test/app:1', imagePullPolicy: 'IfNotPresent' }]);
  const none = { containers: [{ name: 'app', image: 'app:2', imagePullPolicy: 'Never' }] };
  assert.equal(isUsablePodSpec(updatedWeb, hold.from, settings, none), false);
});

test('a preload with what admission added is the one for its template, whatever a dry run would say today', () => {
  const stored = storedAs(admittedSpec());
  const needed = preloadSpec(updatedWeb, hold.from, settings);
  assert.ok(isNeededPreload(stored, needed, updatedWeb, settings));
  const other = parseDeployment(running.image('registry.test/app:3').object);
  assert.ok(!isNeededPreload(stored, preloadSpec(other, hold.from, settings), other, settings));
});

test('an edited spec is not the one for its template, nor one for another node selector', () => {
  const spec = admittedSpec();
  const stored = storedAs(spec);
  const needed = preloadSpec(updatedWeb, hold.from, settings);
  for (const change of [
    { images: spec.images.slice(1) },
    { scheduling: { ...spec.scheduling, nodeSelector: { box: 'other' } } },
    { scheduling: { ...spec.scheduling, nodeName: 'n2' } },
    { scheduling: { ...spec.scheduling, requests: { 'example.com/gpu': '100' } } },
    { serviceAccountName: 'another' },
    { minNodes: 1 },
  ]) {
    const edited = { ...stored, spec: { ...spec, ...change } };
    assert.ok(!isNeededPreload(edited, needed, updatedWeb, settings), JSON.stringify(change));
  }
  const narrowed = parseDeployment(
    running.image('registry.test/app:2').annotate('pullgate.io/node-selector', 'pool=web').object,
  );
  assert.ok(!isNeededPreload(stored, preloadSpec(narrowed, hold.from, settings), narrowed, settings));
  assert.ok(isNeededPreload(storedAs(admittedSpec(narrowed), narrowed), needed, narrowed, settings));
  assert.ok(!isNeededPreload(storedAs(admittedSpec(narrowed), narrowed), needed, updatedWeb, settings));
});

test('a preload whose new fields an older CRD has pruned is the one: more nodes count then', () => {
  const spec = admittedSpec();
  const { requests: _, nodeName: __, ...scheduling } = spec.scheduling;
  const pruned = { ...storedAs(spec), spec: { ...spec, scheduling } };
  assert.ok(isNeededPreload(pruned, preloadSpec(updatedWeb, hold.from, settings), updatedWeb, settings));
});

test('where the cluster has AlwaysPullImages, every container counts as one with the policy Always', () => {
  const restarted = parseDeployment(running.restartedAt('2026-01-01T00:00:00Z').object);
  assert.deepEqual(preloadSpec(restarted, hold.from, settings).images, []);
  const { images } = preloadSpec(restarted, hold.from, { ...settings, alwaysPullImages: true });
  assert.deepEqual(
    images.map(({ image, imagePullPolicy }) => `${imagePullPolicy} ${image}`),
    ['Always registry.test/app:1', 'Always registry.test/side:1'],
  );
});
