import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCachedDeployment } from '../../src/hold/cached-deployment.ts';
import { parseDeployment } from '../../src/hold/deployment.ts';
import { preloadSpec } from '../../src/preload/preload-spec.ts';
import { templateHash } from '../../src/template/template-hash.ts';
import { PRELOAD_SETTINGS } from './deployment-builder.ts';
import { heldObject } from './held-deployment.ts';

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

test('of one that is held all is kept', () => {
  const parsed = parseDeployment(heldObject());
  assert.deepEqual(parseCachedDeployment(heldObject()), { ...parsed, templateHash: parsed.templateHash });
});
