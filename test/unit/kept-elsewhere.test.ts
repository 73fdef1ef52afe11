import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  deploymentKeptElsewhere,
  isDeploymentKeptElsewhere,
  parseCachedDeployment,
} from '../../src/api/cached-deployment.ts';
import type { Deployment } from '../../src/api/deployment.ts';
import { parseImagePreload } from '../../src/api/image-preload.ts';
import { HELD_LABEL } from '../../src/api/names.ts';
import { createObjectCache, type Scope } from '../../src/cluster/object-cache.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { preloadKeptElsewhere } from '../../src/preloads/unfollowed-preload.ts';
import { type DeploymentBuilder, deployment } from '../support/unit/deployment-builder.ts';
import { retainedBytes } from '../support/unit/retained-bytes.ts';

/** What is kept, for each object, of so many in namespaces without a mode. */
function bytesOf<T>(
  objects: number,
  parse: (raw: unknown) => T,
  keepElsewhere: Scope<T>['keepElsewhere'],
  make: (index: number) => JsonObject,
): number {
  const bytes = retainedBytes(() => {
    const cache = createObjectCache<T>({
      parse,
      scope: { isFollowed: () => false, keepElsewhere },
      onChange: () => undefined,
      onTrouble(_what, _key, error) {
        throw error;
      },
    });
    for (let index = 0; index < objects; index += 1) {
      // As it comes from the API server, with no string shared with another object.
      cache.put(cache.read(JSON.parse(JSON.stringify(make(index)))));
    }
    return cache;
  });
  return bytes / objects;
}

const named = (object: JsonObject, index: number): JsonObject => ({
  ...object,
  metadata: {
    ...asObject(object['metadata']),
    namespace: `ns-${index % 500}`,
    name: `name-${index}`,
    uid: `uid-${index}`,
  },
});

test('10,000 Deployments in namespaces without a mode take no memory', () => {
  const { object } = deployment().annotate('note', 'x'.repeat(10_000));
  const bytes = bytesOf(10_000, parseCachedDeployment, deploymentKeptElsewhere, (index) =>
    named(object, index),
  );
  assert.ok(bytes < 20, `${bytes} bytes each`);
});

const image = { image: `registry.test/${'x'.repeat(200)}:1` };
const preload: JsonObject = {
  metadata: { creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { images: Array.from({ length: 50 }, () => image), scheduling: { nodeSelector: { pool: 'x' } } },
};

test('a Deployment of which nothing is kept is not hashed', () => {
  const hashed: string[] = [];
  const cache = createObjectCache<Deployment>({
    parse(raw) {
      const parsed = parseCachedDeployment(raw);
      hashed.push(parsed.name);
      return parsed;
    },
    scope: {
      isFollowed: (namespace) => namespace === 'shop',
      keepElsewhere: deploymentKeptElsewhere,
      mayKeep: isDeploymentKeptElsewhere,
    },
    onChange: () => undefined,
    onTrouble: () => undefined,
  });
  const put = (namespace: string, name: string, { object }: DeploymentBuilder) =>
    cache.put(cache.read({ ...object, metadata: { ...asObject(object['metadata']), namespace, name } }));
  put('shop', 'web', deployment());
  put('elsewhere', 'plain', deployment());
  put('elsewhere', 'marked', deployment().label(HELD_LABEL, 'true'));
  assert.deepEqual(hashed, ['web', 'marked']);
  assert.equal(cache.size, 2);
  put('elsewhere', 'marked', deployment());
  assert.equal(cache.size, 1);
});

test('ImagePreloads made by hand there take none either', () => {
  const bytes = bytesOf(2000, parseImagePreload, preloadKeptElsewhere, (index) => named(preload, index));
  assert.ok(bytes < 20, `${bytes} bytes each`);
});

test('those that have ended there take as much as their time to live needs', () => {
  const status = {
    ...{ phase: 'Superseded', finishedAt: '2026-01-01T01:00:00Z', imageNames: 'x'.repeat(256) },
    images: [{ image: image.image, digests: ['x'.repeat(71)] }],
    failures: [{ node: 'n', image: image.image, reason: 'NotFound', message: 'x'.repeat(500) }],
  };
  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'uid' };
  const ended = {
    ...preload,
    status,
    metadata: { ...asObject(preload['metadata']), ownerReferences: [owner] },
  };
  const bytes = bytesOf(2000, parseImagePreload, preloadKeptElsewhere, (index) => named(ended, index));
  assert.ok(bytes < 1500, `${bytes} bytes each`);
  const kept = preloadKeptElsewhere(parseImagePreload(named(ended, 1)));
  assert.equal(kept?.status?.finishedAt, '2026-01-01T01:00:00Z');
  assert.equal(kept?.spec.ttlSecondsAfterFinished, 24 * 3600);
  assert.deepEqual(
    preloadKeptElsewhere(kept ?? parseImagePreload({})),
    kept,
    'nothing more goes the next time',
  );
});
