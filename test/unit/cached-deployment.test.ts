import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCachedDeployment } from '../../src/api/cached-deployment.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { HOLD_ANNOTATION, LEADER_ANNOTATIONS } from '../../src/api/names.ts';
import { settingsOf } from '../../src/api/settings.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import { trimTemplate } from '../../src/api/template/trimmed-template.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { preloadSpec } from '../../src/preloads/preload-spec.ts';
import { PRELOAD_SETTINGS } from '../support/unit/deployment-builder.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';

const OBJECT = {
  metadata: {
    namespace: 'shop',
    name: 'web',
    uid: 'uid-web',
    annotations: {
      'kubectl.kubernetes.io/last-applied-configuration': 'long',
      'deployment.kubernetes.io/revision': '3',
      'pullgate.io/parallelism': '25%',
    },
  },
  spec: {
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        nodeSelector: { disk: 'ssd' },
        tolerations: [{ key: 'spot', operator: 'Exists' }],
        serviceAccountName: 'web',
        imagePullSecrets: [{ name: 'registry' }],
        initContainers: [{ name: 'setup', image: 'setup:1', env: [{ name: 'A', value: 'b' }] }],
        containers: [{ name: 'app', image: 'app:latest', args: ['--listen=:80'] }],
        volumes: [
          { name: 'config', configMap: { name: 'config' } },
          { name: 'model', image: { reference: 'model:1', pullPolicy: 'Always' } },
        ],
      },
    },
  },
};

test('what is kept of a Deployment makes the same preload, and its template has the same hash', () => {
  const whole = parseDeployment(OBJECT);
  const kept = parseCachedDeployment(OBJECT);
  const from = { template: '', images: {} };
  assert.equal(kept.templateHash, templateHash(whole.template));
  assert.deepEqual(preloadSpec(kept, from, PRELOAD_SETTINGS), preloadSpec(whole, from, PRELOAD_SETTINGS));
  assert.equal(kept.revision, '3');
});

test('what only its owner needs is not kept', () => {
  const kept = JSON.stringify(parseCachedDeployment(OBJECT));
  for (const word of ['last-applied', '--listen', 'config', 'value']) assert.ok(!kept.includes(word), word);
});

test('of one that is held the whole template is kept, and of its annotations those of the gate', () => {
  const object = heldObject(updated.annotate('team', 'web').annotate('pullgate.io/min-nodes', '2'));
  const parsed = parseDeployment(object);
  const { template, annotations } = parseCachedDeployment(object);
  assert.deepEqual(template, parsed.template);
  assert.deepEqual(annotations, {
    [HOLD_ANNOTATION]: parsed.annotations[HOLD_ANNOTATION],
    'pullgate.io/min-nodes': '2',
  });
});

function withTemplate(template: JsonObject): JsonObject {
  const object = heldObject();
  return { ...object, spec: { ...asObject(object['spec']), template } };
}

test('of a large template that is held only what is needed is kept, and its hash is still that of all of it', () => {
  const env = Array.from({ length: 2000 }, (_, n) => ({ name: `VARIABLE_${n}`, value: 'x' }));
  const large = {
    metadata: { labels: { app: 'web' } },
    spec: { containers: [{ name: 'app', image: 'app:2', env }] },
  };
  const object = withTemplate(large);
  const kept = parseCachedDeployment(object);
  assert.equal(kept.refused, undefined);
  assert.deepEqual(kept.template, trimTemplate(large));
  assert.equal(kept.templateHash, templateHash(parseDeployment(object).template));
});

test('a template that needs more than the gate carries is not kept, and says why', () => {
  const containers = Array.from({ length: 500 }, (_, n) => ({
    name: `c${n}`,
    image: `registry.test/app:${n}`,
  }));
  const object = withTemplate({ spec: { containers } });
  const { refused, template, templateHash: hash } = parseCachedDeployment(object);
  assert.match(refused ?? '', /^the images and the scheduling of its pod template take more than 64 KiB$/);
  assert.deepEqual(template, {});
  assert.equal(hash, templateHash(parseDeployment(object).template));
});

test('a hold that is longer than any of the gate is not kept, and says why', () => {
  const object = updated.annotate(HOLD_ANNOTATION, 'x'.repeat(100_000)).object;
  const { refused, annotations } = parseCachedDeployment(object);
  assert.match(refused ?? '', /^its annotation pullgate\.io\/hold has 100000 characters, more than 32768$/);
  assert.equal(annotations[HOLD_ANNOTATION]?.length, 32_769);
});

test('a setting that is cut is as invalid as it was whole', () => {
  const selector = Array.from({ length: 1000 }, (_, n) => `key-${n}=value`).join(',');
  const { annotations, template } = parseCachedDeployment(
    updated.annotate('pullgate.io/node-selector', selector).object,
  );
  assert.equal(annotations['pullgate.io/node-selector']?.length, 4097);
  assert.equal(settingsOf({ annotations, template }).invalid.length, 1);
});

test('a revision that is no number is none, for admission and for the leader', () => {
  for (const revision of ['x', '1'.repeat(20), '1 ', 'x'.repeat(200_000)]) {
    const { object } = updated.annotate('deployment.kubernetes.io/revision', revision);
    assert.deepEqual([parseDeployment(object).revision, parseCachedDeployment(object).revision], ['', '']);
  }
});

test('every annotation that the leader reads is one that is kept', async () => {
  const exported = Object.entries(await import('../../src/api/names.ts'));
  const notOfDeployments = /^(RENEW|MADE_FOR|ATTEMPT|FIRST_ATTEMPT|BOOT_ID|BYPASS|REVERT|REVISION)_/;
  const annotations = exported.flatMap(([name, value]) =>
    name.endsWith('_ANNOTATION') && !notOfDeployments.test(name) ? [value] : [],
  );
  assert.deepEqual([...LEADER_ANNOTATIONS].toSorted(), annotations.toSorted());
});
